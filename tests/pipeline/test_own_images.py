"""Folders of one's own images through the whole pipeline, at toy size: of 100, 26 and no labels, square and not."""

import json
import os
import runpy
import shutil
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
from PIL import Image
from ruamel.yaml import YAML
from tests import toy
from tests.conftest import ROOT

from atlas.core.datasets import Dataset
from atlas.core.files import AtlasError
from atlas.data.download import download
from atlas.gallery import onnx_runtime

MIRROR = os.environ.get("ATLAS_MIRROR")
DATASETS: dict[str, Any] = {
    "animals": {"source": "my animals", "size": [16, 32], "fit": "pad"},
    "letters": {"source": "letters", "size": 16},
    "scans": {"source": "scans"},
}
RUNS: dict[str, Any] = {
    "animals_cvae_gan": {"dataset": "animals", "model": "vae_gan", "conditional": True},
    "letters_ac_vae": {"dataset": "letters", "model": "ac_vae", "latent_dim": 3},
    "scans_vae": {"dataset": "scans", "model": "vae", "latent_dim": 2},
}


def write_images(folder: Path) -> None:
    """Write 700 JPEG photographs in 100 sub-folders, 390 PNG images in 26, and 60 in none.

    The first differ in size, the sub-folders in theirs; the last are transparent, of a palette, turned.
    """
    assert MIRROR
    for name in ("cifar10", "mnist"):
        download(name, 5000, folder / "official" / name, Path(MIRROR))
    photos, scans = (Dataset.open(folder / "official" / name) for name in ("cifar10", "mnist"))
    for i, image in enumerate(photos.split("test", limit=700).images.permute(0, 2, 3, 1).numpy()):
        place = folder / "my animals" / f"{i % 100 if i < 500 else i % 50} ä"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((60, 40 + i % 30)).save(place / f"{i}.jpg", quality=95)
    for i, image in enumerate(scans.split("test", limit=390).images[:, 0].numpy()):
        place = folder / "letters" / chr(ord("A") + i % 26)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    (folder / "scans").mkdir()
    for i, digit in enumerate(scans.split("test", limit=60).images[:, 0].numpy()):
        image = Image.fromarray(digit).resize((90, 90))
        exif = Image.Exif()
        exif[0x0112] = 1 + i % 8
        image = image.convert("P") if i % 3 == 1 else image
        if i % 3 == 2:
            image.putalpha(Image.new("L", image.size, 200))
        image.save(folder / "scans" / f"scan {i}.png", exif=exif)


@pytest.mark.slow
@pytest.mark.skipif(not MIRROR, reason="set ATLAS_MIRROR to a folder of the official files to run this")
def test_folders_of_images_go_through_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path)
    shutil.copytree(ROOT / "results", tmp_path / "results")
    (tmp_path / "docs").mkdir()
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params |= {"scale": "smoke", "datasets": DATASETS, "runs": RUNS}
    params["budgets"]["smoke"]["train"] |= {"images_seen": 400}
    yaml.dump(params, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))

    def no_runtime(_: Path) -> Path:
        raise AtlasError("the test allows no network")

    monkeypatch.setattr(onnx_runtime, "fetch", no_runtime)

    def run(stage: str, *names: str) -> None:
        monkeypatch.setattr("sys.argv", [f"{stage}.py", *names])
        runpy.run_path(str(ROOT / "src" / f"{stage}.py"), run_name="__main__")

    for name in DATASETS:
        run("download", name)
        run("train_judge", name)
    for name in RUNS:
        for stage in ("train", "sample", "animate", "evaluate"):
            run(stage, name)
    for stage in ("compare", "export", "gallery"):
        run(stage)
    about = {name: json.loads((tmp_path / "data" / name / "dataset.json").read_text()) for name in DATASETS}
    assert about["animals"]["shape"] == [3, 16, 32] and len(about["animals"]["classes"]) == 100
    assert about["letters"]["shape"] == [1, 16, 16] and about["letters"]["classes"] == list(ascii_uppercase)
    assert about["scans"]["shape"] == [1, 64, 64] and about["scans"]["classes"] == []
    metrics = json.loads((tmp_path / "results" / "metrics.json").read_text())
    assert {"sharpness", "label_accuracy", "style_leak"} <= metrics["animals_cvae_gan"].keys()
    assert {"sharpness", "nelbo"} <= metrics["scans_vae"].keys() and "label_purity" not in metrics["scans_vae"]
    assert {"sharpness", "class_accuracy", "swap_accuracy"} <= metrics["letters_ac_vae"].keys()
    assert "frechet" not in metrics["scans_vae"]  # of six test images
    for name in RUNS:
        assert len(list((tmp_path / "outputs" / "samples" / name).glob("*.png"))) >= 5
        assert list((tmp_path / "outputs" / "animations" / name).glob("*.mp4"))
    assert (tmp_path / "outputs" / "gallery" / "index.html").exists()


@pytest.mark.slow
def test_the_folder_is_a_dependency_that_dvc_may_track(tmp_path: Path) -> None:
    """Of a name with a space and an umlaut, relative; another is absolute, and nobody's but its owner's."""
    origin, outside = toy.copy(tmp_path / "origin"), tmp_path / "elsewhere ö"
    for place in (origin / "my photos ä", outside):
        for i in range(24):
            (place / f"label {i % 2}").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (i, 0, 0)).save(place / f"label {i % 2}" / f"{i}.png")
    yaml = YAML()
    params = yaml.load(origin / "params.yaml")
    for name, source in (("photos", "my photos ä"), ("others", str(outside))):
        params["datasets"][name] = {"source": source, "size": 16}
        params["runs"][f"{name}_vae"] = {"dataset": name, "model": "vae"}
    yaml.dump(params, origin / "params.yaml")
    stages = ["download@photos", "download@others"]
    # DVC does what does not depend on each other in any order.
    assert set(toy.stages_run(toy.run(origin, "dvc", "repro", *stages))) == set(stages)
    assert toy.stages_run(toy.run(origin, "dvc", "repro", *stages)) == []
    Image.new("RGB", (20, 20)).save(outside / "label 1" / "new.png")
    assert list(json.loads(toy.run(origin, "dvc", "status", "--json", *stages))) == ["download@others"]
    toy.run(origin, "dvc", "repro", *stages)
    toy.run(origin, "dvc", "add", "-q", "my photos ä")
    toy.run(origin, "dvc", "remote", "add", "-q", "-d", "team", str(tmp_path / "remote"))
    toy.run(origin, "dvc", "push", "-q", "my photos ä.dvc", *stages)
    toy.commit(origin, "photos")
    shutil.move(outside, tmp_path / "gone")
    clone = toy.clone(origin, tmp_path / "clone")
    toy.run(clone, "dvc", "pull", "-q", "my photos ä.dvc", *stages)
    assert toy.stages_run(toy.run(clone, "dvc", "repro", "download@photos")) == []
    with pytest.raises(toy.Failed, match="elsewhere"):
        toy.run(clone, "dvc", "repro", "download@others")
    with pytest.raises(toy.Failed, match=r"error: datasets.others.source: there is no folder .*--allow-missing"):
        toy.run(clone, "python", "scripts/check.py", "others_vae", variables={"PYTHONPATH": str(clone / "src")})
    assert toy.stages_run(toy.run(clone, "dvc", "repro", "--allow-missing", *stages)) == []
