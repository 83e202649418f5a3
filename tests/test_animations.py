"""Animations: what a player decodes, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence
from sklearn.datasets import load_digits

from atlas.core.files import AtlasError
from atlas.animation import video as encoders
from atlas.animation.animate import Frames, Maps, animate, load_frames
from atlas.animation.latent_scatter import EDGE, SIDE, Drift
from atlas.animation.video import write_gif, write_mp4
from atlas.animation.loss_panel import Growing, Terms, load_terms
from atlas.plotting.style import COLOURS

ROOT = Path(__file__).resolve().parent.parent


def make(frames: int = 5, labels: int = 3, channels: int = 1, n: int = 3) -> Frames:
    """Digits that brighten from frame to frame; RGB ones are tinted."""
    digits = load_digits()
    some = np.stack([digits.images[digits.target == label][: n * n] for label in range(max(labels, 2))])[:labels]
    cells = some.reshape(labels, n, n, 1, 8, 8) * 15.9
    images = np.stack([cells * (frame + 1) / frames for frame in range(frames)])
    tint = np.array([1.0, 0.6, 0.3])[:channels].reshape(-1, 1, 1)
    names = [str(label) for label in range(labels)] if labels > 1 else [""]
    codes, owners = clouds(frames)
    return Frames(np.arange(frames) * 30, (images * tint).astype(np.uint8), names, "map", codes, owners)


CLASSES = ["nought", "one", "two"]
TERMS: Terms = {
    "distortion": {"train": [(60, 90.0), (120, 80.0)], "validation": [(60, 85.0), (120, 82.0)]},
    "rate": {"train": [(60, 3.0), (120, 4.0)], "validation": [(60, 3.5), (120, 4.5)]},
}


def clouds(frames: int, apart: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Codes of three classes that part company: the middle of class k ends at (apart * (k - 1), 0)."""
    owners = np.arange(60, dtype=np.uint8) % 3
    start = np.random.default_rng(0).normal(size=(60, 2)) * 0.3
    ends = start + np.stack([apart * (owners.astype(float) - 1), np.zeros(60)], axis=1)
    shares = np.linspace(0, 1, frames)[:, None, None]
    return (start * (1 - shares) + ends * shares).astype(np.float16), owners


NONE = np.zeros((40, 0, 2), np.float16), np.zeros(0, np.uint8)


def decode(path: Path) -> tuple[dict, np.ndarray]:
    reader = imageio_ffmpeg.read_frames(path)
    meta = next(reader)
    width, height = meta["size"]
    return meta, np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("label", [None, 2])
def test_a_frame_shows_every_image_enlarged(channels: int, label: int | None) -> None:
    frames = make(channels=channels)
    film = Maps(frames, "digits_cvae_2", label)
    page = film[3]
    height, width = page.shape[:2]
    assert height % 16 == 0 and width % 16 == 0
    top, left = film.corner
    scale = film._scale
    blocks = range(3) if label is None else [label]
    for number, block in enumerate(blocks):
        down, across = film._tiles.corner(number)
        for row in range(3):
            for column in range(3):
                y, x = top + down + row * 9 * scale, left + across + column * 9 * scale
                cell = page[y : y + 8 * scale, x : x + 8 * scale]
                source = np.moveaxis(frames.images[3, block, row, column], 0, -1)
                assert (
                    cell == np.broadcast_to(np.kron(source, np.ones((scale, scale, 1), np.uint8)), cell.shape)
                ).all()
    if label is not None:
        assert 360 <= width <= 500


def test_only_pictures_step_and_bar_change() -> None:
    film = Maps(make(), "digits_cvae_2", 1)
    first, last = film[0], film[4]
    title = slice(0, int(film._text * 1.5))
    assert (first[title] == last[title]).all() and (first[title] < 100).any()
    step = slice(int(film._text * 2), int(film._text * 3))
    assert (first[step] != last[step]).any()
    bar = film.corner[0] - 6
    done = [int((film[frame][bar] < 100).all(axis=-1).sum()) for frame in range(5)]
    full = film._area[1]
    assert done == [round(full * frame / 4) for frame in range(5)]


