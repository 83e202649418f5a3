"""Two processes that train one model together against one process with the whole batch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from tests import toy
from tests.conftest import PARAMS
from torch import distributed, multiprocessing, nn

from atlas.core.datasets import Split, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import Model
from atlas.core.model import build
from atlas.nn import distributed as processes
from atlas.nn.dropout import Dropout
from atlas.training.loop import train_step, validate
from atlas.training.optimizers import KEYS, make_players
from atlas.training.distributed import check_batch, teach_together

STEPS, BATCH, SHAPE = 4, 12, (1, 16, 16)
# SGD: Adam divides by the size of a gradient, so that where there is almost none the last digits decide which way.
RULE = {"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.5}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{member: (member, {"dropout": 0.3}) for member in PARAMS["models"]},
    "seed": ("cvae_gan", {"network": "seed", "feature_loss": "cross_entropy", "dropout": 0.3}),
    "binarised": ("vae", {"likelihood": "binarized", "network": "mlp"}),
    "hinge": ("cgan", {"adversary": "hinge", "label_path": "projection", "spectral_norm": True}),
    "turns": ("cgan", {"steps": {"generator": 1, "discriminator": 3}}),
    "gates": ("cvae_gan", {"balance": {"discriminator": [0.69, None], "decoder": [None, 0.69]}}),
}
TORCHRUN = "torchrun", "--standalone", "--local-addr", "localhost", "--nproc-per-node", "2", "src/train.py"
CPU = DeviceConfig(torch.device("cpu"), bfloat16=False)


def learn(case: str) -> dict[str, Any]:
    """Train a case for some steps; return its weights and buffers, every step's terms, and what validation says."""
    member, changes = CASES[case]
    settings = {**PARAMS["models"][member], **RULE, **changes}
    if isinstance(settings.get("steps"), dict) or "balance" not in changes:
        settings.pop("balance", None)
    arguments = {name: value for name, value in settings.items() if name not in KEYS}
    torch.manual_seed(3)
    model = build(member, SHAPE, 10, {**arguments, "width": 0.125})
    players = make_players(model.train(), settings)
    teach_together(players)
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (BATCH * STEPS, *SHAPE), generator=generator, dtype=torch.uint8)
    labels = torch.arange(len(images)) % 10
    terms = []
    for step, chosen in enumerate(torch.arange(len(images)).split(BATCH)):
        mine = processes.share(chosen)
        found = train_step(model, players, to_unit(images[mine]), labels[mine], step, CPU)
        terms.append({name: value.item() for name, value in (found.players | found.terms).items()})
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "terms": terms,
        "validation": validate(model, Split(images, labels), BATCH, CPU),
        "next draw": torch.randn(3),
    }


