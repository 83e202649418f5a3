"""Frames of digits that brighten, and codes of three classes that part company."""

import numpy as np
from sklearn.datasets import load_digits

from atlas.plotting.charts import Curves
from atlas.plotting.frames import Frames

CLASSES = ["nought", "one", "two"]
LOSSES: Curves = {
    "distortion": {"train": [(60, 90.0), (120, 80.0)], "validation": [(60, 85.0), (120, 82.0)]},
    "rate": {"train": [(60, 3.0), (120, 4.0)], "validation": [(60, 3.5), (120, 4.5)]},
}


def digit_frames(frames: int = 5, labels: int = 3, channels: int = 1, distance: float = 3.0) -> Frames:
    """A frame every 30 steps, 3 x 3 cells a label; RGB images are tinted.

    The codes of class k end around (`distance` * (k - 1), 0).
    """
    digits = load_digits()
    cells = np.stack([digits.images[digits.target == label][:9] for label in range(labels)])
    cells = cells.reshape(labels, 3, 3, 1, 8, 8) * 15.9
    tint = np.array([1.0, 0.6, 0.3])[:channels].reshape(-1, 1, 1)
    images = np.stack([cells * (frame + 1) / frames for frame in range(frames)]) * tint
    names = [str(label) for label in range(labels)] if labels > 1 else [""]
    code_labels = np.arange(60, dtype=np.uint8) % 3
    start = np.random.default_rng(0).normal(size=(60, 2)) * 0.3
    end = start + np.stack([distance * (code_labels.astype(float) - 1), np.zeros(60)], axis=1)
    time = np.linspace(0, 1, frames)[:, None, None]
    codes = (start * (1 - time) + end * time).astype(np.float16)
    steps = np.arange(frames) * 30
    return Frames(steps, images.astype(np.uint8), names, "map", steps[-1:], codes, code_labels)
