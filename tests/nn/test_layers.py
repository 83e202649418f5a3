"""Dropout: the law of its masks, what it scales, and the layout that it keeps."""

import pytest
import torch
from tests.conftest import Build
from torch import nn

from atlas.nn.layers import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_is_a_fair_coin_for_every_feature(rate: float, layout: torch.memory_format) -> None:
    torch.manual_seed(1)
    features = torch.rand(400, 5, 7, 6).add(1).to(memory_format=layout).requires_grad_()
    dropped = Dropout(rate)(features)
    zero = (dropped == 0).double()
    # The rate in 256ths; four standard errors, of all coins, and of each place's over the images (the worst of 210).
    rounded = round(rate * 256) / 256
    sigma = (rounded * (1 - rounded)) ** 0.5
    assert abs(zero.mean() - rounded) < 4 * sigma / zero.numel() ** 0.5
    assert (zero.mean(0) - rounded).abs().max() < 4.5 * sigma / len(features) ** 0.5
    # Neighbors are independent, by place and by byte of the same word.
    flat = zero.permute(0, 2, 3, 1).flatten(1) - rounded
    for gap in (1, 2, 7, 8):
        assert abs((flat[:, gap:] * flat[:, :-gap]).mean()) < 4 * sigma**2 / (flat.numel() ** 0.5)
    # What stays is scaled so that the mean stays, and so is its gradient.
    mask = dropped.detach() != 0
    torch.testing.assert_close(dropped[mask], features[mask] / (1 - rounded), rtol=1e-5, atol=0)
    dropped.sum().backward()
    torch.testing.assert_close(features.grad, mask / (1 - rounded), rtol=1e-5, atol=0)
    assert dropped.is_contiguous(memory_format=layout)


def test_dropout_of_vectors_and_views() -> None:
    torch.manual_seed(2)
    wide = torch.ones(300, 40)
    for features in (wide, wide[:, ::2], wide.t(), wide.bfloat16(), torch.ones(1, 1).expand(50, 30)):
        dropped = Dropout(0.25)(features)
        assert dropped.shape == features.shape and dropped.dtype == features.dtype
        assert abs((dropped == 0).float().mean() - 0.25) < 0.05
    assert Dropout(0.25).eval()(wide) is wide and Dropout(0.0)(wide) is wide


def test_no_model_drops_by_other_means(make: Build, variant: str) -> None:
    assert not any(isinstance(module, nn.Dropout) for module in make(variant, dropout=0.3).modules())
