"""Animations of a training: the frames that the trainer kept, as MP4 and as GIF for pages without a player."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from atlas.animation.latent_scatter import LatentScatter
from atlas.animation.layout import Animation
from atlas.animation.video import write_gif, write_mp4
from atlas.plotting.canvas import (
    Array,
    Caption,
    GridLayout,
    best_scale,
    display_names,
    draw,
    grid,
    thinned,
    write_captions,
)
from atlas.plotting.charts import Curves
from atlas.plotting.frames import Frames

CAPTION_SIZE = 18  # of the labels' names
MIN_CELLS = 2  # of large images, to a side of a block
BLOCK_CELLS = 9  # cells to a side of each label's block in the animation of all labels
GIF_BLOCK_CELLS = 4  # the same in its GIF, of which hardly a frame would be left otherwise


def animate(
    frames: Frames,
    folder: Path,
    run: str,
    classes: Sequence[str],
    losses: Curves,
    fps: int = 10,
    progress: Callable[[str], object] | None = None,
    shown: Sequence[int] | None = None,
) -> list[Caption]:
    """Write the animations of a training, each as MP4 and GIF, and captions.json; call `progress` with each one's name.

    all.mp4 shows every label of the snapshots in a block, beside the losses; its caption tells in "blocks" where each
    label's block lies: [left, top, width, height] in pixels. For a conditional model label_0.mp4, label_1.mp4, ... show
    one each. For one that encodes, scatter.mp4 shows the codes of validation images, `shown` labels (all) in color.

    Raises:
        AtlasError: if an animation cannot be encoded.
    """
    conditional = frames.labels != [""]
    count = len(classes)
    all_labels = ImageAnimation(frames, run, None, losses=losses, count=count)
    small = ImageAnimation(frames, run, None, GIF_BLOCK_CELLS, 600, losses, count) if conditional else all_labels
    animations: dict[str, tuple[Animation, Animation]] = {"all": (all_labels, small)}
    for place, name in enumerate(frames.labels) if conditional else ():
        animations[f"label_{classes.index(name)}"] = (ImageAnimation(frames, run, place),) * 2
    if frames.codes.shape[1]:
        animations["scatter"] = (LatentScatter(frames, classes, run, losses, shown),) * 2
    captions = []
    for name, (animation, gif) in animations.items():
        write_mp4(folder / f"{name}.mp4", animation, fps)
        write_gif(folder / f"{name}.gif", gif, fps)
        caption: Caption = {
            "file": f"{name}.mp4",
            "gif": f"{name}.gif",
            "title": animation.caption,
            "alt": animation.alt,
        }
        if name == "all" and conditional:
            caption["blocks"] = all_labels.blocks
        captions.append(caption)
        if progress:
            progress(name)
    write_captions(folder, captions)
    return captions


class ImageAnimation(Animation):
    """What the model draws of the same codes, frame by frame; `label` None shows all labels.

    The animation of all labels is about `width` pixels wide and shows at most `max_cells` cells to a side of each, of
    large images fewer. `count` is how many labels there are in all.
    """

    def __init__(
        self,
        frames: Frames,
        run: str,
        label: int | None,
        max_cells: int = BLOCK_CELLS,
        width: int = 1000,
        losses: Curves | None = None,
        count: int = 0,
    ) -> None:
        self.in_color = frames.images.shape[4] == 3
        self._labels = range(len(frames.labels)) if label is None else [label]
        names = [display_names(frames.labels)[label] for label in self._labels]
        one = len(names) == 1
        columns, side, target = min(5, len(names)), max(frames.images.shape[-2:]), 430 if one else width
        most = max(MIN_CELLS, int(1.3 * target / (columns * side)))
        cells = thinned(frames.images.shape[2], min(most, frames.images.shape[2] if one else max_cells))
        self._images = frames.images[:, :, cells][:, :, :, cells]
        # Even gaps at even factors keep each cell on the squares of 2 x 2 pixels that share a color in H.264.
        self._scale = best_scale(columns * len(cells) * side, target)
        height, width = self._block(0, self._labels[0]).shape[:2]
        self._layout = GridLayout(len(names), columns, height, width, 0 if one else round(CAPTION_SIZE * 1.4), 12)
        self._captions = [] if one else self._layout.captions(names, CAPTION_SIZE)
        which = ", every label" if len(names) >= count else f", {len(names)} of {count} labels"
        if label is not None or not names[0]:
            which = f", label {names[0]}" if names[0] else ""
        codes = "map of the latent space" if frames.kind == "map" else "samples of the same codes, drawn from N(0, I)"
        super().__init__(run + which, f"{codes}{which}", frames.steps, self._layout.size, losses)

    @property
    def blocks(self) -> list[list[int]]:
        """Where the block of each label lies in a frame: [left, top, width, height] in pixels."""
        top, left = self.corner
        corners = [self._layout.corner(index) for index in range(len(self._labels))]
        return [[left + x, top + y, self._layout.width, self._layout.height] for y, x in corners]

    def content(self, frame: int) -> Array:
        page = Image.fromarray(self._layout.paint(self._block(frame, label) for label in self._labels))
        for caption in self._captions:
            draw(page, caption)
        return np.asarray(page)

    def _block(self, frame: int, label: int) -> Array:
        return grid(self._images[frame, label], self._scale, self._scale)
