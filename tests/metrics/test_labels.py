"""Label metrics of models, whose style and label are planted beforehand."""

import pytest
import torch
from tests.metrics.brightest_pixel import BrightestPixel
from torch import Tensor, nn

from atlas.core.model import Model
from atlas.metrics.labels import balanced_indices, label_leak, style_transfer, worst_class


def _normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


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
    accuracy, distance = style_transfer(Stylist(), BrightestPixel(), *_sources())
    assert accuracy.tolist() == pytest.approx([1.0] * 200) and distance.tolist() == [0.0] * 200


def test_a_transfer_that_ignores_some_labels_is_right_for_the_others() -> None:
    images, labels = _sources()
    accuracy, _ = style_transfer(Stylist(deaf=(3, 7)), BrightestPixel(), images, labels)
    for image, label in zip(accuracy.tolist(), labels.tolist(), strict=True):
        missed = len({3, 7} - {label})
        assert image == pytest.approx((9 - missed) / 9)
    assert accuracy.mean().item() == pytest.approx(1 - 2 * 9 / 90), "over all ordered pairs of labels"


def test_a_transfer_in_another_style_is_as_far_as_another_image() -> None:
    accuracy, distance = style_transfer(Stylist(forgetful=True), BrightestPixel(), *_sources(700))
    assert accuracy.mean() == 1 and distance.mean().item() == pytest.approx(1, abs=0.03)


def test_one_image_has_no_other_to_compare_with() -> None:
    with pytest.raises(ValueError, match="at least 2 images; found 1"):
        style_transfer(Stylist(), BrightestPixel(), *(part[:1] for part in _sources()))


def test_the_worst_class_is_the_one_least_often_right() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 4, 4, 4])
    correct = torch.tensor([1, 1, 1, 1, 1, 0, 1, 1, 0]).bool()
    assert worst_class(correct, labels) == 0.5


def test_balanced_takes_as_many_of_each_class_and_the_first_of_them() -> None:
    labels = torch.tensor([2, 0, 0, 1, 2, 1, 0, 1, 2, 2])
    assert balanced_indices(labels, 6, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert len(balanced_indices(labels, 100, 3)) == 9, "as many as the rarest class has"
    assert len(balanced_indices(labels, 100, 4)) == 0


# --- leak -----------------------------------------------------------------------------------------------------------


def _leak(codes: Tensor, labels: Tensor) -> float:
    half = len(codes) // 2
    return label_leak(codes[:half], labels[:half], codes[half:], labels[half:]).double().mean().item()


def test_a_code_that_is_the_label_leaks_it_and_noise_does_not() -> None:
    labels = torch.randint(10, (1200,), generator=torch.Generator().manual_seed(0))
    noise = _normal(1200, 4)
    assert _leak(nn.functional.one_hot(labels, 10).float(), labels) == 1
    assert _leak(noise, labels) < 0.17, "the best of three is a little above chance"
    assert _leak(torch.cat([noise, 1e-4 * nn.functional.one_hot(labels, 10)], 1), labels) > 0.9, (
        "however small the dimension"
    )
    assert _leak(torch.zeros(1200, 3), labels) < 0.17, "an empty code says nothing"


def test_a_leak_that_no_linear_probe_sees_is_found() -> None:
    codes = _normal(1200, 2)
    assert _leak(codes, (codes[:, 0] * codes[:, 1] > 0).long()) > 0.9


def test_the_same_codes_leak_the_same() -> None:
    labels = torch.arange(300) % 10
    codes = _normal(300, 3) + labels[:, None] / 3
    assert _leak(codes, labels) == _leak(codes, labels)


@pytest.mark.parametrize(("train", "test", "labels"), [(9, 5, 2), (50, 0, 2), (50, 5, 1)])
def test_too_few_codes_for_a_probe_are_refused(train: int, test: int, labels: int) -> None:
    with pytest.raises(ValueError, match=f"found {train} of {labels} and {test}"):
        label_leak(_normal(train, 2), torch.arange(train) % labels, _normal(test, 2), torch.arange(test))
