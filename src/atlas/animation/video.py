"""Video files: MP4 (H.264) that browsers play, and GIF for pages without a player."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from PIL import Image

from atlas.animation.layout import Animation
from atlas.core.files import AtlasError, atomic_write
from atlas.plotting.canvas import Array, thinned

HOLD = 1.5  # seconds that the last frame stays
GIF_BYTES = 3_000_000  # what a GIF in a README may weigh
GIF_COLORS = {False: 32, True: 128}  # by whether there is more than gray: fewer compress better


def write_mp4(path: Path, animation: Animation, fps: int) -> None:
    """Write H.264 that browsers play (yuv420p, index first), the last frame held. Same frames, same bytes.

    Raises:
        AtlasError: if ffmpeg fails.
    """
    # The color space is written down: a player must guess otherwise, and shows other colors where it guesses wrong.
    convert = "scale=out_color_matrix=bt709:out_range=tv"
    declare = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    options = {
        "-vf": f"{convert},{declare}", "-preset": "veryfast", "-crf": "27", "-movflags": "+faststart",
        "-threads": "1", "-fflags": "+bitexact", "-flags:v": "+bitexact",
    }  # fmt: skip
    last = len(animation) - 1
    order = [*range(len(animation)), *[last] * round(HOLD * fps)]
    with atomic_write(path) as tmp:
        try:
            with imageio.get_writer(
                tmp, format="FFMPEG", fps=fps, codec="libx264", quality=None, pixelformat="yuv420p",
                ffmpeg_log_level="error", output_params=[part for option in options.items() for part in option],
            ) as writer:  # fmt: skip
                for frame in order:
                    writer.append_data(animation[frame])  # type: ignore[attr-defined]
            # imageio does not look at ffmpeg's exit status, but ffmpeg puts the index first only when all is written.
            if b"moov" not in tmp.read_bytes().split(b"mdat", 1)[0]:
                raise OSError("ffmpeg stopped early")
        except (OSError, RuntimeError) as error:
            reason = f"{str(error).splitlines()[0]}, as on a full disk; what it said stands above"
            raise AtlasError(f"{path} could not be encoded: {reason}") from error


def write_gif(path: Path, animation: Animation, fps: int, max_bytes: int = GIF_BYTES) -> None:
    """Write a GIF as long as the MP4, of at most `max_bytes`: frames are left out, evenly, until it weighs no more."""
    reduce = _color_reduction(animation)
    # Browsers slow down a GIF of more than 50 frames a second.
    count = max(1, min(len(animation), len(animation) * 50 // fps))
    with atomic_write(path) as tmp:
        while True:
            _write_gif(tmp, animation, thinned(len(animation), count), reduce, fps)
            size = tmp.stat().st_size
            if size <= max_bytes or count <= 2:
                return
            # Frames that are further apart differ in more pixels.
            count = max(2, min(count - 1, int(count * (max_bytes / size) ** 1.35)))


def _write_gif(
    path: Path, animation: Animation, frames: Sequence[int], reduce: Callable[[Array], Image.Image], fps: int
) -> None:
    # In hundredths of a second, the unit of a GIF, rounded in sum and not one by one.
    starts = [round(100 * frame / fps) for frame in (*frames, len(animation))]
    durations = [10 * (end - start) for start, end in pairwise(starts)]
    durations[-1] += round(1000 * HOLD)
    images = (reduce(animation[frame]) for frame in frames)
    next(images).save(path, save_all=True, append_images=images, duration=durations, loop=0, optimize=True, disposal=1)


def _color_reduction(animation: Animation) -> Callable[[Array], Image.Image]:
    """Return what reduces a frame [H, W, 3] to few colors: evenly spaced grays, or the colors of the later frames."""
    colors = GIF_COLORS[animation.in_color]
    if animation.in_color:
        late = np.concatenate([animation[len(animation) // 2], animation[len(animation) - 1]])
        palette = Image.fromarray(late).quantize(colors, method=Image.Quantize.FASTOCTREE)
        return lambda frame: Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)

    # Pillow's own search in a palette misses the nearest gray.
    nearest = (np.arange(256) * (colors - 1) / 255).round().astype(np.uint8)
    grays = np.linspace(0, 255, colors).round().astype(np.uint8).repeat(3).tobytes()

    def reduce(frame: Array) -> Image.Image:
        image = Image.fromarray(nearest[frame[..., 0]])
        image.putpalette(grays)
        return image

    return reduce
