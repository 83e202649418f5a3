"""Animations of a training: which are written, what their frames show, and the stage."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.animation.digit_frames import CLASSES, LOSSES, digit_frames
from tests.plotting.test_frames import write_frames

import animate as stage
from atlas.animation.animate import ImageAnimation, animate
from atlas.core.files import AtlasError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("label", [None, 2])
def test_a_frame_shows_every_image_enlarged(channels: int, label: int | None) -> None:
    frames = digit_frames(channels=channels)
    animation = ImageAnimation(frames, "digits_cvae_2", label)
    page = animation[3]
    height, width = page.shape[:2]
    assert height % 16 == 0 and width % 16 == 0
    labels = range(3) if label is None else [label]
    for number, (left, top, block_width, _) in zip(labels, animation.blocks, strict=True):
        scale = block_width // (3 * 9 - 1)
        for row, column in np.ndindex(3, 3):
            y, x = top + row * 9 * scale, left + column * 9 * scale
            cell = page[y : y + 8 * scale, x : x + 8 * scale]
            source = np.kron(np.moveaxis(frames.images[3, number, row, column], 0, -1), np.ones((scale, scale, 1)))
            assert (cell == np.broadcast_to(source, cell.shape)).all()
    if label is not None:
        assert 360 <= width <= 500


def test_a_conditional_model_gets_all_labels_each_and_the_codes(tmp_path: Path) -> None:
    frames = digit_frames(frames=3, labels=2)
    finished: list[str] = []
    captions = animate(frames, tmp_path, "digits_cvae_2", list("012"), LOSSES, progress=finished.append)
    names = ["all", "label_0", "label_1", "scatter"]
    assert finished == names
    assert [caption["file"] for caption in captions] == [f"{name}.mp4" for name in names]
    assert json.loads((tmp_path / "captions.json").read_text()) == captions
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"captions.json", *(caption[key] for caption in captions for key in ("file", "gif"))}
    assert captions[2]["title"].endswith(", label 1") and "step 0 to 60" in captions[2]["alt"]
    again = tmp_path / "again"
    again.mkdir()
    animate(frames, again, "digits_cvae_2", list("012"), LOSSES)
    for name in files:
        assert (tmp_path / name).read_bytes() == (again / name).read_bytes(), name
    assert [bool(caption.get("blocks")) for caption in captions] == [True, False, False, False]
    page = ImageAnimation(frames, "digits_cvae_2", None, losses=LOSSES)[2]
    for label, (left, top, width, height) in enumerate(captions[0]["blocks"]):
        block = page[top : top + height, left : left + width]
        scale = width // (3 * 9 - 1)
        assert (block[::scale, ::scale, 0][:8, :8] == frames.images[2, label, 0, 0, 0]).all()
        assert (page[top - 1, left : left + width] > 250).all(), "the block begins earlier"


def test_of_many_labels_the_films_say_which_they_show(tmp_path: Path) -> None:
    classes = [str(label) for label in range(26)]
    frames = replace(digit_frames(frames=2, labels=2), labels=["3", "17"])
    captions = animate(frames, tmp_path, "letters", classes, LOSSES, shown=[3, 17])
    assert [caption["file"] for caption in captions] == ["all.mp4", "label_3.mp4", "label_17.mp4", "scatter.mp4"]
    assert captions[0]["title"].endswith(", 2 of 26 labels") and captions[2]["title"].endswith(", label 17")


@pytest.mark.parametrize(("height", "width"), [(128, 128), (48, 96), (128, 16)])
def test_large_images_make_no_larger_films(height: int, width: int) -> None:
    frames = digit_frames(frames=2, labels=10, channels=3)
    frames = replace(frames, images=np.zeros((2, 10, 7, 7, 3, height, width), np.uint8), labels=list("0123456789"))
    for label in (None, 2):
        page = ImageAnimation(frames, "photos_cvae", label, losses=None)[0]
        assert max(page.shape) <= (1400 if label is None else 720)


def test_an_unconditional_model_without_codes_has_one_animation(tmp_path: Path) -> None:
    frames = digit_frames(frames=1, labels=1)
    frames = replace(frames, codes=frames.codes[:, :0], code_labels=frames.code_labels[:0])
    captions = animate(frames, tmp_path, "mnist_vae_2", CLASSES, LOSSES, fps=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.gif", "all.mp4", "captions.json"]
    kinds = {"map": "Map of the latent space", "samples": "Samples of the same codes, drawn from N(0, I)"}
    assert captions[0]["title"] == kinds[frames.kind] and "blocks" not in captions[0]


def test_the_stage_writes_the_folder_or_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AtlasError, match="train@digits_cvae_2"):
        stage.animate_run("digits_cvae_2")
    with pytest.raises(AtlasError, match="digits_cvae_2"):
        stage.animate_run("digits_cvae_3")
    model = Path("outputs/models/digits_cvae_2")
    write_frames(model / "frames.npz", labels=np.array([""]), images=np.zeros((5, 1, 3, 3, 1, 4, 4), np.uint8))
    (model / "model.json").write_text(json.dumps({"dataset": "digits", "classes": list("0123456789")}))
    (model / "history.csv").write_text("epoch,step,split,rate\n1,60,train,3.5\n2,120,train,\n")
    stage.animate_run("digits_cvae_2")
    assert len(list(Path("outputs/animations/digits_cvae_2").iterdir())) == 2 * 2 + 1
