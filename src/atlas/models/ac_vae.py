"""Class-coded VAE: an autoencoder whose code is a class and a style (tutorial "variational-autoencoders-explained")."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlas.core.model import Losses, Model, Shape
from atlas.core.schema import Fraction, LatentDim, Weight, Width
from atlas.nn.likelihood import Likelihood, LikelihoodName, Noise
from atlas.nn.losses import gaussian_kl
from atlas.nn.networks import DECODERS, ENCODERS, Network


class ClassCodedVAE(Model):
    """Class-coded VAE: the code is (c, s). c is trained to be the label, s is the style, `latent_dim` wide.

        c = logits of the class;  s ~ q(s|x) = N(mean, diag variance);  the decoder sees (softmax(c), s)
        loss = distortion + KL(q(s|x) || N(0, I)) + class_weight * cross-entropy(c, label)

    No network sees the label: it is predicted. An image gives its class and its style; a one-hot class and a style give
    an image. To figures and metrics the style is the code and the class the label, so that this model samples and
    transfers styles like the conditional ones.
    """

    conditional = True

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        latent_dim: LatentDim,
        network: Network,
        likelihood: LikelihoodName,
        noise: Noise,
        class_weight: Weight,
        dropout: Fraction,
        width: Width,
    ) -> None:
        super().__init__(shape, num_classes, latent_dim)
        self.class_weight = class_weight
        self.likelihood = Likelihood(likelihood, shape[0], noise)
        self.encoder = ENCODERS[network](shape, latent_dim, latent_dim + num_classes, width, dropout)
        self.decoder = DECODERS[network](shape, latent_dim, width, dropout, num_classes, self.likelihood.num_outputs)

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"autoencoder": list(self.parameters())}

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        images = self.likelihood.preprocess(images)
        logits, mean, log_variance = self._posterior(images)
        styles = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        distortion = self.likelihood(self.decoder(styles, logits.softmax(1)), images).mean()
        rate = gaussian_kl(mean, log_variance).sum(1).mean()
        class_loss = functional.cross_entropy(logits, labels)
        return Losses(
            {"autoencoder": distortion + rate + self.class_weight * class_loss},
            {
                "distortion": distortion,
                "rate": rate,
                "class_cross_entropy": class_loss,
                "class_accuracy": (logits.argmax(1) == labels).float().mean(),
            },
        )

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        _, mean, log_variance = self._posterior(self.likelihood.preprocess(images))
        return gaussian_kl(mean, log_variance)

    def classify(self, images: Tensor) -> Tensor:
        return self._posterior(images)[0]

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._posterior(images)[1]

    def sample_posterior(self, images: Tensor, labels: Tensor) -> Tensor:
        _, mean, log_variance = self._posterior(self.likelihood.preprocess(images))
        return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(codes, labels))

    def _posterior(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the class's logits [N, num_classes], and mean and log-variance of the style [N, latent_dim]."""
        sizes = [self.latent_dim, self.latent_dim, self.num_classes]
        mean, log_variance, logits = self.encoder(images).split(sizes, 1)
        return logits, mean, log_variance
