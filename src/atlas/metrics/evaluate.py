"""The protocol: one model, one set of test images, every measure that applies."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from atlas.core.datasets import Split, to_unit
from atlas.core.latent import invert
from atlas.metrics import labels as label_measures
from atlas.metrics import distances, likelihood
from atlas.metrics.gradient_variance import gradient_variances
from atlas.metrics.bootstrap import mean_interval, ratio_interval
from atlas.metrics.classifier import Judge, read
from atlas.metrics.disentanglement import factors, mutual_information_gap
from atlas.metrics.neighbours import prdc, label_purity
from atlas.core.model import Model

BATCH = 500
SUBSET = 2000
"""Images of each kind where a measure compares every one with every other, or fits probes."""
NLL_PIXELS = 800_000
"""In all the images of the importance-weighted bound: 1020 of MNIST's, 260 of CIFAR-10's."""
GRADIENT_IMAGES = 100
TRANSFERS = 300
INVERSION_STEPS = 60
SURE = 0.95

Numbers = dict[str, float | int]


@torch.no_grad()
def evaluate(
    model: Model,
    judge: Judge,
    test: Split,
    training: Split,
    generator: torch.Generator,
    importance_samples: int = 10,
    inversions: int = 20,
    each: dict[str, Tensor] | None = None,
) -> Numbers:
    """Return {measure: value} under the names of `atlas.metrics.registry`; what does not apply is absent.

    Beside a measure may stand `<measure>_n`, how many images it saw, and `<measure>_low` and `<measure>_high`, the ends
    of its 95 % interval.

    Args:
        model: in evaluation mode, on the device of the splits.
        test: the official test images. A measure that takes fewer takes the same ones for every run.
        training: at least as many training images, for floors and probes.
        generator: on the CPU, of every random draw that differs from seed to seed.
        importance_samples: posterior samples an image of `nll`, and draws of `estimator_variance_ratio`.
        inversions: test images (at most) whose code is searched for, of a model without an encoder.
        each: filled with what `nelbo`, `nll`, `nll_gap` and `reconstruction_mse` are means of, [N] an image, the same
            images in the same order for every run: pairs of runs are compared image by image.

    Raises:
        ValueError: if there are fewer training images than test images, or too few of either for a measure.
    """
    if len(training) < len(test):
        raise ValueError(f"the floor needs {len(test)} training images, found {len(training)}")
    images = to_unit(test.images)
    real = read(judge, images)[0]
    each = {} if each is None else each
    found = _likelihood(model, images, test.labels, importance_samples, generator, each)
    if model.can("encode"):
        codes = _encode(model, images, test.labels)
        rebuilt = _decode(model, codes, test.labels)
        each["reconstruction_mse"] = (rebuilt - images).double().square().flatten(1).mean(1)
        found |= _reconstruction(judge, images, real, rebuilt)
        found |= _latents(model, images, test.labels, codes)
    else:
        some = subset(len(test), inversions).to(images.device)
        codes = invert(model, images[some], test.labels[some], INVERSION_STEPS)
        found |= _reconstruction(judge, images[some], real[some], _decode(model, codes, test.labels[some]))
    found |= _samples(model, judge, images, real, test.labels, training, generator)
    if model.conditional and model.can("encode"):
        found |= _style(model, judge, images, test.labels, codes, training)
    if model.can("classify"):
        read_own = torch.cat([model.classify(batch).argmax(1) for batch in images.split(BATCH)])
        found |= mean_interval("class_accuracy", read_own == test.labels)
    return found


def subset(count: int, wanted: int) -> Tensor:
    """Return the places of `wanted` of `count` images, or of all, in a mixed order that is always the same.

    Not the first: the second half of MNIST's test set was written by other people than the first.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:wanted]


