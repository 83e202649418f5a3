"""The judge: a small classifier of a data set's labels, whose features the distances are computed in.

It is trained once per data set, on training images only, and is part of no model. Where a data set has no labels, it
classifies by how many quarters an image was turned (Gidaris et al. 2018), to which shapes must be known, too.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from atlas.core.files import AtlasError, require
from atlas.core.latent import batch_size

FEATURES = 64
ROTATIONS = 4
"""By 0, 90, 180 and 270 degrees."""


class Judge(nn.Module):
    """Judge: four convolutions with batch norm, mean over space, 64 features, dense.

    Its outputs are the classes, or the rotations where there are fewer than two classes.
    """

    def __init__(self, shape: tuple[int, int, int], num_classes: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = shape[0]
        for multiple, pooled in ((1, False), (2, True), (4, True), (4, True)):
            layers += [nn.Conv2d(channels, multiple * width, 3, padding=1, bias=False)]
            layers += [nn.MaxPool2d(2)] if pooled else []
            layers += [nn.BatchNorm2d(multiple * width), nn.ReLU()]
            channels = multiple * width
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Linear(4 * channels, FEATURES)
        self.output = nn.Linear(FEATURES, num_classes if num_classes > 1 else ROTATIONS)

    def features(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] to features [N, 64], before their last non-linearity."""
        return self.hidden(self.layers(images * 2 - 1))

    def logits(self, features: Tensor) -> Tensor:
        """Features [N, 64] to logits [N, outputs]."""
        return self.output(functional.relu(features))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] to logits [N, outputs]."""
        return self.logits(self.features(images))


def augment(images: Tensor, mirror: bool, generator: torch.Generator) -> Tensor:
    """Shift a batch by up to 2 pixels; with `mirror`, flip half of its images left to right."""
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    padded = functional.pad(images, (2, 2, 2, 2))
    height, width = images.shape[2:]
    images = padded[:, :, 2 + down : 2 + down + height, 2 + right : 2 + right + width]
    if mirror:
        flipped = torch.rand(len(images), generator=generator).to(images.device) < 0.5
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    return images


def rotate(images: Tensor, quarters: Tensor) -> Tensor:
    """Turn the square middles of images [N, C, H, W] by quarters [N], 0 to 3, to the left: [N, C, S, S]."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    squares = images[:, :, top : top + side, left : left + side]
    turns = torch.stack([squares.rot90(count, (2, 3)) for count in range(ROTATIONS)])
    return turns[quarters, torch.arange(len(images), device=images.device)]


@torch.no_grad()
def classify(judge: Judge, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return features [N, 64] and predicted labels [N] of images [N, C, H, W] in [0, 1]."""
    judge.eval()
    _, channels, height, width = images.shape
    batches = images.split(batch_size((channels, height, width)))
    features = torch.cat([judge.features(batch) for batch in batches])
    return features, judge.logits(features).argmax(1)


def read_features(folder: Path, stage: str) -> dict[str, Tensor]:
    """Return the features [N, 64] of the validation and of the test images, which `stage` wrote into a judge's folder.

    Raises:
        AtlasError: if the file is missing or damaged.
    """
    path = require(folder / "features.safetensors", stage)
    try:
        features = load_file(path)
        return {name: features[name] for name in ("validation", "test")}
    except (SafetensorError, KeyError) as error:
        raise AtlasError(f"{path} is damaged ({error}); run `dvc repro --force {stage}`") from None
