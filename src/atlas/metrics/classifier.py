"""The judge: a small classifier that reads labels from pictures and lends its features to the distances.

It is trained once per data set, on training images only, and is part of no model.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 64


class Judge(nn.Module):
    """Four convolutions with batch norm, mean over space, 64 features, dense."""

    num_features = FEATURES

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = shape[0]
        for wider, pooled in ((1, False), (2, True), (4, True), (4, True)):
            layers += [nn.Conv2d(channels, wider * width, 3, padding=1, bias=False)]
            layers += [nn.MaxPool2d(2)] if pooled else []
            layers += [nn.BatchNorm2d(wider * width), nn.ReLU()]
            channels = wider * width
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.hidden = nn.Linear(4 * channels, FEATURES)
        self.output = nn.Linear(FEATURES, classes)

    def features(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] to features [N, 64], before their last non-linearity."""
        return self.hidden(self.layers(images * 2 - 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] to logits [N, classes]."""
        return self.output(functional.relu(self.features(images)))


def augment(images: Tensor, mirror: bool, generator: torch.Generator) -> Tensor:
    """Shift each batch by up to 2 pixels and, where left and right mean nothing, mirror half of its images."""
    down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
    padded = functional.pad(images, (2, 2, 2, 2))
    height, width = images.shape[2:]
    images = padded[:, :, 2 + down : 2 + down + height, 2 + right : 2 + right + width]
    if mirror:
        flipped = torch.rand(len(images), generator=generator).to(images.device) < 0.5
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    return images


@torch.no_grad()
def read(judge: Judge, images: Tensor, batch_size: int = 1000) -> tuple[Tensor, Tensor]:
    """Return features [N, 64] and the labels read [N] from images [N, C, H, W] in [0, 1]."""
    judge.eval()
    features = torch.cat([judge.features(batch) for batch in images.split(batch_size)])
    return features, judge.output(functional.relu(features)).argmax(1)
