"""Measures of labels and of what a code's dimensions mean, with what is to be found planted beforehand."""

import math

import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor, nn

from atlas.metrics.classifier import Judge
from atlas.metrics.labels import balanced, leak, transfers, worst_class
from atlas.metrics.disentanglement import BINS, factors, information, mutual_information_gap
from atlas.core.model import Model


def _normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


# --- labels ---------------------------------------------------------------------------------------------------------


class Reader(Judge):
    """A judge that needs no training: the label is the brightest of the first ten pixels."""

    num_features = 10

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.output = nn.Linear(10, 10, bias=False)
        nn.init.eye_(self.output.weight)

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10]


class Stylist(Model):
    """The first row of an image is its label, the second its style, and the code is the style.

    Deaf to the labels in `deaf`, it paints 0 for them; forgetful, it paints another style.
    """

    conditional = True

    def __init__(self, deaf: tuple[int, ...] = (), forgetful: bool = False) -> None:
        super().__init__((1, 2, 10), 10, 10)
        self.deaf = deaf
        self.forgetful = forgetful

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return images[:, 0, 1]

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        painted = torch.tensor([0 if label in self.deaf else label for label in labels.tolist()])
        styles = _normal(*codes.shape, seed=int(labels[0])) if self.forgetful else codes
        return torch.stack([torch.nn.functional.one_hot(painted, 10).float(), styles], 1)[:, None]


def _sources(count: int = 200) -> tuple[Tensor, Tensor]:
    labels = torch.arange(count) % 10
    return Stylist().decode(_normal(count, 10, seed=99), labels), labels


def test_a_perfect_transfer_shows_the_new_label_and_keeps_the_style() -> None:
    done = transfers(Stylist(), Reader(), *_sources())
    assert done.swapped.tolist() == pytest.approx([1.0] * 200) and done.moved.tolist() == [0.0] * 200


def test_a_transfer_that_ignores_some_labels_is_right_for_the_others() -> None:
    images, labels = _sources()
    done = transfers(Stylist(deaf=(3, 7)), Reader(), images, labels)
    for image, label in zip(done.swapped.tolist(), labels.tolist(), strict=True):
        missed = len({3, 7} - {label})
        assert image == pytest.approx((9 - missed) / 9)
    assert done.swapped.mean().item() == pytest.approx(1 - 2 * 9 / 90), "over all ordered pairs of labels"


def test_a_transfer_in_another_style_is_as_far_as_another_image() -> None:
    done = transfers(Stylist(forgetful=True), Reader(), *_sources(700))
    assert done.swapped.mean() == 1 and done.moved.mean().item() == pytest.approx(1, abs=0.03)


def test_one_image_has_no_other_to_compare_with() -> None:
    with pytest.raises(ValueError, match="at least 2 images; found 1"):
        transfers(Stylist(), Reader(), *(part[:1] for part in _sources()))


def test_the_worst_class_is_the_one_least_often_right() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 4, 4, 4])
    right = torch.tensor([1, 1, 1, 1, 1, 0, 1, 1, 0]).bool()
    assert worst_class(right, labels) == 0.5


