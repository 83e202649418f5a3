"""Style: classes that can be told apart, and the units of terms."""

from itertools import combinations

import numpy as np
from matplotlib.colors import to_rgb

from atlas.plotting.style import COLORS, MARKERS, term_unit

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# table 1, severity 1: what linear RGB becomes to a protanope, a deuteranope and a tritanope.
BLINDNESS = [
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
]


def lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB [3] in daylight."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear.clip(0, 1)
    scaled = xyz / [0.9505, 1.0, 1.089]
    f = np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_ten_classes_can_be_told_apart_by_color_blind_readers() -> None:
    assert len(COLORS) == len(set(MARKERS)) == 10
    colors = np.array([to_rgb(color) for color in COLORS])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    for seen in (np.eye(3), *np.array(BLINDNESS)):
        shown = [lab(seen @ color) for color in linear]
        for one, other in combinations(range(10), 2):
            # Two is a difference just noticed side by side.
            assert np.linalg.norm(shown[one] - shown[other]) > 15, (one, other)


def test_a_share_is_not_said_to_be_nats() -> None:
    shares = ("real_probability", "fake_probability", "discriminator_paused", "discriminator_won", "class_accuracy")
    assert not [term for term in shares if "nats" in term_unit(term)]
    assert {term_unit(term) for term in ("nelbo", "class_cross_entropy", "feature_loss")} == {"nats per image"}
