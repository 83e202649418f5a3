"""The gallery's files: pictures and films copied beside its pages, posters of the films, a thumbnail of each run."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

from atlas.errors import AtlasError
from atlas.show.animations import Frames, load_frames
from atlas.show.gallery_outputs import RunPage
from atlas.show.page import Array, grid, thinned, write_png


def copy_media(runs: list[RunPage], folder: Path) -> None:
    """Fill folder/media/ with all that the runs' pages show.

    Raises:
        AtlasError: if a film or the frames of a run cannot be read.
    """
    for run in runs:
        for medium in (*run.pictures, *run.animations):
            target = folder / medium.address
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(medium.source, target)
            if medium.film:
                write_poster(medium.source, folder / medium.poster)
        if run.frames:
            write_png(folder / run.thumbnail, thumbnail(load_frames(run.frames)))


def write_poster(film: Path, target: Path) -> None:
    """Write the picture at a film's end, where the training has arrived, as JPEG.

    Raises:
        AtlasError: if the film cannot be read.
    """
    quiet = [get_ffmpeg_exe(), "-v", "error", "-nostdin", "-threads", "1"]
    exact = ["-fflags", "bitexact", "-flags", "bitexact", "-map_metadata", "-1"]
    end = ["-sseof", "-0.5", "-i", str(film), "-update", "1", "-q:v", "6"]
    done = subprocess.run([*quiet, *end, *exact, "-y", str(target)], capture_output=True, text=True)
    if done.returncode or not target.exists():
        reason = (done.stderr.splitlines() or ["no picture in it"])[0]
        raise AtlasError(f"{film} cannot be read as MP4: {reason}")


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
