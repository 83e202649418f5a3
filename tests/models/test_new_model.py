"""Adding a family member is one file and one entry: the README's own example, taken through every stage of a run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.core.settings import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _block(language: str, word: str) -> str:
    """Return the README's block of code in a language that holds a word."""
    return next(block for block in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if word in block)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the sources with the README's member and a run of it on the digits, small."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "src/atlas/models/free_bits_vae.py").write_text(_block("python", "free_bits"), encoding="utf-8")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^scale: \w+", "scale: smoke", text)
    for part, entry in re.findall(r"(?ms)^(models|runs):\n(.*?)(?=^\S|\Z)", _block("yaml", "free_bits")):
        entry = entry.replace("dataset: mnist", "dataset: digits").replace("mnist_free", "digits_free")
        text = re.sub(rf"(?m)^{part}:\n", f"{part}:\n{entry}", text)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def _stage(home: Path, script: str, name: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"}
    command = [sys.executable, f"src/{script}.py", name]
    done = subprocess.run(
        command, cwd=home, env={**environment, "ATLAS_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_the_readmes_new_member_goes_through_every_stage(home: Path) -> None:
    settings = load(home / "params.yaml")
    (run,) = [key for key, run in settings.runs.items() if run.model == "free_bits_vae"]
    for script in ("download", "train_judge"):
        _stage(home, script, "digits")
    for script in ("train", "sample", "animate", "evaluate", "export"):
        assert run in _stage(home, script, run)
    about = json.loads((home / "outputs/models" / run / "model.json").read_text())
    assert about["model"] == "free_bits_vae" and about["arguments"]["free_bits"] == 0.5
    for kind in ("samples", "animations"):
        folder = home / "outputs" / kind / run
        assert all(
            (folder / caption["file"]).exists() for caption in json.loads((folder / "captions.json").read_text())
        )
    assert {path.name for path in (home / "outputs/onnx" / run).glob("*.onnx")} == {"decoder.onnx", "encoder.onnx"}
    assert {"frechet"} <= set(json.loads((home / "outputs/metrics" / f"{run}.json").read_text()))
