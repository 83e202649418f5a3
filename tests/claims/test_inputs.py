"""Files that the comparison reads: seeds and ImageNet metrics only where they belong to the present results."""

import hashlib
import json
from pathlib import Path

import pytest

from atlas.claims.inputs import read_curves, read_imagenet, read_metrics, read_per_image, read_seeds
from atlas.core.files import AtlasError

RUN = "mnist_gan"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (f"outputs/models/{RUN}", "outputs/metrics", "outputs/per_image", "results"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def test_imagenet_metrics_count_for_the_present_weights_only(folder: Path) -> None:
    weights = folder / "outputs" / "models" / RUN / "weights.safetensors"
    weights.write_bytes(b"weights")
    entry = {"sha256": hashlib.sha256(b"weights").hexdigest(), "metrics": {"imagenet_kernel": 1.5}}
    (folder / "results" / "imagenet.json").write_text(json.dumps({RUN: entry}))
    assert read_imagenet(RUN) == {"imagenet_kernel": 1.5} and read_imagenet("mnist_vae_2") == {}
    (folder / "outputs" / "metrics" / f"{RUN}.json").write_text('{"frechet": 2.0}')
    assert read_metrics(RUN) == {"frechet": 2.0, "imagenet_kernel": 1.5}
    weights.write_bytes(b"others")
    assert read_imagenet(RUN) == {}


def test_a_name_that_is_no_metric_is_refused(folder: Path) -> None:
    (folder / "outputs" / "metrics" / f"{RUN}.json").write_text('{"frechett": 2.0}')
    with pytest.raises(AtlasError, match=r"mnist_gan\.json: metric 'frechett' is not in src/atlas/metrics/registry"):
        read_metrics(RUN)


def test_seeds_are_of_known_runs_and_of_this_scale(folder: Path) -> None:
    seeds = {"2": {"frechet": 1.0}}
    entries = {RUN: {"settings": {"scale": "cpu"}, "seeds": seeds}, "gone": {"seeds": seeds}}
    (folder / "results" / "seeds.json").write_text(json.dumps(entries))
    assert read_seeds([RUN, "mnist_vae_2"], "cpu") == {RUN: {2: {"frechet": 1.0}}}
    assert read_seeds([RUN], "smoke") == {}


def test_a_damaged_file_names_the_stage_that_writes_it_again(folder: Path) -> None:
    (folder / "outputs" / "per_image" / f"{RUN}.npz").write_bytes(b"PK damaged")
    with pytest.raises(AtlasError, match=rf"is damaged .* run `dvc repro --force evaluate@{RUN}`"):
        read_per_image(RUN)


def test_curves_have_a_row_for_each_epoch_split_and_term(folder: Path) -> None:
    history = "epoch,step,split,nelbo,rate\n1,40,train,150.5,3.5\n1,40,validation,151.5,\n"
    (folder / "outputs" / "models" / RUN / "history.csv").write_text(history)
    rows = read_curves(RUN, "mnist")
    assert [(row["split"], row["term"], row["value"]) for row in rows] == [
        ("train", "nelbo", "150.5"), ("train", "rate", "3.5"), ("validation", "nelbo", "151.5"),
    ]  # fmt: skip
    assert list(rows[0]) == ["run", "dataset", "epoch", "step", "split", "term", "value"]
