"""Snapshots: when they are taken, that taking one disturbs nothing, how maps are laid out, what frames.npz holds."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Build, Noise
from torch import Tensor

from atlas.core.datasets import to_unit
from atlas.core.latent import decode_uint8, map_axes, map_codes
from atlas.core.model import Model
from atlas.core.schema import SnapshotSettings
from atlas.training.snapshots import SnapshotRecorder, epoch_ends, snapshot_steps, write_snapshots

SETTINGS = SnapshotSettings(map_quantile=0.05, codes=20, epochs=24, frame_bytes=2_000_000)


@pytest.mark.parametrize(("steps", "count"), [(40, 8), (48_000, 150), (10, 60), (1, 2)])
def test_snapshots_are_taken_from_first_to_last_and_more_often_early(steps: int, count: int) -> None:
    taken = snapshot_steps(steps, count, steps, 24)
    gaps = [later - earlier for earlier, later in itertools.pairwise(taken)]
    assert taken[0] == 0 and taken[-1] == steps and len(taken) <= count and min(gaps) > 0
    assert all(isinstance(step, int) for step in taken)
    if steps > 4 * count:
        assert len(taken) > 0.8 * count
        assert sum(step < steps / 4 for step in taken) >= len(taken) * 0.45
        assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(gaps))


def test_snapshots_are_taken_as_a_schedule_says() -> None:
    """As the text's animation: every 3 batches up to the 300th, then every 30 up to the 3,000th."""
    taken = snapshot_steps(5000, 60, 5000, 24, [[3, 300], [30, 3000]])
    assert taken == [*range(0, 300, 3), *range(300, 3001, 30), 5000]
    assert snapshot_steps(50, 60, 50, 24, [[3, 300]])[-2:] == [48, 50], "a short training ends it"


