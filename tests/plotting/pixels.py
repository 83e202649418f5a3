"""Images of noise, and where a written PNG holds them."""

from pathlib import Path

import numpy as np
from PIL import Image

DIGITS = [str(digit) for digit in range(10)]
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert set(image.info) <= {"lettering"}, "no other metadata"
        return np.asarray(image.convert("RGB"))


def packed(pixels: np.ndarray) -> np.ndarray:
    """[H, W, 3] as one number a pixel."""
    return pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def find(page: np.ndarray, image: np.ndarray, scales: range = range(1, 9)) -> tuple[int, int, int]:
    """The only place (top, left) and the factor at which `page` holds `image` [C, H, W], enlarged exactly."""
    pixels, positions = packed(page), []
    for scale in scales:
        channels = [np.kron(channel, np.ones((scale, scale), np.uint8)) for channel in image]
        cell = packed(np.stack(channels if len(channels) == 3 else channels * 3, axis=-1))
        height, width = cell.shape
        places = np.argwhere(pixels[: max(0, len(pixels) - height), : max(0, pixels.shape[1] - width)] == cell[0, 0])
        for y, x in np.random.default_rng(0).integers(0, cell.shape, (12, 2)):
            places = places[pixels[places[:, 0] + y, places[:, 1] + x] == cell[y, x]]
        for top, left in places:
            if (pixels[top : top + height, left : left + width] == cell).all():
                positions.append((int(top), int(left), scale))
    assert len(positions) == 1, f"found {len(positions)} times"
    return positions[0]
