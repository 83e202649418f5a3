"""Several processes that train one model: the same parameters in each, gradients of the whole batch, a falling loss."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import toy
from tests.conftest import PARAMS, VARIANTS, optimization
from torch import distributed, multiprocessing

from atlas.core.datasets import to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import build, find_model
from atlas.core.settings import keywords
from atlas.training.distributed import init_process_group, rank, world_size, wrap_ddp
from atlas.training.loop import train_step
from atlas.training.optimizers import make_optimizers

BATCH, SHAPE, STEPS = 12, (1, 16, 16), 12
CPU = DeviceConfig(torch.device("cpu"), bfloat16=False)
CASES: dict[str, dict[str, Any]] = {
    # Nothing random: the steps must be those of one process.
    "ae": {"dropout": 0.0},
    "vae_iaf": {"dropout": 0.3},
    "cgan": {"balance": {"generator": [0.3, None]}},
    "cvae_gan": {"steps": {"encoder": 2, "decoder": 2, "discriminator": 1}},
}
TORCHRUN = "torchrun", "--standalone", "--local-addr", "localhost", "--nproc-per-node", "2", "src/train.py"


def learn(case: str) -> dict[str, Any]:
    """Train for some steps on one batch; return parameters, every step's losses, and the next random numbers."""
    name, differences = VARIANTS[case]
    changes = {"learning_rate": 0.002, **CASES[case]}
    settings = {**PARAMS["models"][name], **differences, **changes, "width": 0.125}
    torch.manual_seed(3)
    model = build(name, SHAPE, 10, {key: settings[key] for key in keywords(find_model(name))}).train()
    groups = make_optimizers(model, **optimization(case, **changes))
    wrap_ddp(model, groups, 3)
    images = torch.randint(200, 256, (BATCH, *SHAPE), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)
    indices = torch.arange(BATCH).chunk(world_size())[rank()]
    losses = []
    for step in range(STEPS):
        result = train_step(model, groups, to_unit(images[indices]), indices % 10, step, CPU)
        losses.append({group: value.item() for group, value in result.groups.items()})
    parameters = {key: value.detach() for key, value in model.named_parameters()}
    return {"parameters": parameters, "losses": losses, "draw": torch.randn(3)}


def _one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save({case: learn(case) for case in CASES}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    multiprocessing.spawn(_one_of_two, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for case in CASES:
        torch.testing.assert_close(first[case]["parameters"], second[case]["parameters"], rtol=0, atol=0)
        assert first[case]["losses"] == second[case]["losses"], "the losses are those of the whole batch"
        assert not torch.equal(first[case]["draw"], second[case]["draw"]), "each process draws its own numbers"
    for case in ("ae", "vae_iaf"):
        losses = [step["autoencoder"] for step in first[case]["losses"]]
        assert losses[-1] < 0.95 * losses[0], case
    alone = learn("ae")
    torch.testing.assert_close(first["ae"]["losses"], alone["losses"], rtol=1e-4, atol=1e-3)


def test_a_batch_that_cannot_be_split_is_refused() -> None:
    init_process_group(CPU, 7)
    with pytest.raises(AtlasError, match="batch_size: found 64; allowed: a multiple of 3, the number of processes"):
        init_process_group(DeviceConfig(torch.device("cpu"), bfloat16=False, processes=3), 64)


@pytest.mark.slow
def test_torchrun_trains_a_run(tmp_path: Path) -> None:
    """The README's command writes what `python src/train.py` writes, once, and the loss falls."""
    folder = toy.copy(tmp_path / "toy")
    toy.run(folder, "dvc", "repro", f"download@{toy.DATASET}")
    variables = {"ATLAS_PRECISION": "float32", "ATLAS_DEVICE": "cpu"}
    output = toy.run(folder, *TORCHRUN, toy.RUN, variables=variables)
    assert output.count(" steps in ") == 1 and "on 2 processes, each CPU, 1 threads, float32" in output
    assert not list((folder / ".checkpoints").iterdir())
    toy.run(folder, "dvc", "commit", "-f", f"train@{toy.RUN}")
    assert toy.run(folder, "dvc", "status", f"train@{toy.RUN}").strip() == toy.UP_TO_DATE
    with (folder / "outputs/models" / toy.RUN / "history.csv").open(newline="") as file:
        nelbo = [float(row["nelbo"]) for row in csv.DictReader(file) if row["split"] == "train"]
    assert nelbo[-1] < nelbo[0]