@pytest.mark.parametrize(("epochs", "count"), [(1, 1), (4, 4), (56, 24), (1000, 24)])
def test_snapshots_are_taken_at_the_ends_of_epochs(epochs: int, count: int) -> None:
    ends = epoch_ends(epochs * 7, 7, 24)
    assert len(ends) == count and ends[-1] == epochs * 7 and all(end % 7 == 0 for end in ends)
    assert set(ends) <= set(snapshot_steps(epochs * 7, 3, 7, 24))
    gaps = {later - earlier for earlier, later in itertools.pairwise(ends)}
    assert not gaps or max(gaps) - min(gaps) <= 7


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_taking_a_snapshot_disturbs_nothing(make: Build, noise: Noise, variant: str, latent_dim: int) -> None:
    model = make(variant, latent_dim=latent_dim, dropout=0.3).train()
    split = noise(30)
    recorder = SnapshotRecorder(model, 3, split, SETTINGS, seed=4)
    weights = [value.clone() for value in model.state_dict().values()]
    state = torch.get_rng_state()
    first, second = recorder.record(), recorder.record()
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(torch.equal(before, after) for before, after in zip(weights, model.state_dict().values(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(map(np.array_equal, first, second)), "the same model gives the same snapshot"
    labels = 10 if model.conditional else 1
    assert first.images.shape == (labels, 3, 3, *model.shape) and first.images.dtype == np.uint8
    assert first.codes.shape == (20 if model.can("encode") else 0, latent_dim) and first.codes.dtype == np.float16
    model.eval()
    if model.can("encode"):
        with torch.no_grad():
            codes = model.encode(to_unit(split.images[:20]), split.labels[:20])
        assert np.array_equal(first.codes, codes.half().numpy())
    recorder.record()
    assert not model.training


def test_snapshots_are_bounded_and_show_the_labels_asked_for(make: Build, noise: Noise) -> None:
    model, split = make("cvae", latent_dim=2).eval(), noise(30)
    whole = SnapshotRecorder(model, 3, split, SETTINGS, seed=4).record().images
    few = SnapshotRecorder(model, 3, split, SETTINGS, 4, [7, 2]).record().images
    assert np.array_equal(few, whole[[7, 2]])
    small = SETTINGS.model_copy(update={"frame_bytes": 2 * 4 * 256})
    assert SnapshotRecorder(model, 3, split, small, 4, [7, 2]).record().images.shape[:3] == (2, 2, 2)
    assert SnapshotRecorder(model, 3, split, small, 4).record().images.shape[:3] == (10, 1, 1), "one image at least"
    many = SnapshotRecorder(make("cvae", num_classes=100), 1, split, SETTINGS, 4).record().images
    assert len(many) == 10


def test_a_map_of_two_dimensions_of_many(make: Build, noise: Noise) -> None:
    model = make("vae", latent_dim=5).eval()
    images = SnapshotRecorder(model, 3, noise(30), SETTINGS, 4, as_map=True).record().images[0]
    codes = torch.zeros(9, 5)
    codes[:, :2] = map_codes(*map_axes(3, SETTINGS.map_quantile), 2)
    assert np.array_equal(images.reshape(9, 1, 16, 16), decode_uint8(model, codes, 0, torch.device("cpu")))


class Pixels(Model):
    """The code is the first pixels' logits; a label shifts them all."""

    conditional = True

    def __init__(self, shift: Tensor) -> None:
        super().__init__((1, 8, 8), 10, 2)
        self.shift = shift

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        pixels = torch.nn.functional.pad(codes, (0, math.prod(self.shape) - 2))
        return (pixels + self.shift[labels, None]).sigmoid().view(-1, *self.shape)


def test_a_map_rises_rightwards_and_up_and_keeps_its_label(noise: Noise) -> None:
    split = noise(20, (1, 8, 8))
    recorder = SnapshotRecorder(Pixels(torch.linspace(-1, 1, 10)), 5, split, SETTINGS, seed=0)
    pixels = recorder.record().images[:, :, :, 0, 0, :3].astype(int)
    assert (np.diff(pixels[..., 0], axis=2) > 0).all(), "the first code dimension ascends from left to right"
    assert (np.diff(pixels[..., 1], axis=1) < 0).all(), "the second code dimension is largest in the top row"
    assert (np.diff(pixels[..., 2], axis=0) > 0).all(), "each label is decoded as itself"
    # From the 5 % to the 95 % quantile of N(0, 1), the middle at the mean.
    expected = torch.tensor([-1.6449, 0, 1.6449]).sigmoid() * 255
    images = SnapshotRecorder(Pixels(torch.zeros(10)), 5, split, SETTINGS, seed=0).record().images
    assert np.abs(images[0, 0, ::2, 0, 0, 0] - expected.numpy()).max() < 1


@pytest.mark.parametrize(
    ("name", "latent_dim", "kind"), [("cvae", 2, "map"), ("vae", 5, "samples"), ("gan", 5, "samples")]
)
def test_frames_hold_the_snapshots(
    make: Build, noise: Noise, tmp_path: Path, name: str, latent_dim: int, kind: str
) -> None:
    model, split = make(name, latent_dim=latent_dim), noise(30)
    recorder = SnapshotRecorder(model, 3, split, SETTINGS, seed=4)
    snapshots = [recorder.record() for _ in range(2)]
    names, path = list("abcdefghij") if model.conditional else [""], tmp_path / "frames.npz"
    write_snapshots(path, [0, 10], snapshots, [10], split.labels.numpy(), names)
    with np.load(path, allow_pickle=False) as frames:
        assert sorted(frames) == ["code_labels", "codes", "epoch_ends", "images", "kind", "labels", "steps"]
        assert np.array_equal(frames["images"], np.stack([snapshot.images for snapshot in snapshots]))
        assert frames["steps"].tolist() == [0, 10] and frames["epoch_ends"].tolist() == [10]
        assert frames["labels"].tolist() == names
        assert frames["kind"].item() == kind
        codes = 20 if model.can("encode") else 0
        assert frames["codes"].shape == (2, codes, 2) and frames["code_labels"].tolist() == list(range(10)) * (
            codes // 10
        )
    again = tmp_path / "again.npz"
    write_snapshots(again, [0, 10], snapshots, [10], split.labels.numpy(), names)
    assert again.read_bytes() == path.read_bytes()
