"""CUDA against the CPU: the same mathematics within the type's tolerance, the same bytes every time, graphs or not.

Without CUDA all of this is skipped. ATLAS_TEST_DEVICE=cpu puts the CPU in its place, to try the tests themselves.
"""

import copy
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import PARAMS, VARIANTS, Build, Noise, optimization
from torch import Tensor

from atlas.core.budgets import EvaluateBudget, TrainBudget
from atlas.core.datasets import Split, epoch_batches, to_unit
from atlas.core.device import DeviceConfig, device_config
from atlas.core.latent import decode_uint8, map_axes, map_codes
from atlas.core.model import Losses
from atlas.core.schema import (
    EvaluationSettings,
    InversionSettings,
    SnapshotSettings,
    TrainingSettings,
)
from atlas.core.settings import Run
from atlas.metrics.classifier import Judge, classify
from atlas.metrics.evaluate import Evaluation
from atlas.models.vae import InverseAutoregressiveFlow
from atlas.training import loop
from atlas.training.checkpoint import Checkpoints
from atlas.training.cuda_graph import WARM_UP, GraphedStep, StaticInputStep, make_step_fn
from atlas.training.loop import train, train_step
from atlas.training.optimizers import make_optimizers

pytestmark = pytest.mark.gpu

DEVICE = os.environ.get("ATLAS_TEST_DEVICE", "cuda")
# Of a gradient's length (its norm), as a share: where two pixels are all but equal, a maximum may choose the other.
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-8}


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceConfig]:
    """The machine as a stage finds it with default settings, but for the precision, which is float32."""
    if DEVICE.startswith("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA here")
    monkeypatch.setenv("ATLAS_DEVICE", DEVICE)
    monkeypatch.setenv("ATLAS_PRECISION", "float32")
    for name in ("ATLAS_GRAPH", "ATLAS_DETERMINISTIC", "ATLAS_THREADS"):
        monkeypatch.delenv(name, raising=False)
    yield device_config()
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=["float32", "bfloat16"])
def config(request: pytest.FixtureRequest, exact: DeviceConfig, monkeypatch: pytest.MonkeyPatch) -> DeviceConfig:
    """The same in both precisions."""
    monkeypatch.setenv("ATLAS_PRECISION", request.param)
    return device_config()


@pytest.fixture
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers come from the CPU's generator on every device."""
    randn, bernoulli = torch.randn, torch.bernoulli

    def randn_like(values: Tensor) -> Tensor:
        return randn(values.shape, dtype=values.dtype).to(values.device)

    def randn_cpu(*shape: int, device: torch.device | None = None, **rest: Any) -> Tensor:
        return randn(*shape, **rest).to(device or "cpu")

    monkeypatch.setattr(torch, "randn_like", randn_like)
    monkeypatch.setattr(torch, "randn", randn_cpu)
    monkeypatch.setattr(torch, "bernoulli", lambda probs: bernoulli(probs.cpu()).to(probs.device))