@pytest.mark.parametrize("channels", [1, 3])
def test_mp4_is_what_browsers_play(tmp_path: Path, channels: int) -> None:
    film = Maps(make(channels=channels), "digits_cvae_2", None)
    write_mp4(tmp_path / "a.mp4", film, fps=10)
    meta, decoded = decode(tmp_path / "a.mp4")
    assert meta["codec"] == "h264" and meta["pix_fmt"].startswith("yuv420p") and "bt709" in meta["pix_fmt"]
    assert meta["fps"] == 10 and meta["size"] == film[0].shape[1::-1]
    assert len(decoded) == 5 + 15, "the last frame is held for a second and a half"
    for index, frame in [*enumerate(range(5)), (19, 4)]:
        error = np.abs(decoded[index].astype(int) - film[frame])
        assert error.mean() < (1.5 if channels == 1 else 3)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "the index comes first, so that it plays while it loads"
    assert b"Lavf" not in content, "no version of the muxer"


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_shows_the_same_and_takes_as_long(tmp_path: Path, channels: int) -> None:
    film = Maps(make(channels=channels), "digits_cvae_2", 0)
    write_gif(tmp_path / "a.gif", film, fps=10)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.info["loop"] == 0
        pages = [(page.info["duration"], np.asarray(page.convert("RGB"))) for page in ImageSequence.Iterator(gif)]
    assert [duration for duration, _ in pages] == [100, 100, 100, 100, 1600]
    for frame, (_, page) in enumerate(pages):
        error = np.abs(page.astype(int) - film[frame])
        assert error.mean() < 6
        assert channels == 3 or error.max() <= 5, "half a step between 32 greys"


def test_gif_leaves_out_frames_to_be_small(tmp_path: Path) -> None:
    steps = np.arange(40)
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 3, 3, 1, 8, 8), dtype=np.uint8)
    film = Maps(Frames(steps, images, [""], "samples", *NONE), "run", None)
    write_gif(tmp_path / "whole.gif", film, fps=10)
    limit = (tmp_path / "whole.gif").stat().st_size // 4
    write_gif(tmp_path / "small.gif", film, fps=10, most=limit)
    assert (tmp_path / "small.gif").stat().st_size <= limit
    with Image.open(tmp_path / "small.gif") as gif:
        pages = [(page.info["duration"], np.asarray(page.convert("RGB"))) for page in ImageSequence.Iterator(gif)]
    assert 5 < len(pages) < 15
    assert sum(duration for duration, _ in pages) == 40 * 100 + 1500
    assert np.abs(pages[0][1].astype(int) - film[0]).max() <= 5
    assert np.abs(pages[-1][1].astype(int) - film[39]).max() <= 5


def test_one_film_of_all_labels_and_one_of_each(tmp_path: Path) -> None:
    told: list[str] = []
    captions = animate(make(frames=3), tmp_path, "digits_cvae_2", CLASSES, TERMS, progress=told.append)
    names = ["all", "label_0", "label_1", "label_2", "scatter"]
    assert told == names
    assert [caption["file"] for caption in captions] == [f"{name}.mp4" for name in names]
    assert json.loads((tmp_path / "captions.json").read_text()) == captions
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"captions.json", *(caption[key] for caption in captions for key in ("file", "gif"))}
    assert captions[3]["title"] == "digits_cvae_2, label 2" and "step 0 to 60" in captions[3]["alt"]
    again = tmp_path / "again"
    again.mkdir()
    animate(make(frames=3), again, "digits_cvae_2", CLASSES, TERMS)
    for name in files:
        assert (tmp_path / name).read_bytes() == (again / name).read_bytes(), name
    assert [bool(caption.get("blocks")) for caption in captions] == [True, False, False, False, False]
    page, frames = Maps(make(frames=3), "digits_cvae_2", None, terms=TERMS)[2], make(frames=3)
    for label, (left, top, width, height) in enumerate(captions[0]["blocks"]):
        block = page[top : top + height, left : left + width]
        scale = width // (3 * 8)
        assert (block[::scale, ::scale, 0][:8, :8] == frames.images[2, label, 0, 0, 0]).all()
        assert (page[top - 1, left : left + width] > 250).all(), "the block begins earlier"


