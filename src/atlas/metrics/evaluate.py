"""Evaluation protocol: one model, one set of test images, every metric that applies."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas.core.budgets import EvaluateBudget
from atlas.core.datasets import Split, to_unit
from atlas.core.latent import BATCH_SIZE, encode_dataset, invert
from atlas.core.model import Model
from atlas.core.schema import EvaluationSettings, InversionSettings
from atlas.metrics import distances, likelihood
from atlas.metrics.bootstrap import Numbers, mean_interval, ratio_interval, with_interval
from atlas.metrics.classifier import Judge, classify
from atlas.metrics.disentanglement import mutual_information_gap, stroke_factors
from atlas.metrics.gradient_variance import gradient_variances
from atlas.metrics.labels import balanced_indices, label_leak, style_transfer, worst_class


def subset(count: int, size: int) -> Tensor:
    """Return the indices of `size` of `count` images, or of all, in a mixed order that is always the same.

    Not the first: the second half of MNIST's test set was written by other people than the first.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:size]


@dataclass
class Evaluation:
    """Evaluation of a model on test images.

    Args:
        model: in evaluation mode, on the device of the splits.
        test: the official test images. A metric that takes fewer takes the same ones for every run.
        training: at least as many training images, for floors and probes.
        generator: on the CPU, of every random draw that differs from seed to seed.

    Raises:
        ValueError: if there are fewer training images than test images.
    """

    model: Model
    judge: Judge
    test: Split
    training: Split
    settings: EvaluationSettings
    budget: EvaluateBudget
    generator: torch.Generator
    inversion: InversionSettings

    def __post_init__(self) -> None:
        if len(self.training) < len(self.test):
            raise ValueError(f"the floor needs {len(self.test)} training images, found {len(self.training)}")
        self.images, self.labels = to_unit(self.test.images), self.test.labels
        self.features, _ = classify(self.judge, self.images)
        self.per_image: dict[str, Tensor] = {}

    @torch.no_grad()
    def run(self) -> tuple[Numbers, dict[str, Tensor]]:
        """Metrics under the names of `atlas.metrics.registry`, with their intervals; what does not apply is absent.

        Returns:
            The metrics, and what `nelbo`, `nll`, `nll_gap` and `reconstruction_mse` are means of, [N] an image: the
            same images in the same order for every run, so that two runs can be compared image by image.

        Raises:
            ValueError: if there are too few images for a metric.
        """
        metrics = self.likelihood() | self.codes() | self.samples()
        if self.model.can("classify"):
            predicted = torch.cat([self.model.classify(batch).argmax(1) for batch in self.images.split(BATCH_SIZE)])
            metrics |= mean_interval("class_accuracy", predicted == self.labels)
        return metrics, self.per_image

    def indices(self, size: int) -> Tensor:
        return subset(len(self.images), size).to(self.images.device)

    def likelihood(self) -> Numbers:
        model, images, labels, generator = self.model, self.images, self.labels, self.generator
        if not model.can("elbo"):
            return (
                mean_interval("rate", likelihood.rates(model, images, labels, generator)) if model.can("rates") else {}
            )
        # What is compared is compared on the same pixels: of grey images, one binarization for all.
        observed = likelihood.binarize(images) if model.pixels in ("grey", "binary") else images
        rate, distortion = likelihood.elbo(model, observed, labels, generator)
        self.per_image["nelbo"] = nelbo = rate + distortion
        metrics = mean_interval("nelbo", nelbo)
        metrics |= mean_interval("distortion", distortion) | mean_interval("rate", rate)
        if model.pixels == "bytes":
            metrics |= mean_interval("bits_per_dim", nelbo / (math.prod(model.shape) * math.log(2)))
        if model.pixels == "grey":
            grey = likelihood.elbo(model, images, labels, generator)
            metrics |= mean_interval("grey_nelbo", grey.rate + grey.distortion)
        samples = self.budget.importance_samples
        if model.can("log_weights"):
            idx = self.indices(max(1, self.settings.nll_pixels // math.prod(model.shape)))
            nll, nelbo = likelihood.importance_weighted(model, observed[idx], labels[idx], samples, generator)
            self.per_image["nll"], self.per_image["nll_gap"] = nll, nelbo - nll
            metrics |= mean_interval("nll", nll) | {"nll_k": samples} | mean_interval("nll_gap", nelbo - nll)
        if model.can("posterior") and model.can("log_joint"):
            idx = self.indices(self.settings.gradient_images)
            draws = max(2, samples)
            reparameterized, score = gradient_variances(model, observed[idx], labels[idx], draws, generator)
            metrics |= mean_interval("reparameterized_variance", reparameterized)
            metrics |= mean_interval("score_variance", score)
            metrics |= ratio_interval("estimator_variance_ratio", score, reparameterized)
        return metrics

    def codes(self) -> Numbers:
        """Return metrics of reconstructions, codes and style transfers; without an encoder, codes are searched for."""
        model, images, labels = self.model, self.images, self.labels
        if not model.can("encode"):
            idx = self.indices(self.budget.inversions)
            codes = invert(model, images[idx], labels[idx], self.inversion)
            return self._reconstruction(idx, codes)[0]
        codes = encode_dataset(model, images, labels).to(images.device)
        metrics, self.per_image["reconstruction_mse"] = self._reconstruction(slice(None), codes)
        if model.can("rates"):
            metrics |= {"active_units": likelihood.active_units(codes), "active_units_n": len(codes)}
        if model.shape[0] == 1 and model.latent_dim > 1:
            metrics |= with_interval("mig", *mutual_information_gap(codes, stroke_factors(images)), len(codes))
        idx = self.indices(self.settings.subset)
        metrics |= mean_interval("label_purity", distances.label_purity(codes[idx], labels[idx]))
        return metrics | self._style(codes) if model.conditional else metrics

    def _reconstruction(self, idx: Tensor | slice, codes: Tensor) -> tuple[Numbers, Tensor]:
        """Return the metrics of the reconstructions of images `idx` from their codes, and each one's error."""
        batches = zip(codes.split(BATCH_SIZE), self.labels[idx].split(BATCH_SIZE), strict=True)
        reconstructed = torch.cat([self.model.decode(*batch) for batch in batches])
        errors = (reconstructed - self.images[idx]).double().square().flatten(1).mean(1)
        part = subset(len(codes), self.settings.subset).to(codes.device)
        features, _ = classify(self.judge, reconstructed[part])
        in_features = distances.feature_distances(self.features[idx][part], features)
        metrics = mean_interval("reconstruction_mse", errors) | mean_interval("reconstruction_features", in_features)
        return metrics, errors

    def _style(self, codes: Tensor) -> Numbers:
        model, training, count = self.model, self.training, 2 * self.settings.subset
        shuffled = self.indices(len(self.images))
        idx = shuffled[balanced_indices(self.labels[shuffled], self.settings.transfers, model.num_classes)]
        accuracy, distance = style_transfer(model, self.judge, self.images[idx], self.labels[idx])
        labels = training.labels[:count]
        training_codes = encode_dataset(model, to_unit(training.images[:count]), labels).to(codes.device)
        idx = self.indices(self.settings.subset)
        correct = label_leak(training_codes, labels, codes[idx], self.labels[idx])
        metrics = mean_interval("swap_accuracy", accuracy) | mean_interval("style_kept", distance)
        return metrics | mean_interval("style_leak", correct)

    def samples(self) -> Numbers:
        count, real = len(self.images), self.features
        # The labels of the test images, in another order: the same share of each class, no copy of a pair.
        target_labels = self.labels[torch.randperm(count, generator=self.generator).to(self.labels.device)]
        batches = target_labels.split(BATCH_SIZE)
        samples = torch.cat([self.model.sample(batch, self.generator) for batch in batches])
        fake, _ = classify(self.judge, samples)
        floor, _ = classify(self.judge, to_unit(self.training.images[:count]))
        metrics: Numbers = {
            "frechet": distances.frechet_distance(real, fake),
            "frechet_n": count,
            "frechet_floor": distances.frechet_distance(real, floor),
        }
        idx = self.indices(self.settings.subset)
        metrics |= with_interval("kernel", *distances.kernel_interval(real[idx], fake[idx]), len(idx))
        metrics["kernel_floor"] = distances.kernel_distance(real[idx], floor[idx])
        for name, values in distances.prdc(real[idx], fake[idx]).items():
            metrics |= mean_interval(name, values)
        sharpness = distances.laplacian_energies(samples) / distances.laplacian_energies(self.images).mean()
        metrics |= mean_interval("sharpness", sharpness)
        probs = self.judge.logits(fake).softmax(1)
        metrics |= mean_interval("prior_confidence", probs.amax(1) > self.settings.confident)
        if self.model.conditional:
            correct = probs.argmax(1) == target_labels
            metrics |= mean_interval("label_accuracy", correct)
            metrics["label_accuracy_worst"] = worst_class(correct, target_labels)
        return metrics
