"""Models whose codes are pixels, and the figures of a run of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from atlas.core.datasets import Split
from atlas.core.model import Losses, Model
from atlas.core.schema import InversionSettings, SampleSettings
from atlas.figures.context import RunFigures

CLASSES = [str(label) for label in range(10)]
SETTINGS = SampleSettings(
    reconstructions=3, per_label=2, map_steps=2, map_quantile=0.05, scatter=20, scatter_limit=5.0, transfers=2,
    traversals=2, traversal_steps=3, interpolations=2, interpolation_steps=3,
)  # fmt: skip
INVERSION = InversionSettings(steps=2, prior_weight=0.01)


class Linear(Model):
    """Codes are the first pixels; dimension 2 has the highest rate, then 0."""

    def __init__(self, latent_dim: int = 4) -> None:
        super().__init__((1, 4, 4), 10, latent_dim)

    def losses(self, images: torch.Tensor, labels: torch.Tensor) -> Losses:
        raise NotImplementedError

    def encode(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, : self.latent_dim]

    def decode(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(codes, (0, 16 - self.latent_dim)).unflatten(1, self.shape)

    def rates(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.tensor([2.0, 0.5, 3.0, 1.0]) + 0.1 * torch.randn(len(images), 4)


class Classifying(Linear):
    """Predicts class 1 for every image, with a probability of three quarters."""

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.ones(len(images), dtype=torch.long), 10) * float(np.log(27))


class WithoutPrior(Linear):
    has_prior = False
    rates = Model.rates


class WithoutEncoder(Linear):
    encode = Model.encode
    rates = Model.rates


def run_figures(
    model: Model, test: Split, folder: Path, classes: Sequence[str] = CLASSES, shown: Sequence[int] | None = None,
    **changes: int,
) -> RunFigures:  # fmt: skip
    settings = SETTINGS.model_copy(update=changes)
    return RunFigures("toy", model.eval(), list(classes), test, settings, INVERSION, folder, shown)
