"""Networks whose code keeps its place in the picture: a small map of channels, handed on flattened.

A code through dense layers has to learn from images alone which pixels are neighbours. Where every dimension of the
code belongs to a place, hundreds of dimensions are learnt in minutes: what likelihoods of colour images need, and what
samples suffer from, since far places are then drawn independently.
"""

from torch import Tensor, nn

from atlas.nn.dropout import Dropout
from atlas.nn.layers import SLOPE, Labelled, check_shape, initialise, scaled


def _channels(shape: tuple[int, int, int], numbers: int, what: str) -> int:
    check_shape(shape)
    places = (shape[1] // 4) * (shape[2] // 4)
    if numbers % places:
        raise ValueError(
            f"{what}: found {numbers}; network 'spatial' allows multiples of {places}, the places of an image"
        )
    return numbers // places


class SpatialEncoder(Labelled):
    """Image, and label if conditional, to `outputs` numbers, channel by channel of a picture a quarter the size.

    Conv 3x3/2, conv 3x3/2, label maps appended, conv 3x3, conv 1x1; and straight from the pixels, conv 4x4/4, which
    soon finds the principal components of the patches, so that the others have only to do better.
    """

    def __init__(
        self, shape: tuple[int, int, int], outputs: int, width: float = 1.0, dropout: float = 0.0, classes: int = 0
    ) -> None:
        super().__init__(classes)
        last = _channels(shape, outputs, "latent_dim")
        first, second = scaled(64, width), scaled(128, width)
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], first, 3, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            Dropout(dropout),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            Dropout(dropout),
        )
        self.head = nn.Sequential(
            nn.Conv2d(second + classes, second, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(second, last, 1)
        )
        self.straight = nn.Conv2d(shape[0], last, 4, stride=4)
        initialise(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W] in [0, 1], labels [N] (ignored when unconditional) to [N, outputs]."""
        numbers = self.head(self.append(self.features(images), labels)) + self.straight(images)
        return numbers.flatten(1).float()


class SpatialDecoder(Labelled):
    """Code, and label if conditional, to `channels` outputs a pixel.

    The code as a picture, label maps appended, conv 3x3, twice: conv 3x3 to four times the channels, which become the
    four pixels of each (Shi et al. 2016); conv 3x3. And straight, conv 1x1 to all pixels of a patch.
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
        self.base = (_channels(shape, latent_dim, "latent_dim"), shape[1] // 4, shape[2] // 4)
        first, second, third = scaled(128, width), scaled(64, width), scaled(32, width)
        self.layers = nn.Sequential(
            nn.Conv2d(self.base[0] + classes, first, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            Dropout(dropout),
            nn.Conv2d(first, 4 * second, 3, padding=1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(SLOPE),
            Dropout(dropout),
            nn.Conv2d(second, 4 * third, 3, padding=1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(third, channels or shape[0], 3, padding=1),
        )
        self.straight = nn.Sequential(nn.Conv2d(self.base[0], 16 * (channels or shape[0]), 1), nn.PixelShuffle(4))
        initialise(self)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes [N, d], labels [N] or shares [N, classes] (ignored when unconditional) to [N, channels, H, W]."""
        picture = codes.unflatten(1, self.base)
        return (self.layers(self.append(picture, labels)) + self.straight(picture)).float()