def _one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save({case: learn(case) for case in CASES}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found, {case: of `learn`}."""
    folder = tmp_path_factory.mktemp("pair")
    multiprocessing.spawn(_one_of_two, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_make_the_steps_of_one(case: str, pair: list[dict[str, Any]]) -> None:
    alone = learn(case)
    for found in (each[case] for each in pair):
        torch.testing.assert_close(found["state"], alone["state"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["terms"], alone["terms"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found["validation"], alone["validation"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found["next draw"], alone["next draw"], rtol=0, atol=0)
    # And the training moved: equal it would be also if nothing were learnt.
    assert pair[0][case]["terms"][0] != pair[0][case]["terms"][-1]


@pytest.mark.parametrize("case", CASES)
def test_processes_stay_bit_for_bit_the_same(case: str, pair: list[dict[str, Any]]) -> None:
    first, second = (each[case] for each in pair)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_batch_must_be_a_multiple(monkeypatch: pytest.MonkeyPatch) -> None:
    check_batch("run", 7)
    monkeypatch.setattr(processes, "count", lambda: 3)
    check_batch("run", 63)
    with pytest.raises(AtlasError, match=r"runs\.run\.batch_size: found 64; allowed: a multiple of 3, the number of p"):
        check_batch("run", 64)


@pytest.mark.timeout(600)
def test_torchrun_trains_a_run(tmp_path: Path) -> None:
    """The README's command, against `python src/train.py` with the same settings."""
    folder = toy.copy(tmp_path / "toy")
    (folder / ".checkpoints").mkdir()
    toy.run(folder, "dvc", "repro", f"download@{toy.DATASET}")
    plain = {"ATLAS_PRECISION": "float32", "ATLAS_DEVICE": "cpu"}
    kept = folder / "outputs/models" / toy.RUN
    toy.run(folder, "python", "src/train.py", toy.RUN, variables=plain)
    alone = _history(kept), json.loads((kept / "model.json").read_text()), np.load(kept / "frames.npz")["images"]
    said = toy.run(folder, *TORCHRUN, toy.RUN, variables=plain)
    together = _history(kept), json.loads((kept / "model.json").read_text()), np.load(kept / "frames.npz")["images"]
    assert said.count(" steps in ") == 1 and "on 2 processes, each CPU, 1 threads, float32" in said
    assert "FutureWarning" not in said
    assert together[1] == alone[1] and not list((folder / ".checkpoints").iterdir())
    toy.run(folder, "dvc", "commit", "-f", f"train@{toy.RUN}")
    assert toy.run(folder, "dvc", "status", f"train@{toy.RUN}").strip() == toy.UP_TO_DATE
    np.testing.assert_allclose(together[0], alone[0], rtol=2e-3)
    assert np.abs(together[2].astype(int) - alone[2].astype(int)).mean() < 1


def test_torchrun_refuses_an_odd_batch(tmp_path: Path) -> None:
    folder = toy.copy(tmp_path / "toy")
    toy.run(folder, "dvc", "repro", f"download@{toy.DATASET}")
    yaml = YAML()
    content = yaml.load(folder / "params.yaml")
    content["runs"][toy.RUN]["batch_size"] = 33
    yaml.dump(content, folder / "params.yaml")
    with pytest.raises(toy.Failed, match=rf"error: runs\.{toy.RUN}\.batch_size: found 33; allowed: a multiple of 2"):
        toy.run(folder, *TORCHRUN, toy.RUN)


def _history(folder: Path) -> Any:
    rows = (folder / "history.csv").read_text().splitlines()
    cells = [[cell for cell in row.split(",") if cell and not cell.isalpha()] for row in rows[1:]]
    return np.array(cells, float)


# --- dropout: the same numbers shared out, and the law of the masks ---------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_is_a_fair_coin_for_every_feature(rate: float, layout: torch.memory_format) -> None:
    torch.manual_seed(1)
    features = torch.rand(400, 5, 7, 6).add(1).to(memory_format=layout).requires_grad_()
    dropped = Dropout(rate)(features)
    zero = (dropped == 0).double()
    # The rate in 256ths; four standard errors, of all coins, and of each place's over the images (the worst of 210).
    wanted = round(rate * 256) / 256
    sigma = (wanted * (1 - wanted)) ** 0.5
    assert abs(zero.mean() - wanted) < 4 * sigma / zero.numel() ** 0.5
    assert (zero.mean(0) - wanted).abs().max() < 4.5 * sigma / len(features) ** 0.5
    # Neighbours know nothing of each other, neither by place nor by byte of the same word.
    flat = zero.permute(0, 2, 3, 1).flatten(1) - wanted
    for gap in (1, 2, 7, 8):
        assert abs((flat[:, gap:] * flat[:, :-gap]).mean()) < 4 * sigma**2 / (flat.numel() ** 0.5)
    # What stays is scaled so that the mean stays, and so is its gradient.
    kept = dropped.detach() != 0
    torch.testing.assert_close(dropped[kept], features[kept] / (1 - wanted), rtol=1e-5, atol=0)
    dropped.sum().backward()
    torch.testing.assert_close(features.grad, kept / (1 - wanted), rtol=1e-5, atol=0)
    assert dropped.is_contiguous(memory_format=layout)


def test_dropout_of_vectors_and_views() -> None:
    torch.manual_seed(2)
    wide = torch.ones(300, 40)
    for features in (wide, wide[:, ::2], wide.t(), wide.bfloat16(), torch.ones(1, 1).expand(50, 30)):
        dropped = Dropout(0.25)(features)
        assert dropped.shape == features.shape and dropped.dtype == features.dtype
        assert abs((dropped == 0).float().mean() - 0.25) < 0.05
    assert Dropout(0.25).eval()(wide) is wide and Dropout(0.0)(wide) is wide


def test_no_member_drops_by_other_means(make: Any, member: str) -> None:
    model: Model = make(member, dropout=0.3)
    assert not any(isinstance(module, nn.Dropout) for module in model.modules())
