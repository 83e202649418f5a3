"""Networks whose code is the low frequencies of an image: hundreds of dimensions, of use from the first step on.

A code through dense layers has to learn from images alone which pixels are neighbours. The discrete cosine transform
(Ahmed et al. 1974) knows it: of natural images its coefficients are nearly uncorrelated, and small where the frequency
is high (Field 1987), much as a prior of independent Gaussians wants its dimensions. The networks begin there, as the
linear VAE that they nearly are (Lucas et al. 2019), and learn what is left: better bases, and all that is not linear.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlas.nn.dropout import Dropout
from atlas.nn.layers import SLOPE, Labelled, check_shape, dense, initialise, scaled

FALL = 1.35
"""Exponent by which the coefficients of natural images get smaller with frequency."""
SIZE = 0.13
"""Standard deviation of the lowest coefficient, over the square root of the number of pixels and channels."""
PRECISION = 0.05
"""First standard deviation of a coefficient that the code leaves open, pixels in [0, 1]."""
EDGE = 1 / 256
"""Pixels nearer than this to 0 or 1 are reached along a tangent: the logit itself has no end there."""
GENTLE = 0.1
"""Share of Glorot's weights by which what is not linear starts."""


def cosines(size: int) -> Tensor:
    """Return the orthonormal DCT-II of `size` values as a matrix [frequencies, values]."""
    frequency, place = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size)
    rows = torch.cos(math.pi * frequency * (place + 0.5) / size) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.float()


class Frequencies(nn.Module):
    """The `count` largest coefficients that natural images [C, H, W] are expected to have, in falling order.

    The transform runs over rows, columns and channels: over red, green and blue it gives their sum and two opponent
    colours, which are weak in natural images. Its three matrices are only the first ones, and learnt like any weights.
    """

    order: Tensor
    places: Tensor

    def __init__(self, shape: tuple[int, int, int], count: int) -> None:
        super().__init__()
        if not 1 <= count <= math.prod(shape):
            raise ValueError(f"latent_dim: found {count}; network 'dct' allows 1 to {math.prod(shape)}, one a pixel")
        self.shape = shape
        self.channels, self.rows, self.columns = (nn.Parameter(cosines(size)) for size in shape)
        channel, row, column = torch.meshgrid(*(torch.arange(size).double() for size in shape), indexing="ij")
        # Only operations that every machine rounds alike: weights are of use in this order and no other.
        height = (1 + 2 * channel) * (1 + (row**2 + column**2).sqrt())
        heights, order = height.flatten().sort(stable=True)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("places", order.argsort(), persistent=False)
        # What the coefficients are expected to measure: standard deviations, [count].
        self.expected = SIZE * math.sqrt(math.prod(shape)) * heights[:count].float() ** -FALL

    def analyse(self, pictures: Tensor) -> Tensor:
        """Pictures [N, C, H, W] to coefficients [N, count], float32."""
        with torch.autocast(pictures.device.type, enabled=False):  # its bfloat16 would drown the high frequencies
            spectrum = self.rows @ pictures.float() @ self.columns.T
            spectrum = torch.einsum("ij,njhw->nihw", self.channels, spectrum)
            return spectrum.flatten(1).index_select(1, self.order[: len(self.expected)])

    def draw(self, coefficients: Tensor) -> Tensor:
        """Coefficients [N, count] to pictures [N, C, H, W], float32; all other coefficients are 0."""
        with torch.autocast(coefficients.device.type, enabled=False):
            missing = math.prod(self.shape) - len(self.expected)
            spectrum = functional.pad(coefficients.float(), (0, missing)).index_select(1, self.places)
            pictures = self.rows.T @ spectrum.unflatten(1, self.shape) @ self.columns
            return torch.einsum("ij,nihw->njhw", self.channels, pictures)


