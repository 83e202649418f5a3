"""The fast convolutions against the plain ones that they replace."""

import pytest
import torch
from torch import nn

from atlas.nn.fast_conv import StridedConv2d, UpsampledConv2d


def assert_equal(fast: nn.Module, plain: nn.Module, twin: nn.Conv2d, shape: tuple[int, ...]) -> None:
    """Outputs and every gradient agree in float64, with the same weights."""
    fast, plain = fast.double(), plain.double()
    twin.load_state_dict(fast.state_dict())
    results: list[list[torch.Tensor]] = []
    for module in (fast, plain):
        pictures = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        pictures.requires_grad_()
        output = module(pictures)
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        results.append([output, *torch.autograd.grad((output * weights).sum(), [pictures, *module.parameters()])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("bias", [True, False])
def test_upsampled(size: int, bias: bool) -> None:
    twin = nn.Conv2d(3, 5, size, padding=size // 2, bias=bias)
    plain = nn.Sequential(nn.Upsample(scale_factor=2), twin)
    assert_equal(UpsampledConv2d(3, 5, size, bias), plain, twin, (2, 3, 6, 7))


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_strided(size: int) -> None:
    twin = nn.Conv2d(3, 5, size, stride=2, padding=size // 2)
    assert_equal(StridedConv2d(3, 5, size), twin, twin, (2, 3, 8, 12))


@pytest.mark.parametrize("layer", [UpsampledConv2d, StridedConv2d])
def test_even_kernels_are_refused(layer: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="odd numbers"):
        layer(3, 5, 4)
