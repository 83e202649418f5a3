"""The folded convolutions against the plain ones that they stand for."""

import pytest
import torch
from torch import nn

from atlas.nn.fast_conv import HalvingConv2d, UpsampledConv2d


def assert_same(folded: nn.Module, plain: nn.Module, twin: nn.Conv2d, shape: tuple[int, ...]) -> None:
    """Outputs and every gradient agree in float64, with the same weights."""
    folded, plain = folded.double(), plain.double()
    twin.load_state_dict(folded.state_dict())
    seen: list[list[torch.Tensor]] = []
    for module in (folded, plain):
        pictures = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        pictures.requires_grad_()
        output = module(pictures)
        wanted = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        seen.append([output, *torch.autograd.grad((output * wanted).sum(), [pictures, *module.parameters()])])
    for one, other in zip(*seen, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("bias", [True, False])
def test_upsampled(size: int, bias: bool) -> None:
    twin = nn.Conv2d(3, 5, size, padding=size // 2, bias=bias)
    plain = nn.Sequential(nn.Upsample(scale_factor=2), twin)
    assert_same(UpsampledConv2d(3, 5, size, bias), plain, twin, (2, 3, 6, 7))


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_halving(size: int) -> None:
    twin = nn.Conv2d(3, 5, size, stride=2, padding=size // 2)
    assert_same(HalvingConv2d(3, 5, size), twin, twin, (2, 3, 8, 12))


@pytest.mark.parametrize("layer", [UpsampledConv2d, HalvingConv2d])
def test_even_kernels_are_refused(layer: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="odd numbers"):
        layer(3, 5, 4)
