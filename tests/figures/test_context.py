"""Context of a run's figures: the order of the code's dimensions, the images chosen, the codes searched for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.figures.linear import Linear, WithoutPrior, run_figures

from atlas.core.datasets import Split, to_unit
from atlas.core.model import Model
from atlas.figures import context

Noise = Callable[..., Split]


def test_dimensions_are_ordered_by_rate_and_else_by_variance(noise: Noise, tmp_path: Path) -> None:
    test = noise(200, (1, 4, 4))
    state = torch.random.get_rng_state()
    figures = run_figures(Linear(), test, tmp_path)
    assert figures.order == [2, 0, 3, 1] and figures.axes == [0, 2] and figures.axis_names == ("z₁", "z₃")
    torch.testing.assert_close(figures.rates, torch.tensor([2, 0.5, 3, 1]).double(), atol=0.05, rtol=0)
    assert torch.equal(torch.random.get_rng_state(), state), "draws of its own"
    assert torch.equal(context.mean_rates(Linear(), test), context.mean_rates(Linear(), test))
    test.images[:, 0, 0] //= torch.tensor([9, 1, 3, 1], dtype=torch.uint8)
    figures = run_figures(WithoutPrior(), test, tmp_path)
    variances = to_unit(test.images).flatten(1)[:, :4].numpy().var(0)
    assert figures.order == np.argsort(-variances).tolist() and figures.axes == [1, 3]


def test_codes_are_searched_for_once(
    make: Callable[..., Model], noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[int] = []

    def search(model: Model, images: torch.Tensor, labels: torch.Tensor, settings: object) -> torch.Tensor:
        searches.append(len(images))
        return labels[:, None].float().expand(-1, model.latent_dim).clone()

    monkeypatch.setattr(context, "invert", search)
    figures = run_figures(make("cgan"), noise(40), tmp_path, reconstructions=12, transfers=3)
    index = figures.balanced(12)
    assert figures.codes_of(index)[:, 0].tolist() == figures.test.labels[index].tolist()
    assert figures.codes_of(figures.style_sources)[:, 0].tolist() == [7, 7, 7]
    assert searches == [14], "twelve, and two sevens more"
