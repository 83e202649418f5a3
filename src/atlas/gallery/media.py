"""The gallery's files: pictures and films copied beside its pages, posters of the films, a thumbnail of each run."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from atlas.core.files import AtlasError
from atlas.animation.animate import Frames, load_frames
from atlas.gallery.outputs import Medium, RunPage
from atlas.plotting.canvas import Array, grid, thinned

LOSSLESS: dict[str, Any] = {"lossless": True, "quality": 40, "method": 3}
"""How WebP is written pixel by pixel: more effort gains a few hundredths."""
POSTER_QUALITY = 70


def copy_media(runs: list[RunPage], sheets: Sequence[Medium], folder: Path) -> None:
    """Fill folder/media/ with all that the runs' pages show, and with the sheets of several runs.

    Raises:
        AtlasError: if a film or the frames of a run cannot be read.
    """
    for sheet in sheets:
        (folder / sheet.address).parent.mkdir(parents=True, exist_ok=True)
        write_picture(sheet.source, folder / sheet.address)
    for run in runs:
        for medium in (*run.pictures, *run.animations):
            target = folder / medium.address
            target.parent.mkdir(parents=True, exist_ok=True)
            if medium.film:
                shutil.copyfile(medium.source, target)
                write_poster(medium.source, folder / medium.poster)
            else:
                write_picture(medium.source, target)
        if run.frames:
            Image.fromarray(thumbnail(load_frames(run.frames))).save(folder / run.thumbnail, **LOSSLESS)


def write_picture(source: Path, target: Path) -> None:
    """Write a PNG again as WebP, pixel by pixel.

    Raises:
        AtlasError: if the picture cannot be read.
    """
    try:
        with Image.open(source) as image:
            picture = image.convert("RGB")
    except OSError as error:
        raise AtlasError(f"{source} cannot be read as PNG: {error}") from None
    picture.save(target, **LOSSLESS)


def write_poster(film: Path, target: Path) -> None:
    """Write the picture at a film's end, where the training has arrived, as WebP.

    Raises:
        AtlasError: if the film cannot be read.
    """
    quiet = [get_ffmpeg_exe(), "-v", "error", "-nostdin", "-threads", "1"]
    end = ["-sseof", "-0.5", "-i", str(film), "-update", "1"]
    with tempfile.TemporaryDirectory() as aside:
        picture = Path(aside) / "poster.png"
        done = subprocess.run([*quiet, *end, "-y", str(picture)], capture_output=True, text=True)
        if done.returncode or not picture.exists():
            reason = (done.stderr.splitlines() or ["no picture in it"])[0]
            raise AtlasError(f"{film} cannot be read as MP4: {reason}")
        with Image.open(picture) as image:
            image.convert("RGB").save(target, quality=POSTER_QUALITY, method=4)


def thumbnail(frames: Frames) -> Array:
    """Return uint8 [H, W, 3]: some images of the last frame, twice as wide as high or nearly so.

    Of a model that heeds the label, a column a label; of others, columns of their one map.
    """
    last = frames.images[-1]
    side = last.shape[1]
    if len(last) > 1:
        rows = thinned(side, max(1, round(len(last) / 2)))
        return grid(np.stack([last[:, row, side // 2] for row in rows]))
    return grid(last[0, thinned(side, max(1, round(side / 2)))])
