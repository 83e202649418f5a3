"""The judge: a small classifier of a data set's labels, whose features the distances are computed in.

It is trained once per data set, on training images only, and is part of no model.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from atlas.core.latent import BATCH_SIZE

FEATURES = 64


class Judge(nn.Module):
    """Four convolutions with batch norm, mean over space, 64 features, dense."""

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
        self.output = nn.Linear(FEATURES, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] to features [N, 64], before their last non-linearity."""
        return self.hidden(self.layers(images * 2 - 1))

    def logits(self, features: Tensor) -> Tensor:
        """Features [N, 64] to logits [N, num_classes]."""
        return self.output(functional.relu(features))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] to logits [N, num_classes]."""
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


@torch.no_grad()
def classify(judge: Judge, images: Tensor, batch_size: int = BATCH_SIZE) -> tuple[Tensor, Tensor]:
    """Return features [N, 64] and predicted labels [N] of images [N, C, H, W] in [0, 1]."""
    judge.eval()
    features = torch.cat([judge.features(batch) for batch in images.split(batch_size)])
    return features, judge.logits(features).argmax(1)
