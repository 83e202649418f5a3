"""Video files: what a player decodes, how long it takes, and what is refused."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence
from tests.animation.digit_frames import digit_frames

from atlas.animation.animate import ImageAnimation
from atlas.animation.video import write_gif, write_mp4
from atlas.core.files import AtlasError
from atlas.plotting.frames import Frames


def decode_gif(path: Path) -> list[tuple[int, np.ndarray]]:
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0
        return [(page.info["duration"], np.asarray(page.convert("RGB"))) for page in ImageSequence.Iterator(gif)]


@pytest.mark.parametrize("channels", [1, 3])
def test_mp4_is_what_browsers_play(tmp_path: Path, channels: int) -> None:
    animation = ImageAnimation(digit_frames(channels=channels), "digits_cvae_2", None)
    write_mp4(tmp_path / "a.mp4", animation, fps=10)
    reader = imageio_ffmpeg.read_frames(tmp_path / "a.mp4")
    meta = next(reader)
    decoded = [np.frombuffer(frame, np.uint8).reshape(animation[0].shape) for frame in reader]
    assert meta["codec"] == "h264" and meta["pix_fmt"].startswith("yuv420p") and "bt709" in meta["pix_fmt"]
    assert meta["fps"] == 10 and meta["size"] == animation[0].shape[1::-1]
    assert len(decoded) == 5 + 15, "the last frame is held for a second and a half"
    for index, frame in [*enumerate(range(5)), (19, 4)]:
        error = np.abs(decoded[index].astype(int) - animation[frame])
        assert error.mean() < (1.5 if channels == 1 else 3)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "the index comes first, so that it plays while it loads"
    assert b"Lavf" not in content, "no version of the muxer"


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_shows_the_same_and_takes_as_long(tmp_path: Path, channels: int) -> None:
    animation = ImageAnimation(digit_frames(channels=channels), "digits_cvae_2", 0)
    write_gif(tmp_path / "a.gif", animation, fps=10)
    pages = decode_gif(tmp_path / "a.gif")
    assert [duration for duration, _ in pages] == [100, 100, 100, 100, 1600]
    for frame, (_, page) in enumerate(pages):
        error = np.abs(page.astype(int) - animation[frame])
        assert error.mean() < 6
        assert channels == 3 or error.max() <= 5, "half a step between 32 grays"


def test_gif_leaves_out_frames_to_be_small(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 3, 3, 1, 8, 8), dtype=np.uint8)
    steps, no_codes = np.arange(40), (np.zeros((40, 0, 2), np.float16), np.zeros(0, np.uint8))
    animation = ImageAnimation(Frames(steps, images, [""], "samples", steps[-1:], *no_codes), "run", None)
    write_gif(tmp_path / "whole.gif", animation, fps=10)
    limit = (tmp_path / "whole.gif").stat().st_size // 4
    write_gif(tmp_path / "small.gif", animation, fps=10, max_bytes=limit)
    assert (tmp_path / "small.gif").stat().st_size <= limit
    pages = decode_gif(tmp_path / "small.gif")
    assert 5 < len(pages) < 15
    assert sum(duration for duration, _ in pages) == 40 * 100 + 1500
    assert np.abs(pages[0][1].astype(int) - animation[0]).max() <= 5
    assert np.abs(pages[-1][1].astype(int) - animation[39]).max() <= 5


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Unknown encoder libx264' >&2; exit 8", r"a\.mp4 could not be encoded"),
        # Killed in the middle: what it had written has no index.
        ('for last; do :; done; cat > /dev/null; echo ftyp mdat > "$last"; exit 1', "ffmpeg stopped early"),
    ],
)
def test_a_failure_of_ffmpeg_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], script: str, message: str
) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text(f'#!/bin/sh\ncase "$*" in *rawvideo*) ;; *) exit 0 ;; esac\n{script}\n')
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    with pytest.raises(AtlasError, match=message):
        write_mp4(tmp_path / "a.mp4", ImageAnimation(digit_frames(), "run", 0), fps=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ffmpeg"]
    assert ("Unknown encoder" in capfd.readouterr().err) == ("Unknown encoder" in script), "ffmpeg's own words"
