"""Figures of the latent space: where maps, traversals and interpolations go through it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.figures.linear import Linear, WithoutEncoder, WithoutPrior, run_figures

from atlas.core.datasets import Split, to_unit
from atlas.core.latent import pca
from atlas.figures import latent_space
from atlas.figures.context import RunFigures, dimension_name
from atlas.plotting import sheets

Noise = Callable[..., Split]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple]:
    """Images and sides of every map that is drawn, by file, in place of the picture."""
    maps: dict[str, tuple] = {}
    monkeypatch.setattr(sheets, "latent_map", lambda path, *rest: maps.__setitem__(path.name, rest[:3]))
    return maps


def assert_decoded(image: np.ndarray, code: torch.Tensor) -> None:
    """`image` [1, 4, 4] is that of a code [4] of `Linear`: its first pixels."""
    np.testing.assert_allclose(image.reshape(-1)[:4], (255 * code.clamp(0, 1)).round().numpy(), atol=1)


def test_the_maps_of_a_large_code_lie_around_that_of_a_test_image(
    drawn: dict[str, tuple], noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = run_figures(Linear(), noise(200, (1, 4, 4)), tmp_path, map_steps=3)
    latent_space.pca_map(figures)
    assert not drawn, "two dimensions of four say enough"
    monkeypatch.setattr(latent_space, "MANY_DIMENSIONS", 4)
    latent_space.pca_map(figures)
    maps, first, second = drawn["plane.png"]
    assert figures.codes is not None
    mean, components, _ = pca(figures.codes, 2)
    # Off the plane it is the image's code; in the plane it runs over the codes, as seen from their mean.
    code = figures.codes[figures.style_sources[0]]
    projections = torch.from_numpy(np.array([first[2], second[0]]))
    own = torch.linalg.lstsq(components, code - mean).solution
    assert_decoded(maps[0, 2], code + components @ (projections - own))
    latent_space.latent_maps(figures)
    maps, first, second = drawn["map.png"]
    expected = code.clone()
    expected[figures.axes] = torch.from_numpy(np.array([first[2], second[0]]))
    assert_decoded(maps[0, 2], expected)


def test_without_an_encoder_the_map_is_the_plane_through_three_draws(
    drawn: dict[str, tuple], noise: Noise, tmp_path: Path
) -> None:
    figures = run_figures(WithoutEncoder(), noise(50, (1, 4, 4)), tmp_path, map_steps=3)
    latent_space.latent_maps(figures)
    maps, first, second = drawn["map.png"]
    assert first.tolist() == [0, 0.5, 1] and second.tolist() == [1, 0.5, 0]
    draws = figures.prior_codes(3)
    draws = draws * 2 / draws.norm(dim=1, keepdim=True)  # as long as nearly all codes of many dimensions: sqrt(4)
    for (row, column), draw in zip([(2, 0), (2, 2), (0, 0)], draws, strict=True):
        assert_decoded(maps[row, column], draw)


def test_a_traversal_moves_one_dimension_of_the_first_image(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, tuple] = {}
    monkeypatch.setattr(sheets, "image_rows", lambda path, *rest: calls.__setitem__("rows", rest))
    decoded: list[torch.Tensor] = []
    original = RunFigures.decode

    def decode(self: RunFigures, codes: torch.Tensor, labels: torch.Tensor | int) -> np.ndarray:
        decoded.append(codes)
        return original(self, codes, labels)

    monkeypatch.setattr(RunFigures, "decode", decode)
    test = noise(50, (1, 4, 4))
    own = to_unit(test.images).flatten(1)[:, :4]
    quantiles = np.quantile(own.numpy(), [0.05, 0.95], axis=0)
    for model, ends in ((Linear(), np.array([[-1.6449] * 4, [1.6449] * 4])), (WithoutPrior(), quantiles)):
        figures = run_figures(model, test, tmp_path, traversals=3)
        latent_space.traversals(figures)
        codes = decoded.pop()
        assert codes.shape == (3, 3, 4)
        for row, axis in enumerate(figures.order[:3]):
            others = [other for other in range(4) if other != axis]
            assert torch.equal(codes[row][:, others], own[:1, others].expand(3, 3))
            np.testing.assert_allclose(codes[row][[0, -1], axis], ends[:, axis], atol=1e-4)
    assert calls["rows"][1] == [dimension_name(axis) for axis in figures.order[:3]]


@pytest.mark.parametrize("same_label", [True, False])
def test_pairs_are_of_one_label_or_of_two(same_label: bool) -> None:
    labels = torch.arange(40) % 5
    first, last = latent_space.pairs(labels, 12, same_label)
    assert ((labels[first] == labels[last]) == same_label).all() and (first != last).all()
    assert len(set(zip(first.tolist(), last.tolist(), strict=True))) == 12, "no pair twice"
    assert labels[first][:5].tolist() == ([0, 1, 2, 3, 4] if same_label else [0, 2, 4, 1, 3])


def test_linear_and_spherical_interpolation_have_their_ends_and_even_steps() -> None:
    starts, ends = torch.randn(2, 6, 64, generator=torch.Generator().manual_seed(0))
    weights = torch.linspace(0, 1, 5)
    for interpolate in (latent_space.linear, latent_space.spherical):
        codes = interpolate(starts, ends, weights)
        torch.testing.assert_close(codes[:, 0], starts, atol=1e-5, rtol=0)
        torch.testing.assert_close(codes[:, -1], ends, atol=1e-5, rtol=0)
    steps = latent_space.linear(starts, ends, weights).diff(dim=1)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), atol=1e-5, rtol=0)
    starts, ends = (torch.nn.functional.normalize(side, dim=1) for side in (starts, ends))
    codes = latent_space.spherical(starts, ends, weights)
    torch.testing.assert_close(codes.norm(dim=2), torch.ones(6, 5), atol=1e-5, rtol=0)
    angles = (codes[:, 1:] * codes[:, :-1]).sum(2).clamp(-1, 1).acos()
    torch.testing.assert_close(angles, angles[:, :1].expand_as(angles), atol=1e-3, rtol=0)
