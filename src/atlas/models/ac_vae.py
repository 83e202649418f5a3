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
    """Class-coded VAE: the code is (c, s). c is the class, s the style, `latent_dim` wide: M2 of Kingma et al. 2014.

        c = softmax(logits), the class that a network of its own reads from the image
        s ~ q(s | x, c) = N(mean, diag variance);  the decoder sees (c, s)
        loss = distortion + KL(q(s | x, c) || N(0, I)) + class_weight * cross-entropy(logits, label)

    While encoder and decoder learn, c is the true class, so that nothing of it has to go into the style. Of a new image
    no network sees the label: c is predicted. An image gives its class and its style; a one-hot class and a style give
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
        # The dct networks keep an image's frequencies, which a class is not read from.
        self.classifier = ENCODERS["conv" if network == "dct" else network](shape, num_classes, 0, width, dropout)
        self.encoder = ENCODERS[network](shape, latent_dim, latent_dim, width, dropout, num_classes)
        self.decoder = DECODERS[network](shape, latent_dim, width, dropout, num_classes, self.likelihood.num_outputs)

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"autoencoder": list(self.parameters())}

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        images = self.likelihood.preprocess(images)
        logits = self.classifier(images)
        mean, log_variance = self.encoder(images, labels).chunk(2, 1)
        styles = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        distortion = self.likelihood(self.decoder(styles, labels), images).mean()
        rate = gaussian_kl(mean, log_variance).sum(1).mean()
        class_loss = functional.cross_entropy(logits, labels)
        return Losses(
            {"autoencoder": distortion + self.warmed_up(rate) + self.class_weight * class_loss},
            {
                "distortion": distortion,
                "rate": rate,
                "class_cross_entropy": class_loss,
                "class_accuracy": (logits.argmax(1) == labels).float().mean(),
            },
        )

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        return gaussian_kl(*self._posterior(self.likelihood.preprocess(images)))

    def classify(self, images: Tensor) -> Tensor:
        return self.classifier(images)

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._posterior(images)[0]

    def sample_posterior(self, images: Tensor, labels: Tensor) -> Tensor:
        mean, log_variance = self._posterior(self.likelihood.preprocess(images))
        return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(codes, labels))

    def _posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the style [N, latent_dim], given the class that is predicted."""
        mean, log_variance = self.encoder(images, self.classify(images).softmax(1)).chunk(2, 1)
        return mean, log_variance
