"""The repository's files against each other: every run of params.yaml at toy size, dvc.yaml."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from atlas.core import settings as settings_file
from atlas.core.datasets import Split, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.model import build, find_model
from atlas.metrics.classifier import Judge, classify
from atlas.metrics.evaluate import Evaluation
from atlas.metrics.registry import is_registered
from atlas.training.checkpoint import Checkpoints
from atlas.training.loop import train
from atlas.training.optimizers import make_optimizers

ROOT = Path(__file__).parents[2]
SETTINGS = settings_file.load(ROOT / "params.yaml")
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "digits": (1, 28, 28)}


@pytest.mark.parametrize("key", SETTINGS.runs)
def test_every_run_trains_and_is_evaluated_at_toy_size(
    key: str, noise: Callable[..., Split], cpu: DeviceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    run = SETTINGS.run(key)
    toy = {"epochs": 1, "batch_size": 16, "width": 0.125, "frames": 3, "frame_grid": 2}
    run = replace(run, train=run.train.model_copy(update=toy))
    split = noise(96, SHAPES[run.dataset])
    arguments, optimization = run.arguments(find_model(run.model), make_optimizers)
    torch.manual_seed(run.seed)
    model = cpu.to_device(build(run.model, SHAPES[run.dataset], 10, arguments))
    before = [parameter.clone() for parameter in model.parameters()]
    groups = make_optimizers(model, **optimization)
    checkpoints = Checkpoints(key, "toy")
    result = train(model, groups, run, SETTINGS.snapshots, split, split, cpu, checkpoints, lambda *_: None)
    assert [row["split"] for row in result.history] == ["train", "validation"]
    assert result.snapshot_steps[0] == 0 and result.snapshot_steps[-1] == 6
    labels = 10 if model.conditional else 1
    assert all(snapshot.images.shape == (labels, 2, 2, *split.images.shape[1:]) for snapshot in result.snapshots)
    changed = [bool((old != new).any()) for old, new in zip(before, model.parameters(), strict=True)]
    assert all(changed), "a parameter that is in no group"

    judge, generator = Judge(SHAPES[run.dataset], 10, 4), torch.Generator().manual_seed(0)
    evaluation = SETTINGS.evaluation.model_copy(update={"subset": 30, "transfers": 20})
    budget = SETTINGS.budgets[run.dataset].evaluate.model_copy(update={"importance_samples": 2, "inversions": 4})
    inversion = SETTINGS.inversion.model_copy(update={"steps": 2})
    features, _ = classify(judge, to_unit(split.images))
    metrics, _ = Evaluation(
        model.eval(), judge, split, split, features, features, True, evaluation, budget, generator, inversion
    ).run()
    assert all(value == value for value in metrics.values())
    assert all(map(is_registered, metrics))
    assert ("label_accuracy" in metrics) == model.conditional
    assert ("nelbo" in metrics) == model.can("elbo")


# --- dvc.yaml ---------------------------------------------------------------------------------------------------------


def test_outputs_lie_where_git_does_not_look() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for entry in PIPELINE["stages"].values():
        for out in entry.get("do", entry)["outs"]:
            if isinstance(out, str):
                assert f"/{out.split('/')[0]}/" in ignored, out
            else:
                ((path, options),) = out.items()
                assert path.startswith(("results/", "docs/")) and options == {"cache": False}, path


def test_an_artifact_is_a_model_of_its_own_name() -> None:
    for key, artifact in PIPELINE["artifacts"].items():
        run = SETTINGS.run(key)
        labels = [run.dataset, run.model]
        assert artifact == {"path": f"outputs/models/{key}", "type": "model", "labels": labels}