def test_an_unconditional_model_has_one_film(tmp_path: Path) -> None:
    frames = make(frames=1, labels=1)
    frames = replace(frames, codes=frames.codes[:, :0], code_labels=frames.code_labels[:0])
    captions = animate(frames, tmp_path, "mnist_vae_2", CLASSES, TERMS, fps=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.gif", "all.mp4", "captions.json"]
    assert captions[0]["title"] == "mnist_vae_2" and "blocks" not in captions[0]
    assert len(decode(tmp_path / "all.mp4")[1]) == 1 + 90


def test_what_ffmpeg_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho 'Unknown encoder libx264' >&2\nexit 8\n")
    broken.chmod(0o755)
    monkeypatch.setattr(encoders, "get_ffmpeg_exe", lambda: str(broken))
    with pytest.raises(AtlasError, match=r"a\.mp4 could not be encoded: Unknown encoder libx264"):
        write_mp4(tmp_path / "a.mp4", Maps(make(), "run", 0), fps=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ffmpeg"]


def save(path: Path, **changed: object) -> Path:
    frames = make()
    arrays: dict[str, Any] = {
        "steps": frames.steps,
        "images": frames.images,
        "labels": np.array(frames.labels),
        "kind": "map",
        "codes": frames.codes,
        "code_labels": frames.code_labels,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {key: np.asarray(value) for key, value in {**arrays, **changed}.items() if value is not None}
    np.savez(path, **kept)
    return path


def test_frames_are_read_as_written(tmp_path: Path) -> None:
    frames, read = make(), load_frames(save(tmp_path / "frames.npz"))
    assert (read.steps == frames.steps).all() and (read.images == frames.images).all()
    assert (read.labels, read.kind) == (frames.labels, "map")
    assert (read.codes == frames.codes).all() and (read.code_labels == frames.code_labels).all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"images": None}, "images"),
        ({"images": np.zeros((5, 3, 3, 3, 1, 8, 8))}, "float64"),
        ({"images": np.zeros((5, 3, 3, 2, 1, 8, 8), np.uint8)}, r"\[5, 3, 3, 2, 1, 8, 8\]"),
        ({"images": np.zeros((0, 3, 3, 3, 1, 8, 8), np.uint8)}, r"\[0, 3, 3, 3, 1, 8, 8\]"),
        ({"steps": np.arange(4)}, r"steps are int64 \[4\]"),
        ({"steps": np.array([0, 2, 1, 3, 4])}, "rising"),
        ({"labels": np.array(["a", "b"])}, r"labels are .*\[2\]"),
        ({"labels": np.array([{}, {}, {}], dtype=object)}, "allow_pickle"),
        ({"kind": "film"}, "'film'"),
        ({"codes": None}, "codes"),
        ({"codes": np.zeros((5, 60, 3), np.float16)}, r"codes are float16 \[5, 60, 3\]"),
        ({"codes": np.zeros((5, 60, 2))}, r"codes are float64"),
        ({"codes": np.zeros((4, 60, 2), np.float16)}, r"\[4, 60, 2\]"),
        ({"code_labels": np.zeros(59, np.uint8)}, r"code_labels are uint8 \[59\]"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, changed: dict, words: str) -> None:
    path = save(tmp_path / "frames.npz", **changed)
    with pytest.raises(AtlasError, match=words) as caught:
        load_frames(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="missing"):
        load_frames(tmp_path / "frames.npz")
    for content in (b"", b"PK\x03\x04 cut short", b"words"):
        (tmp_path / "frames.npz").write_bytes(content)
        with pytest.raises(AtlasError, match="holds no frames"):
            load_frames(tmp_path / "frames.npz")


def stage(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(ROOT / "src" / "animate.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


def test_the_stage_writes_the_folder_or_says_what_is_missing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    missing = stage(tmp_path, "digits_cvae_2")
    assert missing.returncode == 1 and missing.stderr.count("\n") == 1 and "train@digits_cvae_2" in missing.stderr
    unknown = stage(tmp_path, "digits_cvae_3")
    assert unknown.returncode == 1 and unknown.stderr.count("\n") == 1 and "digits_cvae_2" in unknown.stderr

    model = save(tmp_path / "outputs/models/digits_cvae_2/frames.npz").parent
    (model / "model.json").write_text(json.dumps({"classes": CLASSES}))
    (model / "history.csv").write_text("epoch,step,split,rate\n1,60,train,3.5\n2,120,train,\n")
    done = stage(tmp_path, "digits_cvae_2")
    assert done.returncode == 0 and done.stdout.count("\n") == 1, done.stderr
    assert len(list((tmp_path / "outputs/animations/digits_cvae_2").iterdir())) == 11


@pytest.mark.parametrize("label", [None, 1])
def test_the_losses_stand_still_and_grow(label: int | None) -> None:
    film, bare = Maps(make(), "digits_cvae_2", label, terms=TERMS), Maps(make(), "digits_cvae_2", label)
    assert film.losses
    pages = [film[frame] for frame in range(5)]
    assert len({page.shape for page in pages}) == 1 and pages[0].shape[0] % 16 == pages[0].shape[1] % 16 == 0
    top, left = film.corner
    down, right = film._losses_at
    for frame, page in enumerate(pages):
        strip = film.losses[30 * frame]
        assert (page[top + down :, left + right :][: strip.shape[0], : strip.shape[1]] == strip).all()
        assert (film.content(frame) == bare.content(frame)).all()
    # A curve of four numbers a panel: nothing before the first epoch's end, all at the last, and never less.
    for left, right, top, bottom in film.losses.boxes:
        inner = [film.losses[step][top:bottom, left:right] for step in (0, 30, 59, 90, 120)]
        dark = [int((part.min(axis=-1) < 120).sum()) for part in inner]
        assert max(dark[:3]) - min(dark[:3]) <= 2 and dark[2] < dark[3] < dark[4]
        now = round((right - left) * 90 / 120)
        assert (inner[3][:, :now] == inner[4][:, :now]).all() and (
            inner[3][:, now + 1 :] == inner[0][:, now + 1 :]
        ).all()
    outside = np.ones(film.losses[0].shape[:2], bool)
    for left, right, top, bottom in film.losses.boxes:
        outside[top - 5 : bottom + 5, left : right + 5] = False
    assert (film.losses[0][outside] == film.losses[120][outside]).all(), "axes and words stay"


def test_a_curve_lies_where_its_axes_say() -> None:
    terms: Terms = {"rate": {"validation": [(0, 1.0), (100, 3.0)]}}
    strip = Growing(terms, 100, 240, 300)
    ((left, right, top, bottom),) = strip.boxes
    page = strip[100].min(axis=-1)
    middle = page[top:bottom, (left + right) // 2]
    assert abs(int(middle.argmin()) - (bottom - top) / 2) <= 2, "half way up at half of the steps"


def test_the_first_losses_are_read_and_other_files_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    columns = "real_probability,a,class_accuracy,b,c_paused,d_won,c,d"
    path.write_text(f"epoch,step,split,{columns}\n1,9,train,.5,1,.5,,0,.1,nan,4\n1,9,validation,.5,2,.5,3,0,,,5\n")
    assert load_terms(path) == {
        "a": {"train": [(9, 1.0)], "validation": [(9, 2.0)]},
        "d": {"train": [(9, 4.0)], "validation": [(9, 5.0)]},
        "b": {"validation": [(9, 3.0)]},
    }
    for content in ("epoch,split,a\n1,train,2\n", "epoch,step,split,a\n1,1,train,x\n"):
        path.write_text(content)
        with pytest.raises(AtlasError, match=r"history\.csv is not a history"):
            load_terms(path)


def drift(codes: np.ndarray, owners: np.ndarray) -> Drift:
    return Drift(np.arange(len(codes)) * 30, codes, owners, CLASSES, "digits_vae_2", TERMS)


def test_codes_lie_where_they_are_in_their_classes_colours() -> None:
    codes, owners = clouds(5)
    film = drift(codes, owners)
    assert film[0].shape == film[4].shape
    named = film.content(4)
    film._named = False
    assert (named != film.content(4)).any()
    for frame in (0, 2, 4):
        page = film.content(frame)[:SIDE, EDGE : EDGE + SIDE].astype(int)
        places = film._places(frame)
        alone = [n for n in range(60) if np.sort(np.abs(places - places[n]).max(axis=1))[1] > 12]
        for number in alone:
            x, y = places[number].round().astype(int)
            colour = np.array([int(COLOURS[owners[number]][at : at + 2], 16) for at in (1, 3, 5)])
            assert np.abs(page[y, x] - (0.6 * colour + 0.4 * 255)).max() <= 2
    # The axes are the last frame's, whatever the first: what moves are the codes.
    first, last = (film._places(frame) for frame in (0, 4))
    middles = [[places[owners == label, 0].mean() for label in range(3)] for places in (first, last)]
    assert np.ptp(middles[0]) < 0.15 * np.ptp(middles[1])
    assert middles[1][0] < middles[1][1] < middles[1][2], "the first dimension rises rightwards"
    assert np.corrcoef(last[:, 1], codes[-1, :, 1].astype(float))[0, 1] < -0.99, "the second upwards"


def test_codes_far_out_lie_on_the_border_and_names_only_where_they_have_room() -> None:
    codes, owners = clouds(3)
    codes[0] = 1000
    assert (drift(codes, owners)._places(0) == drift(codes, owners)._places(0)[0]).all()
    drift(codes, owners).content(0)
    assert drift(codes, owners)._named
    # Every class in the same places.
    assert not drift(codes[:, ::3].repeat(3, axis=1), owners)._named
