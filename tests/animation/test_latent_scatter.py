"""Latent scatter as an animation: codes in their places and colors, names where there is room."""

from dataclasses import replace

import numpy as np
from PIL import ImageColor
from tests.animation.digit_frames import CLASSES, LOSSES, digit_frames

from atlas.animation.latent_scatter import EDGE, SIDE, LatentScatter
from atlas.plotting.frames import Frames
from atlas.plotting.style import COLORS


def scatter(frames: Frames) -> LatentScatter:
    return LatentScatter(frames, CLASSES, "digits_vae_2", LOSSES)


def test_codes_lie_where_they_are_in_their_classes_colors() -> None:
    frames = digit_frames()
    labels, animation = frames.code_labels, scatter(frames)
    assert animation[0].shape == animation[4].shape
    named = animation.content(4)
    animation._named = False
    assert (named != animation.content(4)).any()
    for frame in (0, 2, 4):
        square = animation.content(frame)[:SIDE, EDGE : EDGE + SIDE].astype(int)
        positions = animation._positions(frame)
        for index, (x, y) in enumerate(positions.round().astype(int)):
            if np.sort(np.abs(positions - positions[index]).max(axis=1))[1] > 12:
                color = np.array(ImageColor.getrgb(COLORS[labels[index]]))
                assert np.abs(square[y, x] - (0.6 * color + 0.4 * 255)).max() <= 2
    # The axes are the last frame's, whatever the first: what moves are the codes.
    first, last = animation._positions(0), animation._positions(4)
    middles = [[positions[labels == label, 0].mean() for label in range(3)] for positions in (first, last)]
    assert np.ptp(middles[0]) < 0.15 * np.ptp(middles[1])
    assert middles[1][0] < middles[1][1] < middles[1][2], "the first dimension rises rightwards"
    assert np.corrcoef(last[:, 1], frames.codes[-1, :, 1].astype(float))[0, 1] < -0.99, "the second upwards"


def test_codes_far_out_lie_on_the_border_and_names_only_where_they_have_room() -> None:
    frames = digit_frames(frames=3)
    frames.codes[0] = 1000
    animation = scatter(frames)
    assert (animation._positions(0) == animation._positions(0)[0]).all()
    animation.content(0)
    assert animation._named
    # Every class in the same places.
    assert not scatter(replace(frames, codes=frames.codes[:, ::3].repeat(3, axis=1)))._named
