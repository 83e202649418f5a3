"""Layout of an animation's frames: what stays, what changes, where the losses stand."""

import numpy as np
import pytest
from tests.animation.digit_frames import LOSSES, digit_frames

from atlas.animation.animate import ImageAnimation


def test_only_images_step_and_bar_change() -> None:
    animation = ImageAnimation(digit_frames(), "digits_cvae_2", 1)
    first, last = animation[0], animation[4]
    title = slice(0, int(animation._text_size * 1.5))
    assert (first[title] == last[title]).all() and (first[title] < 100).any()
    step = slice(int(animation._text_size * 2), int(animation._text_size * 3))
    assert (first[step] != last[step]).any()
    bar = animation.corner[0] - 6
    done = [int((animation[frame][bar] < 100).all(axis=-1).sum()) for frame in range(5)]
    assert done == [round(animation._area[1] * frame / 4) for frame in range(5)]


@pytest.mark.parametrize("label", [None, 1])
def test_the_losses_stand_beside_the_content(label: int | None) -> None:
    frames = digit_frames()
    animation = ImageAnimation(frames, "digits_cvae_2", label, losses=LOSSES)
    bare = ImageAnimation(frames, "digits_cvae_2", label)
    assert animation.losses
    pages = [animation[frame] for frame in range(5)]
    assert len({page.shape for page in pages}) == 1 and pages[0].shape[0] % 16 == pages[0].shape[1] % 16 == 0
    y, x = np.add(animation.corner, animation._losses_corner)
    for frame, page in enumerate(pages):
        panel = animation.losses.at(30 * frame)
        assert (page[y:, x:][: panel.shape[0], : panel.shape[1]] == panel).all()
        assert (animation.content(frame) == bare.content(frame)).all()
