"""Animations of the training: the frames that the trainer kept, as MP4 films and as GIFs for pages without a player."""

import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from atlas.errors import AtlasError
from atlas.files import need, whole_file
from atlas.show.page import (
    INK,
    PAPER,
    QUIET,
    Array,
    Caption,
    Label,
    Tiles,
    best_scale,
    draw,
    font,
    grid,
    thinned,
    write_captions,
)

HOLD = 1.5  # seconds that the last frame stays
GIF_BYTES = 3_000_000  # what a README's GIF may weigh
GIF_COLOURS = {1: 32, 3: 128}  # by channels: fewer compress better
MACRO_BLOCK = 16  # H.264 codes squares of this size: other dimensions would be padded or rescaled
BLOCK_CELLS = 8  # cells a side of each block in the film of all labels
GIF_BLOCK_CELLS = 4  # the same in its GIF, of which hardly a frame would be left otherwise


@dataclass(frozen=True)
class Frames:
    """What frames.npz holds.

    `steps` int64 [F]; `images` uint8 [F, L, n, n, C, H, W], row 0 at the top; `labels`: L class names, or one empty
    name when the model is unconditional; `kind`: "map" (over the latent space) or "samples" (n * n fixed codes).
    """

    steps: Array
    images: Array
    labels: list[str]
    kind: str


def load_frames(path: Path) -> Frames:
    """Read and check frames.npz.

    Raises:
        AtlasError: if the file is missing, unreadable or not what `Frames` describes.
    """
    need(path, "train")
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in ("steps", "images", "labels", "kind")}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise AtlasError(f"{path} holds no frames of a training ({error}); train the run again") from error
    steps, images, labels, kind = arrays["steps"], arrays["images"], arrays["labels"], arrays["kind"]
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
        (str(kind) not in ("map", "samples"), f'kind is {str(kind)!r}, not "map" or "samples"'),
    ):
        if wrong:
            raise AtlasError(f"{path}: {what}; train the run again")
    return Frames(steps, images, [str(label) for label in labels], str(kind))


def animate(
    frames: Frames, folder: Path, run: str, fps: int = 10, progress: Callable[[str], object] | None = None
) -> list[Caption]:
    """Write the films of a training into `folder`, each as MP4 and GIF, and their captions.json.

    all.mp4 shows every label in a block; for a conditional model label_0.mp4, label_1.mp4, ... show one each.
    `fps` is in frames a second; `progress` is told the name of each film that is finished. Returns the captions.

    Raises:
        AtlasError: if a film cannot be encoded.
    """
    parts: list[tuple[str, int | None]] = [("all", None)]
    if len(frames.labels) > 1:
        parts += [(f"label_{number}", number) for number in range(len(frames.labels))]
    captions = []
    for name, label in parts:
        film = Film(frames, run, label)
        write_mp4(folder / f"{name}.mp4", film, fps)
        whole = label is not None or len(frames.labels) == 1
        write_gif(folder / f"{name}.gif", film if whole else Film(frames, run, None, GIF_BLOCK_CELLS, 600), fps)
        captions.append({"file": f"{name}.mp4", "gif": f"{name}.gif", "title": film.title, "alt": film.alt})
        if progress:
            progress(name)
    write_captions(folder, captions)
    return captions


class Film:
    """The pages of one animation: all the same size, in multiples of 16 pixels; `label` None shows all labels.

    The film of all labels is about `wide` pixels wide and shows at most `most` cells a side of each.
    """

    def __init__(self, frames: Frames, run: str, label: int | None, most: int = BLOCK_CELLS, wide: int = 1000) -> None:
        """Lay the page out; nothing is drawn before a frame is asked for."""
        self.steps = frames.steps
        self.channels = frames.images.shape[4]
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
        self.alt = (
            f"Animation: {what} of {run}{whose}, in the course of training, step {self.steps[0]} to {self.steps[-1]}"
        )

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, frame: int) -> Array:
        """The page of a frame: uint8 [H, W, 3]."""
        top, left = self.corner
        page = self._blank.copy()
        canvas = self._tiles.paint(self._block(frame, block) for block in self._blocks)
        page.paste(Image.fromarray(canvas), (left, top))
        for caption in self._captions:
            draw(page, caption, left, top)
        text = f"step {self.steps[frame]} of {self.steps[-1]}"
        size = self._text
        draw(page, Label(left, size * 2.9, text, "ls", size, colour=QUIET))
        # The bar moves evenly with the training, also where frames lie closer together at its beginning.
        full = self._tiles.size[1]
        done = round(full * self.steps[frame] / max(int(self.steps[-1]), 1))
        page.paste((*INK,), (left, top - 8, left + done, top - 4))
        return np.asarray(page)

    @cached_property
    def corner(self) -> tuple[int, int]:
        """The (top, left) pixel where the pictures begin."""
        width = self._blank.size[0]
        return 2 * round((self._text * 3.3 + 12) / 2), (width - self._tiles.size[1]) // 4 * 2

    @cached_property
    def _text(self) -> int:
        """Size of the text in pixels: large enough to read, small enough for the title to fit."""
        width = self._tiles.size[1]
        return max(11, min(20, int(20 * width / font(20, bold=True).getlength(self.title))))

    @cached_property
    def _blank(self) -> Image.Image:
        """The page with everything on it that stays: the title and the track of the bar."""
        height, width = self._tiles.size
        size = self._text
        top = 2 * round((size * 3.3 + 12) / 2)
        across = _round_up(width + 16)
        page = Image.new("RGB", (across, _round_up(top + height + 8)), (PAPER,) * 3)
        left = (across - width) // 4 * 2
        draw(page, Label(left, size * 1.45, self.title, "ls", size, bold=True))
        page.paste((224, 224, 224), (left, top - 8, left + width, top - 4))
        return page

    def _block(self, frame: int, block: int) -> Array:
        images = self._images[frame, block][self._shown][:, self._shown]
        return grid(images, self._gap, self._scale)


