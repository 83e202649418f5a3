"""The class-coded VAE: an autoencoder whose code is a class and a style (variational-autoencoders-explained)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlas.models.base import Losses, Model, Shape
from atlas.models.registry import register
from atlas.nn import losses
from atlas.nn.likelihood import Likelihood
from atlas.nn.networks import decoder, encoder


@register("ac_vae")
class ClassCodedVAE(Model):
    """The code is (c, s): c has one dimension a class and is taught to be the label, s is the style, `latent_dim` wide.

        c = logits of the class;  s ~ q(s|x) = N(mean, diag variance);  the decoder sees (softmax(c), s)
        loss = distortion + KL(q(s|x) || N(0, I)) + class_weight * cross-entropy(c, label)

    The label is shown to nobody: it is predicted. An image gives its class and its style; a class, as softmax(c) is
    when sure of it, and a style give an image. To the figures and the measures the style is the code and the class the
    label, so that this member draws and transfers like the conditional ones.
    """

    conditional = True

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        latent_dim: int,
        network: str,
        likelihood: str,
        noise: str,
        class_weight: float,
        dropout: float,
        width: float,
    ) -> None:
        super().__init__(shape, classes, latent_dim)
        self.class_weight = class_weight
        self.likelihood = Likelihood(likelihood, shape[0], noise)
        self.encoder = encoder(network, shape, latent_dim, latent_dim + classes, width, dropout)
        self.decoder = decoder(network, shape, latent_dim, width, dropout, classes, self.likelihood.outputs)

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {"autoencoder": list(self.parameters())}

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        images = self.likelihood.observe(images)
        logits, mean, log_variance = self._read(images)
        styles = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        distortion = self.likelihood(self.decoder(styles, logits.softmax(1)), images).mean()
        rate = losses.gaussian_rate(mean, log_variance).sum(1).mean()
        wrong = functional.cross_entropy(logits, labels)
        return Losses(
            {"autoencoder": distortion + rate + self.class_weight * wrong},
            {
                "distortion": distortion,
                "rate": rate,
                "class_cross_entropy": wrong,
                "class_accuracy": (logits.argmax(1) == labels).float().mean(),
            },
        )

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        _, mean, log_variance = self._read(self.likelihood.observe(images))
        return losses.gaussian_rate(mean, log_variance)

    def classify(self, images: Tensor) -> Tensor:
        return self._read(images)[0]

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._read(images)[1]

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(codes, labels))

    def _read(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = self.latent_dim
        mean, log_variance, logits = self.encoder(images).split([size, size, self.classes], 1)
        return logits, mean, log_variance