def _likelihood(
    model: Model, images: Tensor, labels: Tensor, samples: int, generator: torch.Generator, each: dict[str, Tensor]
) -> Numbers:
    if not model.can("elbo"):
        return mean_interval("rate", likelihood.rates(model, images, labels, generator)) if model.can("rates") else {}
    # What is compared is compared on the same pixels: of grey images, one binarisation for all.
    shown = likelihood.binarise(images) if model.pixels in ("grey", "binary") else images
    rate, distortion = likelihood.bound(model, shown, labels, generator)
    each["nelbo"] = rate + distortion
    found = mean_interval("nelbo", rate + distortion)
    found |= mean_interval("distortion", distortion) | mean_interval("rate", rate)
    if model.pixels == "bytes":
        found |= mean_interval("bits_per_dim", (rate + distortion) / (math.prod(model.shape) * math.log(2)))
    if model.pixels == "grey":
        grey = likelihood.bound(model, images, labels, generator)
        found |= mean_interval("grey_nelbo", grey.rate + grey.distortion)
    if model.can("log_weights"):
        some = subset(len(images), max(1, NLL_PIXELS // math.prod(model.shape))).to(images.device)
        nll, nelbo = likelihood.importance_weighted(model, shown[some], labels[some], samples, generator)
        each["nll"], each["nll_gap"] = nll, nelbo - nll
        found |= mean_interval("nll", nll) | {"nll_k": samples} | mean_interval("nll_gap", nelbo - nll)
    if model.can("posterior") and model.can("log_joint"):
        some = subset(len(images), GRADIENT_IMAGES).to(images.device)
        reparameterised, score = gradient_variances(model, shown[some], labels[some], max(2, samples), generator)
        found |= mean_interval("reparameterised_variance", reparameterised) | mean_interval("score_variance", score)
        found |= ratio_interval("estimator_variance_ratio", score, reparameterised)
    return found


def _reconstruction(judge: Judge, images: Tensor, real: Tensor, rebuilt: Tensor) -> Numbers:
    some = subset(len(images), SUBSET).to(images.device)
    distances = pictures.feature_distances(real[some], read(judge, rebuilt[some])[0])
    errors = (rebuilt - images).double().square().flatten(1).mean(1)
    return mean_interval("reconstruction_mse", errors) | mean_interval("reconstruction_features", distances)


def _latents(model: Model, images: Tensor, labels: Tensor, codes: Tensor) -> Numbers:
    found: Numbers = {}
    if model.can("rates"):
        found |= {"active_units": likelihood.active_units(codes), "active_units_n": len(codes)}
    if model.shape[0] == 1 and model.latent_dim > 1:
        gap, low, high = mutual_information_gap(codes, factors(images))
        found |= {"mig": gap, "mig_low": low, "mig_high": high, "mig_n": len(codes)}
    some = subset(len(codes), SUBSET).to(codes.device)
    return found | mean_interval("label_purity", label_purity(codes[some], labels[some]))


def _samples(
    model: Model,
    judge: Judge,
    images: Tensor,
    real: Tensor,
    labels: Tensor,
    training: Split,
    generator: torch.Generator,
) -> Numbers:
    count = len(images)
    # The labels of the test images, in another order: the same share of each class, no copy of a pair.
    asked = labels[torch.randperm(count, generator=generator).to(labels.device)]
    samples = torch.cat([model.sample(part, generator) for part in asked.split(BATCH)])
    fake, floor = (read(judge, batch)[0] for batch in (samples, to_unit(training.images[:count])))
    found: Numbers = {
        "frechet": pictures.frechet(real, fake),
        "frechet_n": count,
        "frechet_floor": pictures.frechet(real, floor),
    }
    some = subset(count, SUBSET).to(images.device)
    low, high = pictures.kernel_interval(real[some], fake[some])
    found |= {
        "kernel": pictures.kernel(real[some], fake[some]),
        "kernel_low": low,
        "kernel_high": high,
        "kernel_n": len(some),
        "kernel_floor": pictures.kernel(real[some], floor[some]),
    }
    for name, values in prdc(real[some], fake[some])._asdict().items():
        found |= mean_interval(name, values)
    found |= mean_interval("sharpness", pictures.laplacian_energies(samples) / pictures.laplacian_energy(images))
    chances = judge.output(functional.relu(fake)).softmax(1)
    found |= mean_interval("prior_confidence", chances.amax(1) > SURE)
    if model.conditional:
        right = chances.argmax(1) == asked
        found |= mean_interval("label_accuracy", right)
        found["label_accuracy_worst"] = label_measures.worst_class(right, asked)
    return found


def _style(model: Model, judge: Judge, images: Tensor, labels: Tensor, codes: Tensor, training: Split) -> Numbers:
    mixed = subset(len(images), len(images)).to(images.device)
    chosen = mixed[label_measures.balanced(labels[mixed], TRANSFERS, model.num_classes)]
    done = label_measures.transfers(model, judge, images[chosen], labels[chosen])
    some = subset(len(images), SUBSET).to(images.device)
    taught = training.labels[: 2 * SUBSET]
    seen = _encode(model, to_unit(training.images[: 2 * SUBSET]), taught)
    return (
        mean_interval("swap_accuracy", done.swapped)
        | mean_interval("style_kept", done.moved)
        | mean_interval("style_leak", label_measures.leak(seen, taught, codes[some], labels[some]))
    )


def _encode(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    return torch.cat([model.encode(*batch) for batch in zip(images.split(BATCH), labels.split(BATCH), strict=True)])


def _decode(model: Model, codes: Tensor, labels: Tensor) -> Tensor:
    return torch.cat([model.decode(*batch) for batch in zip(codes.split(BATCH), labels.split(BATCH), strict=True)])
