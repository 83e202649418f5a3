"""The album: which figures each member gets, and the codes that they show."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atlas.figures import context as shared
from atlas.album import epochs, pictures, space
from atlas.figures.context import Album
from atlas.core.datasets import Split, to_unit
from atlas.core.files import AtlasError
from atlas.core.latent import invert
from atlas.core.model import Losses, Model
from atlas.core.settings import SampleSettings
from sample import draw

Build = Callable[..., Model]
Noise = Callable[..., Split]

CLASSES = [str(number) for number in range(10)]
SETTINGS = SampleSettings(
    reconstructions=3, per_label=2, map_steps=2, map_quantile=0.05, scatter=20, transfers=2, traversals=2,
    traversal_steps=3, interpolations=2, interpolation_steps=3, inversion_steps=2,
)  # fmt: skip


class Linear(Model):
    """Codes are the first pixels; dimension 2 costs most, then 0."""

    def __init__(self, latent_dim: int = 4) -> None:
        super().__init__((1, 4, 4), 10, latent_dim)

    def losses(self, images: torch.Tensor, labels: torch.Tensor) -> Losses:
        raise NotImplementedError

    def encode(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, : self.latent_dim]

    def decode(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(codes, (0, 16 - self.latent_dim)).unflatten(1, self.shape)

    def rates(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.tensor([2.0, 0.5, 3.0, 1.0]) + 0.1 * torch.randn(len(images), 4)


class Reader(Linear):
    """Reads class 1 in every image, with a probability of three quarters."""

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.ones(len(images), dtype=torch.long), 10) * float(np.log(27))


class Free(Linear):
    has_prior = False
    rates = Model.rates


def album(model: Model, test: Split, folder: Path, **changes: int) -> Album:
    return Album("toy", model.eval(), CLASSES, test, SETTINGS.model_copy(update=changes), folder)


def keep_frames(path: Path, kind: str = "samples", **changes: np.ndarray) -> np.ndarray:
    """Frames of a training of three epochs of 4 steps, of 2 x 2 (or 3 x 3) cells."""
    side = 3 if kind == "map" else 2
    images = np.random.default_rng(0).integers(0, 256, (5, 10, side, side, 1, 4, 4), dtype=np.uint8)
    held: dict[str, Any] = {"steps": np.array([0, 1, 4, 8, 12]), "images": images, "epoch_ends": np.array([4, 8, 12])}
    np.savez_compressed(path, labels=np.array(CLASSES), kind=np.array(kind), **{**held, **changes})
    return images


def test_every_member_gets_the_figures_that_it_can_give(
    make: Build, noise: Noise, tmp_path: Path, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, tuple] = {}

    def note(name: str) -> None:
        def write(path: Path, *given: object) -> None:
            path.write_bytes(b"")
            drawn[path.name] = given

        monkeypatch.setattr(f"atlas.show.figures.{name}", write)

    for name in ("samples", "reconstructions", "latent_map", "latent_maps", "strips", "latent_scatter"):
        note(name)
    note("style_transfer")
    note("arithmetic")
    model = make(member)
    keep_frames(tmp_path / "frames.npz")
    made = album(model, noise(30), tmp_path)
    draw(made, tmp_path / "frames.npz")
    made.close()
    captions = json.loads((tmp_path / "captions.json").read_text())
    assert [caption["file"] for caption in captions] == list(drawn)
    expected = {"samples.png", "reconstructions.png", "traversals.png", "interpolations.png"}
    if model.conditional:
        expected |= {"maps.png", "transfer.png", "epochs.png", *(f"map_{label}.png" for label in range(10))}
    else:
        expected |= {"map.png"} | ({"arithmetic.png"} if model.can("encode") else set())
    expected |= {"codes.png"} if model.can("encode") else set()
    expected |= {"readings.png"} if model.can("classify") else set()
    assert set(drawn) == expected
    searched = {caption["file"] for caption in captions if "search" in caption["title"]}
    assert searched == (set() if model.can("encode") else {"reconstructions.png", "transfer.png"} & expected)
    rows, walked = drawn["traversals.png"][1], drawn["traversals.png"][0]
    assert len(rows) == 2 and walked.shape[:2] == (2, 3)
    assert all(name.endswith(" nats") for name in rows) == model.can("rates")


def test_dimensions_are_ranked_by_rate_and_else_by_variance(noise: Noise, tmp_path: Path) -> None:
    test = noise(200, (1, 4, 4))
    state = torch.random.get_rng_state()
    made = album(Linear(), test, tmp_path)
    assert made.order == [2, 0, 3, 1] and made.axes == [0, 2] and made.axis_names == ("z₁", "z₃")
    torch.testing.assert_close(made.rates, torch.tensor([2, 0.5, 3, 1]).double(), atol=0.05, rtol=0)
    assert torch.equal(torch.random.get_rng_state(), state), "draws of its own"
    assert torch.equal(shared.mean_rates(Linear(), test), shared.mean_rates(Linear(), test))
    test.images[:, 0, 0] //= torch.tensor([9, 1, 3, 1], dtype=torch.uint8)
    made = album(Free(), test, tmp_path)
    variances = to_unit(test.images).flatten(1)[:, :4].numpy().var(0)
    assert made.order == np.argsort(-variances).tolist() and made.axes == [1, 3]


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(300, 5, generator=generator) * torch.tensor([1.0, 4.0, 2.0, 0.5, 3.0]) + 7
    centre, directions, share = space.pca(codes, 2)
    torch.testing.assert_close(centre, codes.mean(0))
    _, sizes, rows = np.linalg.svd((codes - centre).double().numpy())
    assert np.abs(np.diag(rows[:2] @ directions.double().numpy())) == pytest.approx([1, 1], abs=1e-5)
    assert share == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum())
    # The same direction when all signs of the data are turned.
    torch.testing.assert_close(space.pca(-codes, 2)[1], directions)


def test_the_plane_of_a_large_code_goes_through_the_codes_mean(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, tuple] = {}
    monkeypatch.setattr("atlas.show.figures.latent_map", lambda path, *rest: given.__setitem__(path.name, rest))
    made = album(Linear(), noise(200, (1, 4, 4)), tmp_path, map_steps=3)
    space.plane(made)
    assert not given, "two dimensions of four say enough"
    monkeypatch.setattr(space, "LARGE", 4)
    space.plane(made)
    pictures, first, second, *_ = given["plane.png"]
    assert made.codes is not None
    centre, directions, _ = space.pca(made.codes, 2)
    expected = centre + first[2] * directions[:, 0] + second[0] * directions[:, 1]
    shown = pictures[0, 2].reshape(-1)[:4]
    np.testing.assert_allclose(shown, (255 * expected.clamp(0, 1)).round().numpy(), atol=1)


def test_a_walk_moves_one_dimension_of_the_first_image(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, tuple] = {}
    monkeypatch.setattr("atlas.show.figures.strips", lambda path, *rest: given.__setitem__("strips", rest))
    decoded: list[torch.Tensor] = []
    keep = Album.decode

    def decode(self: Album, codes: torch.Tensor, labels: torch.Tensor | int) -> np.ndarray:
        decoded.append(codes)
        return keep(self, codes, labels)

    monkeypatch.setattr(Album, "decode", decode)
    test = noise(50, (1, 4, 4))
    own = to_unit(test.images).flatten(1)[:, :4]
    for model, ends in ((Linear(), [[-1.6449] * 4, [1.6449] * 4]), (Free(), np.quantile(own.numpy(), [0.05, 0.95], 0))):
        made = album(model, test, tmp_path, traversals=3)
        space.traversals(made)
        codes = decoded.pop()
        assert codes.shape == (3, 3, 4)
        for row, axis in enumerate(made.order[:3]):
            others = [number for number in range(4) if number != axis]
            assert torch.equal(codes[row][:, others], own[:1, others].expand(3, 3))
            np.testing.assert_allclose(codes[row][[0, -1], axis], np.array(ends)[:, axis], atol=1e-4)
    assert given["strips"][1] == [shared.dimension(axis) for axis in made.order[:3]]


@pytest.mark.parametrize("same", [True, False])
def test_pairs_are_of_one_label_or_of_two(same: bool) -> None:
    labels = torch.arange(40) % 5
    first, last = space.pairs(labels, 12, same)
    assert ((labels[first] == labels[last]) == same).all() and (first != last).all()
    assert len(set(zip(first.tolist(), last.tolist(), strict=True))) == 12, "no pair twice"
    assert labels[first][:5].tolist() == ([0, 1, 2, 3, 4] if same else [0, 2, 4, 1, 3])


def test_straight_and_spherical_ways_have_their_ends_and_even_steps() -> None:
    starts, ends = torch.randn(2, 6, 64, generator=torch.Generator().manual_seed(0))
    shares = torch.linspace(0, 1, 5)
    for way in (space.straight, space.spherical):
        codes = way(starts, ends, shares)
        torch.testing.assert_close(codes[:, 0], starts, atol=1e-5, rtol=0)
        torch.testing.assert_close(codes[:, -1], ends, atol=1e-5, rtol=0)
    steps = space.straight(starts, ends, shares).diff(dim=1)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), atol=1e-5, rtol=0)
    starts, ends = (torch.nn.functional.normalize(side, dim=1) for side in (starts, ends))
    codes = space.spherical(starts, ends, shares)
    torch.testing.assert_close(codes.norm(dim=2), torch.ones(6, 5), atol=1e-5, rtol=0)
    angles = (codes[:, 1:] * codes[:, :-1]).sum(2).clamp(-1, 1).acos()
    torch.testing.assert_close(angles, angles[:, :1].expand_as(angles), atol=1e-3, rtol=0)


def test_arithmetic_takes_the_own_mean_and_gives_the_other(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple] = []
    monkeypatch.setattr("atlas.show.figures.arithmetic", lambda *all: given.append(all))
    test = noise(60, (1, 4, 4))
    pictures.arithmetic(album(Linear(), test, tmp_path, transfers=4))
    _, means, originals, names, moved, classes, _ = given[0]
    pixels = to_unit(test.images).flatten(1)[:, :4].numpy()
    mean = np.stack([pixels[test.labels == label].mean(0) for label in range(10)])
    np.testing.assert_allclose(means.reshape(10, 16)[:, :4], 255 * mean, atol=0.6)
    assert classes == CLASSES and names == ["0", "1", "2", "3"]
    for row in range(4):
        expected = np.clip(pixels[row] + mean - mean[row], 0, 1)
        np.testing.assert_allclose(moved[row].reshape(10, 16)[:, :4], 255 * expected, atol=0.6)
        assert np.array_equal(moved[row, row].flatten()[:4], originals[row].flatten()[:4])


def test_readings_say_how_sure_and_which_are_wrong(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple] = []
    monkeypatch.setattr("atlas.show.figures.reconstructions", lambda *all: given.append(all))
    made = album(Reader(), noise(30, (1, 4, 4)), tmp_path, reconstructions=3)
    pictures.readings(made)
    assert given[0][4:] == ([("1", "75 %")] * 3, [True, False, True])
    assert "2 of 3 wrong" in made.captions[0]["alt"]


def test_a_search_finds_the_most_probable_code(noise: Noise) -> None:
    """Of a decoder that copies the code to pixels, z minimises |x - z|^2 + |z|^2 at x / 2."""
    images = to_unit(noise(6, (1, 4, 4)).images)
    codes = invert(Linear(), images, torch.zeros(6, dtype=torch.long), 200)
    torch.testing.assert_close(codes, images.flatten(1)[:, :4] / 2, atol=0.01, rtol=0)


def test_codes_are_searched_for_once(
    make: Build, noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[int] = []

    def search(model: Model, images: torch.Tensor, labels: torch.Tensor, steps: int) -> torch.Tensor:
        searches.append(len(images))
        return labels[:, None].float().expand(-1, model.latent_dim).clone()

    monkeypatch.setattr(shared, "invert", search)
    made = album(make("cgan"), noise(40), tmp_path, reconstructions=12, transfers=3)
    chosen = made.balanced(12)
    assert made.codes_of(chosen)[:, 0].tolist() == made.test.labels[chosen].tolist()
    assert made.codes_of(made.sources)[:, 0].tolist() == [7, 7, 7]
    assert searches == [14], "twelve, and two sevens more"


@pytest.mark.parametrize(("kind", "cell"), [("map", (1, 1)), ("samples", (0, 0))])
def test_a_row_an_epoch(tmp_path: Path, kind: str, cell: tuple[int, int]) -> None:
    images = keep_frames(tmp_path / "frames.npz", kind)
    names, shown, found = epochs.load_epochs(tmp_path / "frames.npz")
    assert names == ["0", "1", "2", "3"] and found == kind
    assert np.array_equal(shown, images[[0, 2, 3, 4]][:, :, cell[0], cell[1]])


def test_frames_of_another_kind_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mnist_cvae_2"
    folder.mkdir()
    path = folder / "frames.npz"
    with pytest.raises(AtlasError, match="train@mnist_cvae_2"):
        epochs.load_epochs(path)
    path.write_bytes(b"no frames")
    with pytest.raises(AtlasError, match="damaged"):
        epochs.load_epochs(path)
    np.savez_compressed(path, steps=np.arange(2), images=np.zeros(2), kind=np.array("map"))
    with pytest.raises(AtlasError, match="lacks 'epoch_ends'; run `dvc repro --force train@mnist_cvae_2`"):
        epochs.load_epochs(path)
    keep_frames(path, epoch_ends=np.array([4, 9]))
    with pytest.raises(AtlasError, match="every epoch's end"):
        epochs.load_epochs(path)
