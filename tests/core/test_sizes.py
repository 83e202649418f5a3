"""Sides of images: as many halvings as bring the smaller one to 4 to 8 pixels."""

import pytest

from atlas.core.sizes import fits, halvings


@pytest.mark.parametrize(
    ("height", "width", "times", "can"),
    [
        (28, 28, 2, True),
        (32, 32, 2, True),
        (16, 16, 2, True),
        (16, 128, 2, True),
        (36, 36, 3, False),
        (48, 96, 3, True),
        (64, 64, 3, True),
        (64, 68, 3, False),
        (128, 128, 4, True),
        (72, 72, 4, False),
    ],
)
def test_halvings_and_what_can_be_halved(height: int, width: int, times: int, can: bool) -> None:
    assert halvings(height, width) == times and fits(height, width) == can
    assert 4 <= min(height, width) / 2**times <= 8