@pytest.fixture(params=list(TOLERANCE), ids=str)
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.dtype]:
    """A type for everything, also where a network says float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    monkeypatch.setattr(Tensor, "float", lambda self: self.to(request.param))
    yield request.param
    torch.set_default_dtype(before)


def _assert_near(tensors: list[Tensor], expected: list[Tensor], dtype: torch.dtype, what: str) -> None:
    for tensor, other in zip(tensors, expected, strict=True):
        assert tensor.dtype == other.dtype and tensor.isfinite().all(), what
        distance = (tensor.cpu().double() - other.double()).norm().item()
        assert distance <= TOLERANCE[dtype] * max(other.double().norm().item(), 1e-3), f"{what}: {distance}"


# --- the mathematics ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("same_draws")
@pytest.mark.parametrize("likelihood", ["", "binarized", "discretized_logistic"])
def test_losses_and_gradients_are_the_cpus(
    make: Build, noise: Noise, exact: DeviceConfig, dtype: torch.dtype, variant: str, likelihood: str
) -> None:
    if likelihood and VARIANTS[variant][0] not in ("vae", "ac_vae"):
        pytest.skip("has no likelihood to choose")
    changes = {"likelihood": likelihood, "noise": "pixel"} if likelihood else {}
    ours = make(variant, (3, 16, 16), latent_dim=3, **changes).to(dtype).train()
    theirs = exact.to_device(copy.deepcopy(ours))
    split = noise(12, (3, 16, 16))
    results = []
    for model, device in ((ours, torch.device("cpu")), (theirs, exact.device)):
        torch.manual_seed(5)
        losses = model.losses(to_unit(split.images).to(device, dtype), split.labels.to(device))
        gradients = [
            gradient
            for name, params in model.param_groups().items()
            for gradient in torch.autograd.grad(losses[name], params, retain_graph=True, materialize_grads=True)
        ]
        results.append((list(losses.groups.values()), list(losses.terms.values()), gradients))
    for what, expected, got in zip(("losses", "terms", "gradients"), *results, strict=True):
        _assert_near(got, expected, dtype, f"{variant}: {what}")


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_flows_log_determinant_is_the_cpus_and_its_jacobians(
    exact: DeviceConfig, dtype: torch.dtype, steps: int
) -> None:
    torch.manual_seed(0)
    ours = InverseAutoregressiveFlow(5, 4, 16, steps)
    theirs = copy.deepcopy(ours).to(exact.device)
    z, h = torch.randn(3, 5), torch.randn(3, 4)
    there = (z.to(exact.device), h.to(exact.device))
    _assert_near(list(theirs(*there)), list(ours(z, h)), dtype, "flow")
    log_sigma = theirs(*there)[1].sum(1)
    for row in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda code, row=row: theirs(code[None], there[1][row : row + 1])[0][0], there[0][row]
        )
        log_determinant = torch.linalg.slogdet(jacobian.double()).logabsdet.item()
        assert math.isclose(
            log_determinant, log_sigma[row].item(), rel_tol=1e-4, abs_tol=1e-4 if dtype == torch.float32 else 1e-9
        )


@pytest.mark.usefixtures("same_draws")
def test_metrics_are_the_cpus(make: Build, noise: Noise, exact: DeviceConfig, variant: str) -> None:
    ours = make(variant, latent_dim=3).eval()
    torch.manual_seed(1)
    judge = Judge((1, 16, 16), 10, 8).eval()
    settings = EvaluationSettings(
        subset=2000, probe_images=90, nll_pixels=800_000, gradient_images=100, transfers=300, confident=0.95
    )
    budget = EvaluateBudget(images=None, importance_samples=3, inversions=4)
    inversion = InversionSettings(steps=60, prior_weight=1.0)
    results = []
    for device in (torch.device("cpu"), exact.device):
        model, classifier = copy.deepcopy(ours), copy.deepcopy(judge)
        if device != torch.device("cpu"):
            model, classifier = exact.to_device(model), exact.to_device(classifier)
        test, training = (
            Split(split.images.to(device), split.labels.to(device)) for split in (noise(80), noise(90, seed=1))
        )
        generator = torch.Generator().manual_seed(3)
        features, unseen = (classify(classifier, to_unit(split.images))[0] for split in (test, training))
        results.append(
            Evaluation(
                model, classifier, test, training, features, unseen, True, settings, budget, generator, inversion
            ).run()
        )
    (expected, expected_per_image), (metrics, per_image) = results
    assert metrics.keys() == expected.keys() and per_image.keys() == expected_per_image.keys()
    # Accuracies are counts of 80 images, and ranks of distances may change places: two of the images at most.
    far = {name for name in metrics if metrics[name] != pytest.approx(expected[name], 0.02, 0.026)}
    assert not far
    for name, values in expected_per_image.items():
        assert torch.allclose(per_image[name].cpu().double(), values.double(), rtol=1e-3, atol=1e-3), name


def test_decoded_images_are_the_cpus(make: Build, exact: DeviceConfig, variant: str) -> None:
    ours = make(variant, latent_dim=2).eval()
    codes = map_codes(*map_axes(4, 0.05, None), 2)
    expected = decode_uint8(ours, codes, 3, torch.device("cpu")).astype(int)
    decoded = decode_uint8(exact.to_device(copy.deepcopy(ours)), codes, 3, exact.device).astype(int)
    assert abs(decoded - expected).max() <= 1


# --- the same bytes, graph or no graph ------------------------------------------------------------------------------


def _steps(
    make: Build, noise: Noise, config: DeviceConfig, variant: str, graphs: bool, **changes: Any
) -> tuple[list[bytes], StaticInputStep | GraphedStep]:
    """The state and the terms after some steps of two sets of groups, with graphs or without."""
    model = config.to_device(make(variant, latent_dim=3, dropout=0.2)).train()
    groups = make_optimizers(model, **optimization(variant, **changes))
    split = noise(43)
    split = Split(split.images.to(config.device), split.labels.to(config.device))
    config = DeviceConfig(config.device, config.bfloat16, config.deterministic, graphs)

    def act(images: Tensor, labels: Tensor, step: int) -> Losses:
        return train_step(model, groups, images, labels, step, config)

    step_fn = make_step_fn(act, groups, split, config)
    assert isinstance(step_fn, StaticInputStep | GraphedStep)
    torch.manual_seed(7)
    values = []
    steps = 4 * (WARM_UP + 3)
    for step in range(steps):
        for group in groups:
            group.set_progress(step / steps)
        losses = step_fn(next(epoch_batches(43, 8, 1, step)), step)
        values += [value.clone() for value in [*losses.groups.values(), *losses.terms.values()]]
    states = [*model.state_dict().values(), *values]
    return [value.cpu().numpy().tobytes() for value in states], step_fn


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_a_graphed_step_gives_the_same_bytes(
    make: Build, noise: Noise, config: DeviceConfig, variant: str, optimizer: str
) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "momentum": 0.5}
    defaults = optimization(variant)
    if "steps" in defaults:
        first, *others = defaults["steps"]
        settings["steps"] = {first: 1, **dict.fromkeys(others, 2)}
        settings["balance"] = {first: [0.5, 0.9]}
    graphed, step_fn = _steps(make, noise, config, variant, True, **settings)
    eager, _ = _steps(make, noise, config, variant, False, **settings)
    assert graphed == eager
    if config.device.type == "cuda":
        assert isinstance(step_fn, GraphedStep) and not step_fn.failed
        assert len(step_fn.graphs) == (2 if "steps" in settings else 1)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)


class Stopped(Exception):
    pass


@pytest.mark.usefixtures("home")
def test_training_is_deterministic_and_resumes_in_the_same_bytes(
    make: Build, noise: Noise, config: DeviceConfig, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """Twelve steps, so that graphs are at work; twice, and once stopped after the seventh."""
    monkeypatch.setattr(loop, "CHECK_EVERY", 1)
    budget = TrainBudget(epochs=3, images_seen=1, batch_size=10, min_steps=1, width=0.125, frames=4, frame_grid=2)
    run = Run("a_run", "noise", variant, 3, budget, TrainingSettings(**PARAMS["training"]), {}, {})
    snapshots = SnapshotSettings(map_quantile=0.05, codes=512, epochs=24, frame_bytes=2_000_000)
    training, validation = (
        Split(split.images.to(config.device), split.labels.to(config.device))
        for split in (noise(43), noise(15, seed=1))
    )

    def go(mark: str, stop: int = 0) -> list[Any]:
        def report(step: int, *_: object) -> None:
            if step == stop:
                raise Stopped

        torch.manual_seed(3)
        model = config.to_device(make(variant, latent_dim=3, dropout=0.2))
        groups = make_optimizers(model, **optimization(variant))
        torch.manual_seed(3)
        checkpoints = Checkpoints("a_run", mark)
        result = train(model, groups, run, snapshots, training, validation, config, checkpoints, report)
        state = [value.cpu().numpy().tobytes() for value in model.state_dict().values()]
        return [state, result.history, [array.tobytes() for snapshot in result.snapshots for array in snapshot]]

    first, second = go("one"), go("two")
    assert first == second
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    with pytest.raises(Stopped):
        go("three", stop=8)
    assert go("three") == first


def test_defaults_on_cuda(config: DeviceConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.deterministic and config.graphs
    if config.device.type != "cuda":
        return
    assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    monkeypatch.setenv("ATLAS_DETERMINISTIC", "0")
    monkeypatch.setenv("ATLAS_GRAPH", "0")
    other = device_config()
    assert not other.deterministic and not other.graphs and not torch.are_deterministic_algorithms_enabled()
    assert str(other).endswith("not deterministic, without graphs")
