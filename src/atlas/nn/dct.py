"""Networks around a discrete cosine transform (DCT): the code is the low frequencies of the image.

Of natural images the coefficients of this transform (Ahmed et al. 1974) are nearly uncorrelated, and small where the
frequency is high (Field 1987), which suits a prior of independent Gaussians. So the networks start close to a linear
VAE (Lucas et al. 2019) with hundreds of useful dimensions, and learn better bases and everything that is not linear.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlas.nn.layers import NEGATIVE_SLOPE, Conditioned, Dropout, check_shape, dense, initialize, scaled_channels

SPECTRUM_EXPONENT = 1.35
"""Exponent by which the coefficients of natural images get smaller with frequency."""
SPECTRUM_SCALE = 0.13
"""Standard deviation of the lowest coefficient, over the square root of the number of pixels and channels."""
INIT_STD = 0.05
"""First standard deviation of a coefficient that the code leaves open, pixels in [0, 1]."""
LOGIT_EPS = 1 / 256
"""Pixels nearer than this to 0 or 1 are reached along a tangent: the logit itself has no end there."""
INIT_GAIN = 0.1
"""Share of Glorot's weights by which what is not linear starts."""


def dct_matrix(size: int) -> Tensor:
    """Discrete cosine transform (orthonormal DCT-II) of `size` values as a matrix [frequencies, values]."""
    frequency, position = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size)
    rows = torch.cos(math.pi * frequency * (position + 0.5) / size) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.float()


class DCT(nn.Module):
    """Discrete cosine transform of images [C, H, W]: the `count` coefficients expected to be largest, in falling order.

    The transform runs over rows, columns and channels: over red, green and blue it gives their sum and two opponent
    colors, which are weak in natural images. Its three matrices are only the first ones, and learned like any weights.
    """

    order: Tensor
    inverse_order: Tensor

    def __init__(self, shape: tuple[int, int, int], count: int) -> None:
        super().__init__()
        if not 1 <= count <= math.prod(shape):
            raise ValueError(f"latent_dim: found {count}; network 'dct' allows 1 to {math.prod(shape)}, one a pixel")
        self.shape = shape
        self.channels, self.rows, self.columns = (nn.Parameter(dct_matrix(size)) for size in shape)
        channel, row, column = torch.meshgrid(*(torch.arange(size).double() for size in shape), indexing="ij")
        # Only operations that every machine rounds alike: weights are of use in this order and no other.
        height = (1 + 2 * channel) * (1 + (row**2 + column**2).sqrt())
        heights, order = height.flatten().sort(stable=True)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse_order", order.argsort(), persistent=False)
        # What the coefficients are expected to measure: standard deviations, [count].
        self.expected = SPECTRUM_SCALE * math.sqrt(math.prod(shape)) * heights[:count].float() ** -SPECTRUM_EXPONENT

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [N, C, H, W] to coefficients [N, count], float32."""
        with torch.autocast(pictures.device.type, enabled=False):  # its bfloat16 would drown the high frequencies
            spectrum = self.rows @ pictures.float() @ self.columns.T
            spectrum = torch.einsum("ij,njhw->nihw", self.channels, spectrum)
            return spectrum.flatten(1).index_select(1, self.order[: len(self.expected)])

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Coefficients [N, count] to pictures [N, C, H, W], float32; all other coefficients are 0."""
        with torch.autocast(coefficients.device.type, enabled=False):
            missing = math.prod(self.shape) - len(self.expected)
            spectrum = functional.pad(coefficients.float(), (0, missing)).index_select(1, self.inverse_order)
            pictures = self.rows.T @ spectrum.unflatten(1, self.shape) @ self.columns
            return torch.einsum("ij,nihw->njhw", self.channels, pictures)


