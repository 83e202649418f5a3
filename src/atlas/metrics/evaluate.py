"""Evaluation protocol: one model, one set of test images, every metric that applies."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas.core.budgets import EvaluateBudget
from atlas.core.datasets import Split, to_unit
from atlas.core.latent import batch_size, encode_dataset, fitted_gaussian, invert
from atlas.core.model import Model
from atlas.core.schema import EvaluationSettings, InversionSettings
from atlas.metrics import distances, likelihood
from atlas.metrics.classifier import Judge
from atlas.metrics.codes import aggregate_variances, sampled_codes
from atlas.metrics.disentanglement import BINS, mutual_information_gap, stroke_factors
from atlas.metrics.gradient_variance import gradient_variances
from atlas.metrics.intervals import Numbers, difference_interval, mean_interval, ratio_interval, with_interval
from atlas.metrics.labels import balanced_indices, label_leak, style_transfer, worst_class


def subset(count: int, size: int) -> Tensor:
    """Return the indices of `size` of `count` images, or of all, in a mixed order that is always the same.

    Not the first: the second half of MNIST's test set was written by other people than the first.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:size]


@dataclass
class Evaluation:
    """Evaluation of a model on test images. A metric that needs labels, or more images than there are, is left out.

    Args:
        model: in evaluation mode, on the device of the splits.
        test: the official test images. A metric that takes fewer takes the same ones for every run.
        training: images whose codes the probes and the fitted sampler learn from.
        features: the judge's, of the test images, [N, F].
        unseen: the judge's features of images that neither it nor the model has seen, for floors.
        strokes: are the images of strokes on paper, whose slant and width mean something?
        generator: on the CPU, of every random draw that differs from seed to seed.
    """

    model: Model
    judge: Judge
    test: Split
    training: Split
    features: Tensor
    unseen: Tensor
    strokes: bool
    settings: EvaluationSettings
    budget: EvaluateBudget
    generator: torch.Generator
    inversion: InversionSettings

    def __post_init__(self) -> None:
        self.judge.eval()
        self.batch_size = batch_size(self.model.shape)
        self.images, self.labels = to_unit(self.test.images), self.test.labels
        self.labelled = self.model.num_classes > 1
        self.per_image: dict[str, Tensor] = {}

    @torch.no_grad()
    def run(self) -> tuple[Numbers, dict[str, Tensor]]:
        """Metrics under the names of `atlas.metrics.registry`, with their intervals; what does not apply is absent.

        Returns:
            The metrics, and what some of them are means of, [N] an image: the same images in the same order for every
            run, so that two runs can be compared image by image.
        """
        metrics: Numbers = {}
        self.known_labels = self.labels
        if self.model.can("classify"):
            # What the model has to predict it is not told.
            batches = self.images.split(self.batch_size)
            self.known_labels = torch.cat([self.model.classify(batch).argmax(1) for batch in batches])
            metrics = mean_interval("class_accuracy", self.known_labels == self.labels, share=True)
        return metrics | self.likelihood() | self.codes() | self.samples() | self.prior(), self.per_image

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
        self.per_image |= {"nelbo": rate + distortion, "distortion": distortion}
        nelbo = self.per_image["nelbo"]
        metrics = mean_interval("nelbo", nelbo)
        metrics |= mean_interval("distortion", distortion) | mean_interval("rate", rate)
        if model.pixels == "bytes":
            metrics |= mean_interval("bits_per_dim", nelbo / (math.prod(model.shape) * math.log(2)))
        if model.pixels == "grey":
            grey = likelihood.elbo(model, images, labels, generator)
            metrics |= mean_interval("grey_nelbo", grey.rate + grey.distortion)
        samples = self.budget.importance_samples
        if model.can("log_weights") and len(images) > 1:
            idx = self.indices(max(2, self.settings.nll_pixels // math.prod(model.shape)))
            bound, same_nelbo, effective = likelihood.importance_weighted(
                model, observed[idx], labels[idx], samples, generator
            )
            self.per_image["nll_gap"] = same_nelbo - bound
            metrics |= difference_interval("nll", nelbo, same_nelbo - bound) | {"nll_k": samples}
            metrics |= mean_interval("nll_gap", same_nelbo - bound) | mean_interval("effective_samples", effective)
        if model.can("posterior") and model.can("log_joint"):
            idx = self.indices(self.settings.gradient_images)
            draws = max(2, samples)
            reparameterized, score, baseline = gradient_variances(model, observed[idx], labels[idx], draws, generator)
            metrics |= mean_interval("reparameterized_variance", reparameterized)
            metrics |= mean_interval("score_variance", score) | mean_interval("baseline_variance", baseline)
            metrics |= ratio_interval("plain_variance_ratio", score, reparameterized)
            metrics |= ratio_interval("estimator_variance_ratio", baseline, reparameterized)
        return metrics

    def codes(self) -> Numbers:
        """Return metrics of reconstructions, codes and style transfers; without an encoder, codes are searched for."""
        model, images, labels = self.model, self.images, self.labels
        if not model.can("encode"):
            idx = self.indices(self.budget.inversions)
            codes = invert(model, images[idx], labels[idx], self.inversion)
            return self._reconstruction(idx, codes)[0]
        self.means = codes = encode_dataset(model, images, labels).to(images.device)
        idx = torch.arange(len(images), device=images.device)
        metrics, self.per_image["reconstruction_mse"] = self._reconstruction(idx, codes)
        if model.can("rates") and len(codes) > 1:
            metrics |= {"active_units": likelihood.active_units(codes), "active_units_n": len(codes)}
        if self.strokes and model.shape[0] == 1 and model.latent_dim > 1 and len(codes) >= 2 * BINS:
            factors = torch.cat([stroke_factors(batch) for batch in images.split(self.batch_size)])
            metrics |= with_interval("mig", *mutual_information_gap(codes, factors), len(codes))
        if self.labelled and len(images) >= distances.FEW:
            idx = self.indices(self.settings.subset)
            metrics |= mean_interval("label_purity", distances.label_purity(codes[idx], labels[idx]), share=True)
        if model.conditional:
            idx = self.indices(len(images))
            idx = idx[balanced_indices(labels[idx], self.settings.transfers, model.num_classes)]
            if len(idx) > 1:
                accuracy, distance = style_transfer(model, self.judge, images[idx], labels[idx])
                metrics |= mean_interval("swap_accuracy", accuracy, share=True) | mean_interval("style_kept", distance)
        return metrics

    def _reconstruction(self, idx: Tensor, codes: Tensor) -> tuple[Numbers, Tensor]:
        """Return the metrics of the reconstructions of images `idx` from their codes, and each one's error."""
        part = subset(len(codes), self.settings.subset).to(codes.device)
        in_part = torch.zeros(len(codes), dtype=torch.bool, device=codes.device).index_fill(0, part, True)
        errors, features = [], []
        for rows in torch.arange(len(codes), device=codes.device).split(self.batch_size):
            reconstructed = self.model.decode(codes[rows], self.known_labels[idx[rows]])
            errors.append((reconstructed - self.images[idx[rows]]).square().flatten(1).mean(1, dtype=torch.float64))
            features.append(self.judge.features(reconstructed[in_part[rows]]))
        metrics = mean_interval("reconstruction_mse", torch.cat(errors))
        if len(part) > 1:
            distance = distances.feature_distances(self.features[idx[in_part]], torch.cat(features))
            metrics |= mean_interval("reconstruction_features", distance)
        return metrics, torch.cat(errors)

    def samples(self) -> Numbers:
        count, real, unseen = len(self.images), self.features, self.unseen[: len(self.images)]
        # The labels of the test images, in another order: the same share of each class, no copy of a pair.
        self.target_labels = self.labels[torch.randperm(count, generator=self.generator).to(self.labels.device)]
        features, energies = [], []
        for labels in self.target_labels.split(self.batch_size):
            samples = self.model.sample(labels, self.generator)
            features.append(self.judge.features(samples))
            energies.append(distances.laplacian_energies(samples))
        self.sample_features = fake = torch.cat(features)
        right = torch.cat([distances.laplacian_energies(batch) for batch in self.images.split(self.batch_size)]).mean()
        metrics = mean_interval("sharpness", torch.cat(energies) / right)
        if count > real.shape[1]:
            metrics |= distances.frechet_interval("frechet", real, fake)
        if len(unseen) > real.shape[1]:
            other = real[self.indices(len(unseen))]
            metrics |= {"frechet_floor": distances.frechet_distance(other, unseen), "frechet_floor_n": len(unseen)}
        idx = self.indices(self.settings.subset)
        if len(idx) >= distances.FEW:
            metrics |= with_interval("kernel", *distances.kernel_interval(real[idx], fake[idx]), len(idx))
            metrics |= distances.prdc_intervals(real[idx], fake[idx])
            if len(part := idx[: len(unseen)]) > 1:
                floor = distances.kernel_distance(real[part], unseen[: len(part)])
                metrics |= {"kernel_floor": floor, "kernel_floor_n": len(part)}
        if not self.labelled:
            return metrics
        probs = self.judge.logits(fake).softmax(1)
        metrics |= mean_interval("prior_confidence", probs.amax(1) > self.settings.confident, share=True)
        if self.model.conditional:
            correct = probs.argmax(1) == self.target_labels
            metrics |= mean_interval("label_accuracy", correct, share=True)
            metrics["label_accuracy_worst"] = worst_class(correct, self.target_labels)
        return metrics

    def prior(self) -> Numbers:
        """Return metrics of codes as the decoder sees them: do they follow the prior, and do they tell the label?"""
        model, training = self.model, self.training
        if not model.can("encode"):
            return {}
        codes = sampled_codes(model, self.test, self.generator)
        training_codes = sampled_codes(model, training, self.generator)
        metrics = mean_interval("aggregate_variance", aggregate_variances(codes))
        idx = self.indices(self.settings.subset)
        if len(idx) >= distances.FEW and len(training_codes) > 1:
            fitted = fitted_gaussian(training_codes, len(idx), self.generator)
            reconstructed = self._features(codes[idx], self.known_labels[idx])
            for name, features in (
                ("prior_gap", self.sample_features[idx]),
                ("fitted_gap", self._features(fitted, self.target_labels[idx])),
            ):
                metrics |= with_interval(name, *distances.kernel_interval(reconstructed, features), len(idx))
        if model.conditional and len(training) >= 10 and len(training.labels.unique()) > 1:
            correct = label_leak(training_codes, training.labels, codes, self.labels)
            metrics |= mean_interval("style_leak", correct, share=True)
            means = encode_dataset(model, training.images, training.labels)
            correct = label_leak(means, training.labels, self.means, self.labels)
            metrics |= mean_interval("style_leak_means", correct, share=True)
        return metrics

    def _features(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Return the judge's features of the decodings of codes."""
        batches = zip(codes.split(self.batch_size), labels.split(self.batch_size), strict=True)
        return torch.cat([self.judge.features(self.model.decode(*batch)) for batch in batches])
