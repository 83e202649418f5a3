"""A judge that needs no training."""

from torch import Tensor, nn

from atlas.metrics.classifier import Judge


class BrightestPixel(Judge):
    """The label is the brightest of the first ten pixels, which are the features."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.output = nn.Linear(10, 10, bias=False)
        nn.init.eye_(self.output.weight)

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10]
