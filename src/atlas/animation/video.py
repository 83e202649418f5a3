"""Films as files: H.264 that browsers play, and GIFs for pages without a player."""

import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from atlas.core.files import AtlasError
from atlas.core.files import atomic_write
from atlas.plotting.canvas import Array, thinned

HOLD = 1.5  # seconds that the last frame stays
GIF_BYTES = 3_000_000  # what a README's GIF may weigh
GIF_COLOURS = {False: 32, True: 128}  # by whether there is more than grey: fewer compress better


class Pages(Protocol):
    """The pages of a film, uint8 [H, W, 3], all of one size in multiples of 16 pixels."""

    @property
    def coloured(self) -> bool: ...
    def __len__(self) -> int: ...
    def __getitem__(self, frame: int) -> Array: ...


def write_mp4(path: Path, film: Pages, fps: int) -> None:
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
    with atomic_write(path) as aside:
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


def write_gif(path: Path, film: Pages, fps: int, most: int = GIF_BYTES) -> None:
    """Write a GIF that loops forever and weighs at most `most` bytes: frames are left out, evenly, until it does.

    It takes as long as the MP4, its last frame is held too.
    """
    reduce = _reducer(film)
    # Browsers slow down a GIF of more than 50 frames a second.
    count = max(1, min(len(film), len(film) * 50 // fps))
    with atomic_write(path) as aside:
        while True:
            kept = thinned(len(film), count)
            _write_gif(aside, film, kept, reduce, fps)
            size = aside.stat().st_size
            if size <= most or count <= 2:
                return
            count = max(2, min(count - 1, int(count * most / size)))


def _write_gif(path: Path, film: Pages, kept: Sequence[int], reduce: Callable[[Array], Image.Image], fps: int) -> None:
    # In hundredths of a second, the unit of a GIF, rounded in sum and not one by one.
    starts = [round(100 * frame / fps) for frame in (*kept, len(film))]
    durations = [10 * (end - start) for start, end in pairwise(starts)]
    durations[-1] += round(1000 * HOLD)
    pages = (reduce(film[frame]) for frame in kept)
    next(pages).save(path, save_all=True, append_images=pages, duration=durations, loop=0, optimize=True, disposal=1)


def _reducer(film: Pages) -> Callable[[Array], Image.Image]:
    """From a page [H, W, 3] to an image of few colours: evenly spaced greys, or the colours of the later frames."""
    colours = GIF_COLOURS[film.coloured]
    if film.coloured:
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
