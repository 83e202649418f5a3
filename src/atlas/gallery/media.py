"""Media of the gallery: figures and animations beside its pages, posters of the animations, a thumbnail of each run."""

import shutil
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from PIL import Image

from atlas.gallery.outputs import Lettering, RunPage, readable
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
        media = folder / "media" / run.key
        media.mkdir(parents=True)
        for item in (*run.figures, *run.animations):
            if item.source.suffix == ".mp4":
                shutil.copyfile(item.source, folder / item.address)
                _write_poster(item.source, (folder / item.address).with_suffix(".webp"))
            else:
                with readable(item.source), Image.open(item.source) as image:
                    pixels = image.convert("RGB")
                if item.lettering:
                    pixels = without_words(pixels, item.lettering)
                pixels.save(folder / item.address, **LOSSLESS)
        if run.frames:
            Image.fromarray(_thumbnail(load_frames(run.frames))).save(media / "thumbnail.webp", **LOSSLESS)


def without_words(figure: Image.Image, lettering: Lettering) -> Image.Image:
    """Return what a figure shows without its words; between the cells of a sheet the page shines through."""
    (left, top), (_, _, width, height) = lettering["corner"], lettering["image"]
    image = figure.crop((left, top, left + width, top + height))
    if lettering["cell"]:
        cell_width, cell_height, gap = lettering["cell"]
        opaque = np.zeros((height, width), np.uint8)
        for x, y, columns, rows in lettering["blocks"]:
            for row in range(rows):
                for column in range(columns):
                    down, right = y + row * (cell_height + gap), x + column * (cell_width + gap)
                    opaque[down : down + cell_height, right : right + cell_width] = 255
        image.putalpha(Image.fromarray(opaque))
    return image


def film_epochs(run: RunPage) -> list[float]:
    """Return the epoch of each frame of a run's animations; none where there are no snapshots or no history."""
    last = max((point[0] for term in run.history.values() for points in term.values() for point in points), default=0)
    if not run.frames or not last:
        return []
    with readable(run.frames), np.load(run.frames) as frames:
        steps = frames["steps"]
    return [float(f"{step / max(1, steps[-1]) * last:.3g}") for step in steps]


def _write_poster(video: Path, target: Path) -> None:
    """Write the last frame of a video, the end of the training, as WebP."""
    with readable(video):
        # Half a second before its end is the last frame, which stands still for longer than that.
        frames = imageio_ffmpeg.read_frames(video, input_params=["-threads", "1", "-sseof", "-0.5"])
        size = next(frames)["size"]
        *_, last = frames
    Image.frombytes("RGB", size, last).save(target, quality=POSTER_QUALITY, method=4)


def _thumbnail(frames: Frames) -> Array:
    """Return uint8 [H, W, 3]: images of the last snapshot, about twice as wide as high.

    Of a conditional model a column for each label; of others, columns of their one map.
    """
    last = frames.images[-1]
    side = last.shape[1]
    if len(last) > 1:
        rows = thinned(side, max(1, round(len(last) / 2)))
        return grid(np.stack([last[:, row, side // 2] for row in rows]))
    return grid(last[0, thinned(side, max(1, round(side / 2)))])