class DctEncoder(Conditioned):
    """Encoder: image, and label if conditional, to a code of frequencies and `num_extra_outputs` numbers.

    The code: the frequencies of the image, and of a correction to it by conv 3x3/2, conv 3x3/2, label maps
    concatenated, conv 3x3, conv 1x1 to the 16 pixels of a patch; each brought to unit size. The extra outputs, dense,
    come from the features of the first two convolutions over the image's quarters; the first of them start as
    log-variances of a precise code.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        num_extra_outputs: int = 0,
        width: float = 1.0,
        dropout: float = 0.0,
        cond_classes: int = 0,
    ) -> None:
        super().__init__(cond_classes)
        check_shape(shape)
        first, second = scaled_channels(64, width), scaled_channels(128, width)
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], first, 3, stride=2, padding=1),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
        )
        self.correction = nn.Sequential(
            nn.Conv2d(second + cond_classes, second, 3, padding=1),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            nn.Conv2d(second, 16 * shape[0], 1),
            nn.PixelShuffle(4),
        )
        self.others = dense([4 * second + cond_classes, second, num_extra_outputs]) if num_extra_outputs else None
        self.frequencies = DCT(shape, latent_dim)
        initialize(self)
        expected = self.frequencies.expected
        self.log_gain = nn.Parameter(-expected.log())
        self.shift = nn.Parameter(torch.zeros(latent_dim))
        _last(self.correction).weight.data.mul_(INIT_GAIN)
        if self.others:
            last = _last(self.others)
            assert last.bias is not None
            last.weight.data.mul_(INIT_GAIN)
            last.bias.data[:latent_dim] = 2 * (INIT_STD / (expected + INIT_STD)).log()[:num_extra_outputs]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W] in [0, 1], labels [N] (if conditional) to [N, latent_dim + num_extra_outputs]."""
        features = self.features(images)
        correction = self.correction(self.concat_label(features, labels)).float()
        code = self.frequencies(images - 0.5 + correction) * self.log_gain.exp() + self.shift
        if not self.others:
            return code
        quarters = functional.adaptive_avg_pool2d(features, 2).flatten(1)
        return torch.cat([code, self.others(self.concat_label(quarters, labels)).float()], 1)


class DctDecoder(Conditioned):
    """Decoder: code of frequencies, and label if conditional, to `channels` outputs a pixel.

    The picture that has these frequencies; its patches of 16 pixels as channels, label maps concatenated, conv 3x3;
    twice conv 3x3 to four times the channels, which become the four pixels of each (Shi et al. 2016); with the picture
    itself concatenated, conv 3x3, conv 3x3. The first outputs are the logits of picture plus correction.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        width: float = 1.0,
        dropout: float = 0.0,
        cond_classes: int = 0,
        channels: int | None = None,
    ) -> None:
        super().__init__(cond_classes)
        check_shape(shape)
        first, second, third = scaled_channels(128, width), scaled_channels(64, width), scaled_channels(32, width)
        self.layers = nn.Sequential(
            nn.Conv2d(16 * shape[0] + cond_classes, first, 3, padding=1),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
            nn.Conv2d(first, 4 * second, 3, padding=1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
            nn.Conv2d(second, 4 * third, 3, padding=1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(NEGATIVE_SLOPE),
        )
        self.last = nn.Sequential(
            nn.Conv2d(third + shape[0], third, 3, padding=1),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            nn.Conv2d(third, channels or shape[0], 3, padding=1),
        )
        self.frequencies = DCT(shape, latent_dim)
        initialize(self)
        self.log_gain = nn.Parameter(self.frequencies.expected.log())
        self.shift = nn.Parameter(torch.zeros(latent_dim))
        _last(self.last).weight.data.mul_(INIT_GAIN)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes [N, d], labels [N] or probabilities [N, cond_classes] (if conditional) to [N, channels, H, W]."""
        picture = self.frequencies.inverse(codes * self.log_gain.exp() + self.shift)
        patches = self.concat_label(functional.pixel_unshuffle(picture, 4), labels)
        outputs = self.last(torch.cat([self.layers(patches), picture], 1)).float()
        count = picture.shape[1]
        return torch.cat([to_logits(0.5 + picture + outputs[:, :count]), outputs[:, count:]], 1)


def to_logits(pixels: Tensor) -> Tensor:
    """Return logits of pixels in [0, 1]; beyond `LOGIT_EPS` and 1 - `LOGIT_EPS`, any number's on the tangents there."""
    inside = pixels.clamp(LOGIT_EPS, 1 - LOGIT_EPS)
    return inside.logit() + (pixels - inside) / (LOGIT_EPS * (1 - LOGIT_EPS))


def _last(layers: nn.Sequential) -> nn.Conv2d | nn.Linear:
    return [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.Linear)][-1]
