"""Every measure in one place: its name in the metrics files, its title, unit, better direction and meaning."""

from typing import Literal, NamedTuple


class Measure(NamedTuple):
    """What one number is."""

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher", ""]
    description: str
    digits: int


_ALL = (
    Measure("nelbo", "-ELBO", "nats/image", "lower", "negative evidence lower bound on test images, one posterior "
            "sample an image (Kingma and Welling 2014). On grey pixels with a Bernoulli likelihood it is built on a "
            "cross-entropy: comparable within this table only", 2),
    Measure("distortion", "distortion", "nats/image", "lower", "the part of the -ELBO that measures reconstruction", 2),
    Measure("rate", "rate", "nats/image", "", "the part of the -ELBO that the code costs: KL(q(z|x) || p(z))", 2),
    Measure("bits_per_dim", "bits/dim", "bits", "lower", "the -ELBO per pixel and channel in bits, where the "
            "likelihood is one of 8-bit pixels; a single Gaussian reaches 4.70 on CIFAR-10", 3),
    Measure("reconstruction_mse", "reconstruction", "per pixel", "lower", "mean squared error of test images "
            "reconstructed from their code, pixels in [0, 1]", 4),
    Measure("frechet", "Frechet", "", "lower", "Frechet distance between test images and as many samples in the "
            "features of this project's own judge; never to be set beside published FIDs", 2),
    Measure("frechet_floor", "its floor", "", "lower", "the same distance between training images and test images: "
            "what perfect looks like at this sample size", 2),
    Measure("label_accuracy", "label accuracy", "share", "higher", "how often the judge reads the label that was asked "
            "for in a sample", 4),
    Measure("sharpness", "sharpness", "ratio", "", "mean squared Laplacian of samples over that of test images: 1 is "
            "right, below is blurred; noise can fake it", 2),
)  # fmt: skip

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}
