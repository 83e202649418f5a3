"""The protocol: one model, one set of test images, every measure that applies."""

import math

import torch
from torch import Tensor

from atlas.datasets import Split, to_unit
from atlas.measures.judge import Judge, read
from atlas.measures.pictures import frechet, sharpness
from atlas.models.base import Model

BATCH = 500


def evaluate(
    model: Model, judge: Judge, test: Split, training: Split, generator: torch.Generator
) -> dict[str, float | int]:
    """Return {measure: value} under the names of `atlas.measures.catalogue`; what does not apply is absent.

    Args:
        model: in evaluation mode, on the device of the splits.
        test: the test images that every measure uses; `<measure>_n` says how many.
        training: as many training images, for the floor.
        generator: on the CPU, of every random draw but the posterior's.

    Raises:
        ValueError: if there are fewer training images than test images.
    """
    count = len(test)
    if len(training) < count:
        raise ValueError(f"the floor needs {count} training images, found {len(training)}")
    with torch.no_grad():
        found: dict[str, float | int] = {}
        if model.can("elbo"):
            found |= likelihood(model, test, generator)
        if model.can("encode"):
            found |= {"reconstruction_mse": _reconstruction(model, test), "reconstruction_mse_n": count}
        # The labels of the test images, in another order: the same share of each class, no copy of a pair.
        labels = test.labels[torch.randperm(count, generator=generator).to(test.labels.device)]
        samples = torch.cat([model.sample(part, generator) for part in labels.split(BATCH)])
        real = to_unit(test.images)
        real_features, _ = read(judge, real)
        features, read_labels = read(judge, samples)
        floor_features, _ = read(judge, to_unit(training.images[:count]))
        found |= {
            "frechet": frechet(real_features, features),
            "frechet_n": count,
            "frechet_floor": frechet(real_features, floor_features),
            "sharpness": sharpness(samples, real),
            "sharpness_n": count,
        }
        if model.conditional:
            found |= {"label_accuracy": (read_labels == labels).double().mean().item(), "label_accuracy_n": count}
        return found


def likelihood(model: Model, test: Split, generator: torch.Generator) -> dict[str, float | int]:
    """Return the two parts of the negative ELBO and their sum, in nats per image, and bits per dimension if they mean
    something, over all images of `test`."""
    rates, distortions = [], []
    # The posterior's sample comes from the global generator: seeded here, and put back as it was.
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        for images, labels in _batches(test):
            bound = model.elbo(images, labels)
            rates.append(bound.rate.double())
            distortions.append(bound.distortion.double())
    rate, distortion = torch.cat(rates).mean().item(), torch.cat(distortions).mean().item()
    found: dict[str, float | int] = {
        "nelbo": rate + distortion,
        "nelbo_n": len(test),
        "distortion": distortion,
        "rate": rate,
    }
    if model.pixels == "bytes":
        found["bits_per_dim"] = (rate + distortion) / (math.prod(model.shape) * math.log(2))
    return found


def _reconstruction(model: Model, test: Split) -> float:
    total = 0.0
    for images, labels in _batches(test):
        rebuilt = model.decode(model.encode(images, labels), labels)
        total += (rebuilt - images).double().square().flatten(1).mean(1).sum().item()
    return total / len(test)


def _batches(split: Split) -> list[tuple[Tensor, Tensor]]:
    parts = zip(split.images.split(BATCH), split.labels.split(BATCH), strict=True)
    return [(to_unit(images), labels) for images, labels in parts]