class DctEncoder(Labelled):
    """Image, and label if conditional, to a code of frequencies and `others` numbers.

    The code: the frequencies of the image, and of a correction to it by conv 3x3/2, conv 3x3/2, label maps appended,
    conv 3x3, conv 1x1 to the 16 pixels of a patch; each brought to unit size. The others, dense, from the features of
    the first two convolutions over the image's quarters; the first of them start as log-variances of a precise code.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        others: int = 0,
        width: float = 1.0,
        dropout: float = 0.0,
        classes: int = 0,
    ) -> None:
        super().__init__(classes)
        check_shape(shape)
        first, second = scaled(64, width), scaled(128, width)
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], first, 3, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            Dropout(dropout),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            Dropout(dropout),
        )
        self.correction = nn.Sequential(
            nn.Conv2d(second + classes, second, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(second, 16 * shape[0], 1),
            nn.PixelShuffle(4),
        )
        self.others = dense([4 * second + classes, second, others]) if others else None
        self.frequencies = Frequencies(shape, latent_dim)
        initialise(self)
        expected = self.frequencies.expected
        self.log_gain = nn.Parameter(-expected.log())
        self.shift = nn.Parameter(torch.zeros(latent_dim))
        _last(self.correction).weight.data.mul_(GENTLE)
        if self.others:
            last = _last(self.others)
            assert last.bias is not None
            last.weight.data.mul_(GENTLE)
            last.bias.data[:latent_dim] = 2 * (PRECISION / (expected + PRECISION)).log()[:others]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W] in [0, 1], labels [N] (ignored when unconditional) to [N, latent_dim + others]."""
        features = self.features(images)
        correction = self.correction(self.append(features, labels)).float()
        code = self.frequencies.analyse(images - 0.5 + correction) * self.log_gain.exp() + self.shift
        if not self.others:
            return code
        quarters = functional.adaptive_avg_pool2d(features, 2).flatten(1)
        return torch.cat([code, self.others(self.append(quarters, labels)).float()], 1)


class DctDecoder(Labelled):
    """Code of frequencies, and label if conditional, to `channels` outputs a pixel.

    The picture that has these frequencies; its patches of 16 pixels as channels, label maps appended, conv 3x3, twice:
    conv 3x3 to four times the channels, which become the four pixels of each (Shi et al. 2016); beside the picture
    itself, conv 3x3, conv 3x3. The first outputs are the logits of picture plus correction.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        width: float = 1.0,
        dropout: float = 0.0,
        classes: int = 0,
        channels: int | None = None,
    ) -> None:
        super().__init__(classes)
        check_shape(shape)
        first, second, third = scaled(128, width), scaled(64, width), scaled(32, width)
        self.layers = nn.Sequential(
            nn.Conv2d(16 * shape[0] + classes, first, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            Dropout(dropout),
            nn.Conv2d(first, 4 * second, 3, padding=1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(SLOPE),
            Dropout(dropout),
            nn.Conv2d(second, 4 * third, 3, padding=1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(SLOPE),
        )
        self.last = nn.Sequential(
            nn.Conv2d(third + shape[0], third, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(third, channels or shape[0], 3, padding=1),
        )
        self.frequencies = Frequencies(shape, latent_dim)
        initialise(self)
        self.log_gain = nn.Parameter(self.frequencies.expected.log())
        self.shift = nn.Parameter(torch.zeros(latent_dim))
        _last(self.last).weight.data.mul_(GENTLE)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes [N, d], labels [N] or shares [N, classes] (ignored when unconditional) to [N, channels, H, W]."""
        picture = self.frequencies.draw(codes * self.log_gain.exp() + self.shift)
        patches = self.append(functional.pixel_unshuffle(picture, 4), labels)
        outputs = self.last(torch.cat([self.layers(patches), picture], 1)).float()
        count = picture.shape[1]
        return torch.cat([to_logits(0.5 + picture + outputs[:, :count]), outputs[:, count:]], 1)


def to_logits(pixels: Tensor) -> Tensor:
    """Return logits of pixels in [0, 1]; beyond `EDGE` and 1 - `EDGE`, any number's on the tangents there."""
    inside = pixels.clamp(EDGE, 1 - EDGE)
    return inside.logit() + (pixels - inside) / (EDGE * (1 - EDGE))


def _last(layers: nn.Sequential) -> nn.Conv2d | nn.Linear:
    return [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.Linear)][-1]