def write_mp4(path: Path, film: Film, fps: int) -> None:
    """Write H.264 that browsers play (yuv420p, index first), the last frame held.

    Raises:
        AtlasError: if ffmpeg fails.
    """
    last = len(film) - 1
    order = [*range(len(film)), *[last] * round(HOLD * fps)]
    height, width = film[0].shape[:2]
    # The colour space is written down: a player must guess otherwise, and shows other colours where it guesses wrong.
    convert = "scale=out_color_matrix=bt709:out_range=tv"
    declare = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    options = {
        "-vf": f"{convert},{declare}", "-c:v": "libx264", "-preset": "veryfast", "-crf": "27", "-pix_fmt": "yuv420p",
        "-movflags": "+faststart", "-threads": "1", "-fflags": "+bitexact", "-flags:v": "+bitexact",
    }  # fmt: skip
    source = {"-f": "rawvideo", "-pix_fmt": "rgb24", "-s": f"{width}x{height}", "-r": f"{fps}", "-i": "-"}
    with whole_file(path) as aside:
        arguments = [part for pair in (*source.items(), *options.items()) for part in pair]
        command = [_ffmpeg(), "-v", "error", "-y", *arguments, str(aside)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdin and process.stderr
            # A broken pipe means that ffmpeg gave up: its words and exit status say why.
            with suppress(BrokenPipeError):
                for frame in order:
                    process.stdin.write(film[frame].tobytes())
                process.stdin.close()
            words = process.stderr.read().decode(errors="replace").split("\n")
        if process.returncode:
            raise AtlasError(f"{path} could not be encoded: {words[0] or f'ffmpeg ended with {process.returncode}'}")


def _ffmpeg() -> str:
    try:
        return get_ffmpeg_exe()
    except RuntimeError as error:
        raise AtlasError("no ffmpeg was found; set IMAGEIO_FFMPEG_EXE to one that can encode H.264") from error


def write_gif(path: Path, film: Film, fps: int, most: int = GIF_BYTES) -> None:
    """Write a GIF that loops forever and weighs at most `most` bytes: frames are left out, evenly, until it does.

    It takes as long as the MP4, its last frame is held too.
    """
    reduce = _reducer(film)
    # Browsers slow down a GIF of more than 50 frames a second.
    count = max(1, min(len(film), len(film) * 50 // fps))
    with whole_file(path) as aside:
        while True:
            kept = thinned(len(film), count)
            _write_gif(aside, film, kept, reduce, fps)
            size = aside.stat().st_size
            if size <= most or count <= 2:
                return
            count = max(2, min(count - 1, int(count * most / size)))


def _write_gif(path: Path, film: Film, kept: Sequence[int], reduce: Callable[[Array], Image.Image], fps: int) -> None:
    # In hundredths of a second, the unit of a GIF, rounded in sum and not one by one.
    starts = [round(100 * frame / fps) for frame in (*kept, len(film))]
    durations = [10 * (end - start) for start, end in pairwise(starts)]
    durations[-1] += round(1000 * HOLD)
    pages = (reduce(film[frame]) for frame in kept)
    next(pages).save(path, save_all=True, append_images=pages, duration=durations, loop=0, optimize=True, disposal=1)


def _reducer(film: Film) -> Callable[[Array], Image.Image]:
    """From a page [H, W, 3] to an image of few colours: evenly spaced greys, or the colours of the later frames."""
    colours = GIF_COLOURS[film.channels]
    if film.channels == 3:
        late = np.concatenate([film[len(film) // 2], film[len(film) - 1]])
        palette = Image.fromarray(late).quantize(colours, method=Image.Quantize.FASTOCTREE)
        return lambda page: Image.fromarray(page).quantize(palette=palette, dither=Image.Dither.NONE)

    nearest = (np.arange(256) * (colours - 1) / 255).round().astype(np.uint8)
    greys = np.linspace(0, 255, colours).round().astype(np.uint8).repeat(3).tobytes()

    def reduce(page: Array) -> Image.Image:
        image = Image.fromarray(nearest[page[..., 0]])
        image.putpalette(greys)
        return image

    return reduce


def _round_up(pixels: int) -> int:
    return -(-pixels // MACRO_BLOCK) * MACRO_BLOCK
