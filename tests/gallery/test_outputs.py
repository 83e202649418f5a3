"""Outputs of the runs and claims as the gallery reads them, and what it says of missing or damaged ones."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.gallery.example import CLAIM, REGISTRY, RUNS, build

from atlas.core.files import AtlasError
from atlas.gallery import pages
from atlas.gallery.outputs import collect, collect_claims, model_name


@pytest.mark.parametrize(
    ("lost", "command"),
    [
        ("metrics/mnist_cvae_2.json", "evaluate@mnist_cvae_2"),
        ("models/mnist_cvae_2/history.csv", "train@mnist_cvae_2"),
        ("samples/mnist_cvae_2/captions.json", "sample@mnist_cvae_2"),
        ("samples/mnist_cvae_2/samples.png", "sample@mnist_cvae_2"),
        ("animations/mnist_cvae_2/label_3.mp4", "animate@mnist_cvae_2"),
        ("judges/digits/judge.json", "train_judge@digits"),
        ("onnx/mnist_cvae_2/decoder.onnx", "dvc repro export"),
    ],
)
def test_a_missing_output_is_named_with_its_stage(copy: Path, lost: str, command: str) -> None:
    (copy / "outputs" / lost).unlink()
    with pytest.raises(AtlasError, match=re.escape(f"outputs/{lost} is missing")) as caught:
        build(copy, copy / "gallery")
    assert command in str(caught.value) and "\n" not in str(caught.value)
    assert not (copy / "gallery").exists()


@pytest.mark.parametrize(
    ("damaged", "content", "complaint"),
    [
        ("samples/mnist_ae_2/samples.png", b"no image", "cannot be read as PNG"),
        ("animations/mnist_ae_2/all.mp4", b"no video", "cannot be read as MP4"),
        ("metrics/mnist_ae_2.json", b"{", "is damaged"),
        (
            "metrics/mnist_ae_2.json",
            b"[]",
            "the file: Input should be a valid dictionary, found []; run `dvc repro --force evaluate@mnist_ae_2`",
        ),
        ("metrics/mnist_ae_2.json", b'{"rate": "low"}', "rate: Input should be a valid number, found 'low'"),
        (
            "samples/mnist_ae_2/captions.json",
            b'[{"file": "samples.png", "title": "No alt"}]',
            "0.alt: Field required, found {'file'",
        ),
        ("models/mnist_ae_2/history.csv", b"epoch,step,rate\n1,2,3\n", "'split'"),
        ("models/mnist_ae_2/history.csv", b"epoch,step,split,rate\n1,2,train,x\n", "'x'"),
        ("judges/mnist/judge.json", b"{}", "test_accuracy: Field required, found {}; run"),
    ],
)
def test_a_damaged_output_is_one_line(copy: Path, damaged: str, content: bytes, complaint: str) -> None:
    (copy / "outputs" / damaged).write_bytes(content)
    with pytest.raises(AtlasError, match=re.escape(complaint)) as caught:
        build(copy, copy / "gallery")
    assert damaged in str(caught.value) and "\n" not in str(caught.value)


def test_partial_shows_what_is_there(copy: Path) -> None:
    for kind in ("samples", "animations", "models", "onnx"):
        shutil.rmtree(copy / "outputs" / kind / "mnist_ae_2")
    (copy / "outputs" / "metrics" / "mnist_ae_2.json").unlink()
    shutil.rmtree(copy / "outputs" / "animations" / "mnist_cvae_2")
    (copy / "outputs" / "metrics" / "mnist_cvae_2.json").unlink()
    runs = collect(copy, RUNS, partial=True)
    assert [run.key for run in runs] == ["mnist_cvae_2", "digits_cvae_2"]
    assert len(runs[0].figures) == 4 and not runs[0].animations and not runs[0].metrics
    pages.build(copy / "gallery", runs, {}, [], REGISTRY, "smoke", 0)
    assert "Not evaluated yet." in (copy / "gallery" / "mnist_cvae_2.html").read_text()
    # Without an explorer, the maps of one label each are shown.
    shutil.rmtree(copy / "outputs" / "onnx")
    (without, _) = collect(copy, RUNS, partial=True)
    assert without.explorer is None and "map_9.png" in {item.source.name for item in without.figures}
    shutil.rmtree(copy / "outputs")
    with pytest.raises(AtlasError, match="no run has outputs"):
        collect(copy, RUNS, partial=True)


def test_models_have_the_names_that_people_use() -> None:
    names = {"ae": "autoencoder", "beta_vae": "beta-VAE", "vae_iaf": "VAE + IAF", "beta_cvae_iaf": "beta-CVAE + IAF"}
    names |= {"ac_vae": "class-coded VAE", "cvae_gan": "conditional VAE/GAN", "mine": "mine"}
    assert {variant: model_name(variant) for variant in names} == names


def test_damaged_claims_are_one_line_and_missing_ones_none(copy: Path) -> None:
    path = copy / "results" / "comparison.json"
    for claim, complaint in (
        ({"claim": "a"}, "claims.0.verdict: Field required"),
        (
            {**CLAIM, "n": [5]},
            r"claims.0.n: Input should be a valid dictionary, found \[5\]; run `dvc repro --force compare`",
        ),
    ):
        path.write_text(json.dumps({"claims": [claim]}))
        with pytest.raises(AtlasError, match=complaint):
            collect_claims(copy)
    path.unlink()
    assert collect_claims(copy) == []
