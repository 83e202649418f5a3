"""Animations of the training: the frames that the trainer kept, as MP4 films and as GIFs for pages without a player."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from atlas.core.files import AtlasError
from atlas.core.files import require
from atlas.animation.latent_scatter import Drift
from atlas.animation.video import write_gif, write_mp4
from atlas.animation.layout import Film
from atlas.animation.loss_panel import Terms
from atlas.plotting.canvas import Array, Caption, Tiles, best_scale, draw, grid, thinned, write_captions

BLOCK_CELLS = 9  # cells a side of each block in the film of all labels
KEYS = ("steps", "images", "labels", "kind", "codes", "code_labels")
GIF_BLOCK_CELLS = 4  # the same in its GIF, of which hardly a frame would be left otherwise


@dataclass(frozen=True)
class Frames:
    """What frames.npz holds.

    `steps` int64 [F]; `images` uint8 [F, L, n, n, C, H, W], row 0 at the top; `labels`: L class names, or one empty
    name when the model is unconditional; `kind`: "map" (over the latent space) or "samples" (n * n fixed codes);
    `codes` float16 [F, N, 2], where the codes of N held-out images lie in one plane, and `code_labels` uint8 [N], their
    classes; N is 0 for a model that cannot encode.
    """

    steps: Array
    images: Array
    labels: list[str]
    kind: str
    codes: Array
    code_labels: Array


def load_frames(path: Path) -> Frames:
    """Read and check frames.npz.

    Raises:
        AtlasError: if the file is missing, unreadable or not what `Frames` describes.
    """
    require(path, "train")
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in KEYS}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise AtlasError(f"{path} holds no frames of a training ({error}); train the run again") from error
    steps, images, labels, kind, codes, code_labels = (arrays[name] for name in KEYS)
    shape = images.shape
    for wrong, what in (
        (
            images.dtype != np.uint8 or len(shape) != 7 or 0 in shape or shape[2] != shape[3] or shape[4] not in (1, 3),
            f"images are {images.dtype} {list(shape)}, not uint8 [frames, labels, n, n, 1 or 3, height, width]",
        ),
        (
            steps.dtype.kind != "i" or steps.shape != shape[:1] or bool((np.diff(steps) <= 0).any()),
            f"steps are {steps.dtype} {list(steps.shape)}, not one rising whole number a frame",
        ),
        (
            labels.dtype.kind != "U" or labels.shape != shape[1:2],
            f"labels are {labels.dtype} {list(labels.shape)}, not one name for each label of images {list(shape)}",
        ),
        (
            codes.dtype != np.float16 or codes.ndim != 3 or codes.shape[0] != shape[0] or codes.shape[2] != 2,
            f"codes are {codes.dtype} {list(codes.shape)}, not float16 [frames, images, 2]",
        ),
        (
            code_labels.dtype != np.uint8 or code_labels.shape != codes.shape[1:2],
            f"code_labels are {code_labels.dtype} {list(code_labels.shape)}, not uint8, one for each of codes",
        ),
        (str(kind) not in ("map", "samples"), f'kind is {str(kind)!r}, not "map" or "samples"'),
    ):
        if wrong:
            raise AtlasError(f"{path}: {what}; train the run again")
    return Frames(steps, images, [str(label) for label in labels], str(kind), codes, code_labels)


def animate(
    frames: Frames,
    folder: Path,
    run: str,
    classes: Sequence[str],
    terms: Terms,
    fps: int = 10,
    progress: Callable[[str], object] | None = None,
) -> list[Caption]:
    """Write the films of a training into `folder`, each as MP4 and GIF, and their captions.json.

    all.mp4 shows every label in a block, beside the losses; its caption tells in "blocks" where each label's block
    lies: [left, top, width, height] in pixels. For a conditional model label_0.mp4, label_1.mp4, ... show one each. For
    one that encodes, scatter.mp4 shows the codes of held-out images.

    Args:
        classes: every class's name; terms: the losses; fps: frames a second; progress: is told the name of each film
            that is finished.

    Returns:
        the captions.

    Raises:
        AtlasError: if a film cannot be encoded.
    """
    films: list[tuple[str, Film, Film]] = []
    sheet = Maps(frames, run, None, terms=terms)
    several = len(frames.labels) > 1
    small = Maps(frames, run, None, GIF_BLOCK_CELLS, 600, terms) if several else sheet
    films.append(("all", sheet, small))
    for label in range(len(frames.labels)) if several else ():
        alone = Maps(frames, run, label)
        films.append((f"label_{label}", alone, alone))
    if frames.codes.shape[1]:
        drift = Drift(frames.steps, frames.codes, frames.code_labels, classes, run, terms)
        films.append(("scatter", drift, drift))
    captions = []
    for name, film, gif in films:
        write_mp4(folder / f"{name}.mp4", film, fps)
        write_gif(folder / f"{name}.gif", gif, fps)
        caption: Caption = {"file": f"{name}.mp4", "gif": f"{name}.gif", "title": film.title, "alt": film.alt}
        if film is sheet and several:
            caption["blocks"] = sheet.blocks
        captions.append(caption)
        if progress:
            progress(name)
    write_captions(folder, captions)
    return captions


class Maps(Film):
    """What the model draws of the same codes, frame by frame; `label` None shows all labels.

    The film of all labels is about `wide` pixels wide and shows at most `most` cells a side of each.
    """

    def __init__(
        self,
        frames: Frames,
        run: str,
        label: int | None,
        most: int = BLOCK_CELLS,
        wide: int = 1000,
        terms: Terms | None = None,
    ) -> None:
        """Lay the page out; nothing is drawn before a frame is asked for."""
        self.coloured = frames.images.shape[4] == 3
        one = label is not None or len(frames.labels) == 1
        names = [frames.labels[label or 0]] if one else frames.labels
        cells = frames.images.shape[2]
        self._shown = thinned(cells, cells if one else most)
        self._blocks = [label or 0] if one else list(range(len(names)))
        self._images = frames.images

        columns = 1 if one else min(5, len(names))
        across = columns * len(self._shown) * frames.images.shape[-1]
        # Even gaps at even factors keep each cell on the squares of 2 x 2 pixels that share a colour in the film.
        self._gap = self._scale = best_scale(across, 430 if one else wide)
        height, width = self._block(0, 0).shape[:2]
        caption = 0 if one else 18
        self._tiles = Tiles(len(names), columns, height, width, round(caption * 1.4), 12)
        self._captions = [] if one else self._tiles.captions(names, caption)

        what = "map of the latent space" if frames.kind == "map" else "samples of fixed codes"
        whose = f", label {names[0]}" if one and names[0] else "" if one else ", every label"
        self.title = f"{run}{whose}"
        beside = f", beside the losses: {', '.join(term.replace('_', ' ') for term in terms)}" if terms else ""
        self.alt = (
            f"Animation: {what} of {run}{whose}, in the course of training, step {frames.steps[0]} to "
            f"{frames.steps[-1]}{beside}"
        )
        super().__init__(frames.steps.tolist(), self._tiles.size, terms)

    @property
    def blocks(self) -> list[list[int]]:
        """Where the block of each label lies on a page: [left, top, width, height] in pixels."""
        top, left = self.corner
        corners = [self._tiles.corner(number) for number in range(len(self._blocks))]
        return [[left + across, top + down, self._tiles.width, self._tiles.height] for down, across in corners]

    def content(self, frame: int) -> Array:
        canvas = self._tiles.paint(self._block(frame, block) for block in self._blocks)
        if not self._captions:
            return canvas
        page = Image.fromarray(canvas)
        for caption in self._captions:
            draw(page, caption)
        return np.asarray(page)

    def _block(self, frame: int, block: int) -> Array:
        images = self._images[frame, block][self._shown][:, self._shown]
        return grid(images, self._gap, self._scale)
