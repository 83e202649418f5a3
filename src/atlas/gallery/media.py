"""Media of the gallery: figures and animations beside its pages, posters of the animations, a thumbnail of each run."""

import shutil
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from PIL import Image

from atlas.core.files import AtlasError
from atlas.gallery.outputs import RunPage
from atlas.plotting.canvas import Array, grid, thinned
from atlas.plotting.frames import Frames, load_frames

LOSSLESS: dict[str, Any] = {"lossless": True, "quality": 40, "method": 3}
"""Options of lossless WebP: more effort gains a few hundredths."""
POSTER_QUALITY = 70


def copy_media(runs: list[RunPage], folder: Path) -> None:
    """Fill folder/media/ with what the pages of the runs show.

    Raises:
        AtlasError: if an image, an animation or the snapshots of a run cannot be read.
    """
    for run in runs:
        (folder / "media" / run.key).mkdir(parents=True, exist_ok=True)
        for item in (*run.figures, *run.animations):
            if item.animated:
                shutil.copyfile(item.source, folder / item.address)
                write_poster(item.source, folder / item.poster)
            else:
                write_webp(item.source, folder / item.address)
        if run.frames:
            Image.fromarray(thumbnail(load_frames(run.frames))).save(folder / run.thumbnail, **LOSSLESS)


def write_webp(source: Path, target: Path) -> None:
    """Convert a PNG file to lossless WebP.

    Raises:
        AtlasError: if the image cannot be read.
    """
    try:
        with Image.open(source) as image:
            pixels = image.convert("RGB")
    except OSError as error:
        raise AtlasError(f"{source} cannot be read as PNG: {error}") from None
    pixels.save(target, **LOSSLESS)


def write_poster(video: Path, target: Path) -> None:
    """Write the last frame of a video, the end of the training, as WebP.

    Raises:
        AtlasError: if the video cannot be read.
    """
    try:
        # Half a second before its end is the last frame, which stands still for longer than that.
        frames = imageio_ffmpeg.read_frames(video, input_params=["-threads", "1", "-sseof", "-0.5"])
        size = next(frames)["size"]
        *_, last = frames
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["no frame in it"])[0]
        raise AtlasError(f"{video} cannot be read as MP4: {reason}") from None
    Image.frombytes("RGB", size, last).save(target, quality=POSTER_QUALITY, method=4)


def thumbnail(frames: Frames) -> Array:
    """Return uint8 [H, W, 3]: images of the last snapshot, about twice as wide as high.

    Of a conditional model a column for each label; of others, columns of their one map.
    """
    last = frames.images[-1]
    side = last.shape[1]
    if len(last) > 1:
        rows = thinned(side, max(1, round(len(last) / 2)))
        return grid(np.stack([last[:, row, side // 2] for row in rows]))
    return grid(last[0, thinned(side, max(1, round(side / 2)))])
