"""Adding a model is one file and one entry: the example of docs/extending.md, trained as it stands there."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.conftest import ROOT

import atlas.models
from atlas.core.history import read_history
from atlas.core.model import load_model
from atlas.core.settings import load

RUN, MODEL = "digits_free_bits_vae", "free_bits_vae"


def _block(language: str) -> str:
    """Return the block of code in a language of the section "Add a model"."""
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8").split("## Add a model", 1)[1].split("\n## ")[0]
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return block


def _write_params(folder: Path) -> None:
    """Write params.yaml at scale smoke with the example's entries and no other run."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^scale: \w+", "scale: smoke", text)
    text = re.sub(r"(?ms)^runs:\n.*?(?=^\S)", "runs:\n", text)
    for part, entry in re.findall(r"(?ms)^(models|runs):\n(.*?)(?=^\S|\Z)", _block("yaml")):
        text = re.sub(rf"(?m)^{part}:\n", f"{part}:\n{entry}\n", text)
    text = text.replace(
        "model: free_bits_vae}", "model: free_bits_vae, epochs: 2, images: 320, frames: 3, frame_grid: 2}"
    )
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    assert list(load(folder / "params.yaml").runs) == [RUN]


def test_the_example_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / f"{MODEL}.py").write_text(_block("python"), encoding="utf-8")
    _write_params(tmp_path)
    monkeypatch.setattr(atlas.models, "__path__", [*atlas.models.__path__, str(tmp_path / "models")])
    monkeypatch.setenv("ATLAS_DEVICE", "cpu")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    try:
        runpy.run_path(str(ROOT / "src/download.py"))["download_dataset"]("digits")
        runpy.run_path(str(ROOT / "src/train.py"))["train_run"](RUN)
        model, classes = load_model(tmp_path / "outputs/models" / RUN, torch.device("cpu"))
    finally:
        sys.modules.pop(f"atlas.models.{MODEL}", None)
    about = json.loads((tmp_path / "outputs/models" / RUN / "model.json").read_text())
    assert about["model"] == MODEL and about["arguments"]["free_bits"] == 0.5 and len(classes) == 10
    rows = read_history(tmp_path / "outputs/models" / RUN / "history.csv", "train")
    losses = [float(row["loss"]) for row in rows if row["split"] == "validation"]
    assert len(losses) == 2 and losses[1] < losses[0]
    assert model.sample(torch.arange(10)).shape == (10, 1, 28, 28)


@pytest.mark.slow
def test_the_example_goes_through_every_stage(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / f"src/atlas/models/{MODEL}.py").write_text(_block("python"), encoding="utf-8")
    _write_params(tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"} | {"ATLAS_THREADS": "1"}
    for script, *arguments in (
        ("download", "digits"),
        ("train_judge", "digits"),
        *((stage, RUN) for stage in ("train", "sample", "animate", "evaluate")),
        ("export",),
    ):
        command = [sys.executable, f"src/{script}.py", *arguments]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"
    for kind in ("samples", "animations"):
        folder = tmp_path / "outputs" / kind / RUN
        captions = json.loads((folder / "captions.json").read_text())
        assert captions and all((folder / caption["file"]).exists() for caption in captions)
    onnx = {path.name for path in (tmp_path / "outputs/onnx" / RUN).glob("*.onnx")}
    assert onnx == {"decoder.onnx", "encoder.onnx"}
    assert "frechet" in json.loads((tmp_path / "outputs/metrics" / f"{RUN}.json").read_text())