def test_balanced_takes_as_many_of_each_class_and_the_first_of_them() -> None:
    labels = torch.tensor([2, 0, 0, 1, 2, 1, 0, 1, 2, 2])
    assert balanced(labels, 6, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert len(balanced(labels, 100, 3)) == 9, "as many as the rarest class has"
    assert len(balanced(labels, 100, 4)) == 0


# --- leak -----------------------------------------------------------------------------------------------------------


def _read(codes: Tensor, labels: Tensor) -> float:
    half = len(codes) // 2
    return leak(codes[:half], labels[:half], codes[half:], labels[half:]).double().mean().item()


def test_a_code_that_is_the_label_leaks_it_and_noise_does_not() -> None:
    labels = torch.randint(10, (1200,), generator=torch.Generator().manual_seed(0))
    noise = _normal(1200, 4)
    assert _read(nn.functional.one_hot(labels, 10).float(), labels) == 1
    assert _read(noise, labels) < 0.17, "the best of three is a little above chance"
    assert _read(torch.cat([noise, 1e-4 * nn.functional.one_hot(labels, 10)], 1), labels) > 0.9, (
        "however small the dimension"
    )
    assert _read(torch.zeros(1200, 3), labels) < 0.17, "an empty code says nothing"


def test_a_leak_that_no_linear_probe_reads_is_found() -> None:
    codes = _normal(1200, 2)
    assert _read(codes, (codes[:, 0] * codes[:, 1] > 0).long()) > 0.9


def test_the_same_codes_leak_the_same() -> None:
    labels = torch.arange(300) % 10
    codes = _normal(300, 3) + labels[:, None] / 3
    assert _read(codes, labels) == _read(codes, labels)


@pytest.mark.parametrize(("train", "test", "labels"), [(9, 5, 2), (50, 0, 2), (50, 5, 1)])
def test_too_few_codes_for_a_probe_are_refused(train: int, test: int, labels: int) -> None:
    with pytest.raises(ValueError, match=f"found {train} of {labels} and {test}"):
        leak(_normal(train, 2), torch.arange(train) % labels, _normal(test, 2), torch.arange(test))


# --- factors --------------------------------------------------------------------------------------------------------


def _bar(width: float, height: float, slant: float = 0.0, side: int = 40, finer: int = 8) -> Tensor:
    """An image of one upright or slanted bar, drawn finer and averaged: [1, 1, side, side]."""
    places = (torch.arange(side * finer) + 0.5) / finer - side / 2
    down, right = places[:, None], places[None, :]
    ink = ((down.abs() < height / 2) & ((right - slant * down).abs() < width / 2)).float()
    return nn.functional.avg_pool2d(ink[None, None], finer)


@pytest.mark.parametrize(("width", "height"), [(2.0, 20.0), (3.5, 24.0), (5.0, 30.0)])
@pytest.mark.parametrize("slant", [-0.5, 0.0, 0.3])
def test_the_factors_of_a_bar_are_its_sides_and_slant(width: float, height: float, slant: float) -> None:
    found = factors(_bar(width, height, slant))[0].tolist()
    # The bar's thickness across its own direction; its two short ends, and stairs on a slope, add to the outline.
    thick = width / math.hypot(1, slant) * height / (height + width)
    assert found[0] == pytest.approx(slant, abs=0.02)
    assert found[1] == pytest.approx(thick, rel=0.15)
    assert found[2] == pytest.approx(height, rel=0.01)
    # Of a bar whose sides lie on the edges of pixels, w^2 - 1; in the middle of pixels, w^2 + 2.
    assert width**2 - 1.1 < found[3] ** 2 < width**2 + 2.1


def test_factors_do_not_see_place_or_brightness() -> None:
    bar = _bar(3, 16, 0.2)
    moved = 0.5 * bar.roll((3, -5), (2, 3))
    torch.testing.assert_close(factors(bar), factors(moved))


def test_an_empty_image_has_factors_that_are_numbers_and_colours_have_none() -> None:
    assert factors(torch.zeros(2, 1, 9, 9)).isfinite().all()
    with pytest.raises(ValueError, match="one channel"):
        factors(torch.zeros(2, 3, 9, 9))


# --- the mutual information gap -------------------------------------------------------------------------------------


def test_information_is_what_scikit_learn_says_of_the_same_bins() -> None:
    found = _normal(400, 2)
    codes = torch.stack([found[:, 0] + 0.3 * _normal(400, seed=1), found.sum(1), _normal(400, seed=2)], 1)
    shared, entropies = information(codes, found, bins=5)

    def bins(values: Tensor) -> list[int]:
        order = values.argsort().argsort()
        return (order // 80).tolist()

    for i in range(3):
        for j in range(2):
            assert shared[i, j].item() == pytest.approx(mutual_info_score(bins(codes[:, i]), bins(found[:, j])))
    assert entropies.tolist() == pytest.approx([math.log(5)] * 2)


def _gap(codes: Tensor, found: Tensor) -> float:
    return mutual_information_gap(codes, found, resampled=2)[0]


def test_a_dimension_for_each_factor_has_a_gap_of_one_and_a_mixture_of_zero() -> None:
    found = _normal(4000, 3)
    other = _normal(4000, 2, seed=1)
    one_each = torch.cat([found.exp(), other], 1)
    assert _gap(one_each, found) == pytest.approx(1, abs=0.05)
    twice = torch.cat([found, -found], 1)
    assert _gap(twice, found) == pytest.approx(0, abs=1e-9)
    assert _gap(_normal(4000, 5, seed=2), found) == pytest.approx(0, abs=0.02)
    turned = (found[:, :2] @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]])) / math.sqrt(2)
    assert _gap(turned, found[:, :2]) < 0.1, "turned by 45 degrees, both know as much"


def test_a_dimension_that_the_noise_drowns_knows_nothing() -> None:
    found = _normal(1000, 1)
    codes = torch.cat([found, 0.05 * found, torch.zeros(1000, 1)], 1)
    assert _gap(codes, found) == pytest.approx(1)
    assert _gap(torch.zeros(1000, 2), found) == 0
    assert _gap(codes, torch.ones(1000, 1)) == 0


def test_the_interval_of_the_gap_is_as_wide_as_the_gaps_of_other_images() -> None:
    gaps, widths = [], []
    for seed in range(12):
        found = _normal(500, 1, seed=seed)
        codes = torch.cat([found + 0.5 * _normal(500, 1, seed=99 + seed), _normal(500, 1, seed=200 + seed)], 1)
        gap, low, high = mutual_information_gap(codes, found, resampled=40)
        gaps.append(gap)
        widths.append(high - low)
    assert 0.4 < torch.tensor(widths).mean() / (4 * torch.tensor(gaps).std()) < 2


def test_what_has_no_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 dimensions; found 1"):
        mutual_information_gap(_normal(100, 1), _normal(100, 1))
    with pytest.raises(ValueError, match=f"at least {2 * BINS} codes, as many factors; found 39"):
        mutual_information_gap(_normal(39, 2), _normal(39, 1))
