"""What the trainer, the measures and the figures know of a model, and nothing else."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]


class Losses(NamedTuple):
    """What one forward pass gives: a scalar to be minimised for each player, and the named terms to log.

    All in nats per image, averaged over the batch.
    """

    players: dict[str, Tensor]
    terms: dict[str, Tensor]
    gauge: Tensor | None = None
    """Of an adversarial member, the discriminator's loss: what the gates of `balance` look at."""


class Bound(NamedTuple):
    """The two parts of the negative evidence lower bound, [N] nats per image each."""

    rate: Tensor
    distortion: Tensor


class Model(nn.Module):
    """A member of the family.

    A member overrides what it can do; `can` tells callers what that is. Images are float [N, C, H, W] in [0, 1],
    labels int64 [N], codes float [N, latent_dim]. Labels are always passed and ignored by unconditional members.
    """

    conditional = False
    """Does decode() heed the label?"""
    has_prior = True
    """Was the code taught to follow N(0, I)? An autoencoder's was not."""
    pixels: Literal["", "grey", "binary", "bytes", "real"] = ""
    """What elbo() speaks of: grey values through a cross-entropy (no likelihood), 0 or 1, 8-bit values (bits per
    dimension mean something), or a density of real values."""

    def __init__(self, shape: Shape, classes: int, latent_dim: int) -> None:
        super().__init__()
        self.shape = shape
        self.classes = classes
        self.latent_dim = latent_dim

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Return the named groups of parameters, each taught by its own loss and no other."""
        raise NotImplementedError

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        """Return each player's loss and the terms to log."""
        raise NotImplementedError

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the codes [N, latent_dim]; of a distribution, its mean."""
        raise NotImplementedError

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Return images [N, C, H, W] in [0, 1]; of a distribution, its mean."""
        raise NotImplementedError

    def elbo(self, images: Tensor, labels: Tensor) -> Bound:
        """Return rate and distortion at one posterior sample an image."""
        raise NotImplementedError

    def log_weights(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return log p(x, z) - log q(z|x), [N] nats, at one posterior sample an image.

        Its mean is the evidence lower bound; the log of the mean of its exponential over many samples is the
        importance-weighted bound (Burda et al. 2016).
        """
        raise NotImplementedError

    def posterior(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z|x), [N, latent_dim] each, where it is a Gaussian without correlations."""
        raise NotImplementedError

    def log_joint(self, images: Tensor, labels: Tensor, codes: Tensor) -> Tensor:
        """Return log p(x, z), [N] nats, but for the constant of N(0, I)."""
        raise NotImplementedError

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return what each dimension of the code costs, [N, latent_dim] nats; it sums to the rate."""
        raise NotImplementedError

    def classify(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of the label that the member itself reads in the image."""
        raise NotImplementedError

    def sample(self, labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return one image a label, from codes drawn from N(0, I) (on the CPU: the same draws on every device)."""
        codes = torch.randn(len(labels), self.latent_dim, generator=generator)
        return self.decode(codes.to(labels.device), labels)

    def can(self, ability: str) -> bool:
        """Tell whether this member defines `encode`, `elbo` or another of the methods above."""
        return getattr(type(self), ability) is not getattr(Model, ability)
