"""Sizes of images: which ones the convolutional networks can halve, and how often."""

import math
from typing import Any

from atlas.core.files import AtlasError


def halvings(height: int, width: int) -> int:
    """How often the convolutional networks halve an image: twice, and more until its smaller side is 8 or less."""
    return max(2, math.ceil(math.log2(min(height, width) / 8)))


def fits(height: int, width: int) -> bool:
    """Can the convolutional networks halve an image as often as they have to?"""
    step = 2 ** halvings(height, width)
    return height % step == 0 and width % step == 0


def check_size(path: str, size: Any) -> tuple[int, int]:
    """Return height and width, from a side or [height, width].

    Raises:
        AtlasError: if it is none, or the networks cannot halve it, naming the nearest that they can.
    """
    square = isinstance(size, int)
    pair = [size, size] if square else size
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(side) is int for side in pair):
        raise AtlasError(f"{path}: found {size!r:.60}; allowed: a side from 16 to 128, or [height, width]")
    height, width = pair
    sides = [side for side in range(16, 129) if fits(side, side)]
    allowed = [(side, side) for side in sides] if square else [(h, w) for h in sides for w in sides if fits(h, w)]
    if (height, width) not in allowed:
        near = sorted(allowed, key=lambda shape: abs(shape[0] - height) + abs(shape[1] - width))[:2]
        names = " or ".join(str(side) if square else f"[{side}, {other}]" for side, other in near)
        raise AtlasError(
            f"{path}: found {size}; allowed: sides from 16 to 128 that the networks can halve, such as {names}"
        )
    return height, width
