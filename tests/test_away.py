"""Runs without DVC: stages as DVC reads them, interrupted and gone on with, packed, brought home undamaged or not."""

import hashlib
import io
import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import away
from atlas.away import data, home, parcels, stages
from atlas.away.luggage import ALLOWED, halved
from atlas.away.room import Room, room
from atlas.away.work import Work, Workers
from atlas.datasets import SPLITS, Dataset
from atlas.errors import AtlasError, run_stage
from atlas.files import write_json
from atlas.jobs import PER_RUN
from atlas.store import load_model

ROOT = Path(__file__).parents[1]
RUNS = ("digits_cvae_2", "digits_again")

# What the real scripts write, in no time. A file `slow` (or `broken`) in data/digits makes trainings last (or fail).
FAKE = """
import json, random, sys, time
from pathlib import Path
kind, name = Path(__file__).stem, sys.argv[1]
with open("calls", "a") as calls:
    calls.write(f"{kind}@{name}\\n")
if kind == "train":
    if Path("data/digits/broken").exists() and name == "digits_cvae_2":
        sys.exit("error: runs.digits_cvae_2: found nothing good")
    while Path("data/digits/slow").exists():
        print(f"{name}: step 10 of 100, epoch 1, nelbo 3, 90 s to go", flush=True)
        time.sleep(0.02)
def put(path, content):
    path = Path("outputs") / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
if kind in ("train", "train_judge"):
    import numpy as np
    from safetensors.numpy import save
    weights = save({"w": np.random.default_rng(0).random(4000, dtype=np.float32), "n": np.array([70000])})
if kind == "train_judge":
    put(f"judges/{name}/weights.safetensors", weights)
    put(f"judges/{name}/judge.json", {"test_accuracy": 0.98, "test_n": 359})
if kind == "train":
    put(f"models/{name}/weights.safetensors", weights)
    put(f"models/{name}/model.json", {"run": name})
    put(f"models/{name}/history.csv", b"epoch,step,split,nelbo\\n1,10,train,3.5\\n")
    put(f"timings/{name}.json", {"seconds": 1.0, "machine": "a machine"})
if kind == "sample":
    put(f"samples/{name}/samples.png", random.Random(1).randbytes(3000))
if kind == "animate":
    put(f"animations/{name}/captions.json", {})
    put(f"animations/{name}/all.mp4", random.Random(2).randbytes(9000))
    put(f"animations/{name}/all.gif", random.Random(3).randbytes(20000))
if kind == "evaluate":
    import numpy as np
    put(f"metrics/{name}.json", {"reconstruction_mse": 0.25, "frechet": 1.5, "frechet_n": 359})
    path = Path("outputs/per_image") / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, reconstruction_mse=np.ones(3))
print(f"{name}: {kind} done")
"""


def _checkout(root: Path) -> Path:
    """A checkout with the real dvc.yaml and library, stage scripts that take no time, and a little data."""
    (root / "src").mkdir(parents=True)
    (root / "src" / "atlas").symlink_to(ROOT / "src" / "atlas")
    for name in ("away.py", "compare.py"):
        shutil.copyfile(ROOT / "src" / name, root / "src" / name)
    for name in ("train_judge", *PER_RUN):
        (root / "src" / f"{name}.py").write_text(FAKE)
    for name in ("dvc.yaml", "requirements.txt"):
        shutil.copyfile(ROOT / name, root / name)
    params = (ROOT / "params.yaml").read_text()
    added = "runs:\n  digits_again: {dataset: digits, model: vae}\n"
    (root / "params.yaml").write_text(params.replace("runs:\n", added, 1))
    (root / "data" / "digits").mkdir(parents=True)
    (root / "data" / "digits" / "dataset.json").write_text("{}")
    return root


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = _checkout(tmp_path / "there")
    monkeypatch.chdir(root)
    return root


def _work(here: Room, seconds: float = 60.0, jobs: int = 2) -> tuple[Work, list[str]]:
    said: list[str] = []
    return Workers(here, RUNS, jobs, time.monotonic() + seconds, said.append).work(), said


def _calls(here: Room) -> list[str]:
    path = here.folder / "calls"
    return sorted(path.read_text().split()) if path.exists() else []


@dataclass
class Said:
    returncode: int
    stdout: str
    stderr: str


def _away(*words: str, root: Path = Path()) -> Said:
    """What `python src/away.py WORDS` in that folder says, without the seconds that starting Python takes."""
    out, complaint, code = io.TextIOWrapper(io.BytesIO(), "utf-8"), "", 0
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with chdir(root), redirect_stdout(out), patch.object(sys, "argv", ["away.py", *words]):
            run_stage(away.main)
    except SystemExit as end:
        complaint, code = f"{end.code}\n", 1
    finally:
        signal.signal(signal.SIGTERM, handler)
    out.seek(0)
    return Said(code, out.read(), complaint)


EVERYTHING = sorted(["train_judge@digits", *(f"{kind}@{run}" for kind in PER_RUN for run in RUNS)])


# --- the stages -----------------------------------------------------------------------------------------------------


def test_stages_are_those_that_dvc_reads(monkeypatch: pytest.MonkeyPatch, raw: dict[str, Any]) -> None:
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        theirs = {stage.addressing: stage for stage in repo.index.stages}
        found = stages.read(ROOT / "dvc.yaml", raw, raw["runs"])
        assert {name for name in theirs if name.split("@")[0] in stages.KINDS} == set(found)
        for name, stage in found.items():
            other = theirs[name]
            assert other.cmd == " ".join(["python", *stage.words])
            assert {out.def_path for out in other.outs} == set(stage.outs)
            assert {dep.def_path for dep in other.deps if dep.def_path != "params.yaml"} == set(stage.deps)
            (params,) = [dep for dep in other.deps if dep.def_path == "params.yaml"]
            assert set(params.params) == set(stage.params)


def test_all_stages_are_done_once_each_after_what_it_needs(repository: Path) -> None:
    here = room(repository, "smoke", None)
    result, said = _work(here)
    assert sorted(result.done) == EVERYTHING == _calls(here) and not result.failed and not result.left
    for run in RUNS:
        order = [result.done.index(name) for name in (f"train@{run}", f"sample@{run}")]
        assert order == sorted(order) and result.done.index("train_judge@digits") < result.done.index(f"evaluate@{run}")
    assert any("sample@digits_again" in line and "sample done" in line for line in said)
    assert not (repository / "outputs").exists(), "what lies beside is left alone"
    again, _ = _work(here)
    assert not again.done and _calls(here) == EVERYTHING


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ("  map_steps: 15", {f"sample@{run}" for run in RUNS}),
        ("  digits_again: {dataset: digits", {f"{kind}@digits_again" for kind in PER_RUN}),
        ("src/evaluate.py", {f"evaluate@{run}" for run in RUNS}),
        ("data/digits/dataset.json", set(EVERYTHING)),
        ("outputs/samples/digits_again", {"sample@digits_again"}),
        ("src/compare.py", set()),
    ],
)
def test_only_what_hangs_on_a_change_is_done_again(repository: Path, change: str, redone: set[str]) -> None:
    here = room(repository, "smoke", None)
    _work(here)
    if change.startswith("outputs"):
        shutil.rmtree(here.folder / change)
    elif change.startswith(" "):
        text = (repository / "params.yaml").read_text()
        new = "  map_steps: 14" if "map" in change else "  digits_again: {latent_dim: 3, dataset: digits"
        (repository / "params.yaml").write_text(text.replace(change, new))
        here.furnish()
    else:
        with (repository / change).open("a") as file:
            file.write("\n")
    result, _ = _work(here)
    assert set(result.done) == redone and not result.failed


def test_a_run_that_fails_holds_up_no_other(repository: Path) -> None:
    (repository / "data" / "digits" / "broken").touch()
    here = room(repository, "smoke", None)
    result, said = _work(here)
    assert result.failed == {"train@digits_cvae_2": "error: runs.digits_cvae_2: found nothing good"}
    assert set(result.left) == {f"{kind}@digits_cvae_2" for kind in PER_RUN if kind != "train"}
    assert here.complete(RUNS) == ["digits_again"] and any("found nothing good" in line for line in said)
    done = _away("pack", *RUNS, "--scale", "smoke", "--minutes", "1", "--to", "out")
    assert done.returncode == 1 and "error: 1 stages failed" in done.stderr and "Traceback" not in done.stderr
    assert len(list(Path("out").glob("*.zip"))) == 1, "what is done comes home nevertheless"


# --- stopped in the middle ------------------------------------------------------------------------------------------


def test_it_stops_by_itself_and_goes_on(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.away.work.SAY_EVERY", 0.3)
    slow = repository / "data" / "digits" / "slow"
    here = room(repository, "smoke", None)
    slow.touch()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if len(re.findall(r"train@\w+ \(step 10 of 100, epoch 1, nelbo 3, 90 s to go\)", line)) == 2:
            workers.until = time.monotonic()

    workers = Workers(here, RUNS, 2, time.monotonic() + 100, say)
    result = workers.work()
    assert {name for name in result.left if name.startswith("train@")} == {f"train@{run}" for run in RUNS}
    assert re.search(r"0 of 2 runs done, \d+ s before it stops, about 90 s of trainings to go; at work: ", lines[-1])
    assert result.done == ["train_judge@digits"]
    slow.unlink()
    # The data are what they were before: only the file that slows is gone, so the judge's mark is another.
    result, _ = _work(here)
    assert here.complete(RUNS) == list(RUNS) and not result.left


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_from_outside_nothing_done_is_lost(repository: Path, how: signal.Signals) -> None:
    here = room(repository, "smoke", None)
    slow = repository / "data" / "digits" / "slow"
    slow.touch()
    words = ["pack", *RUNS, "--scale", "smoke", "--minutes", "5", "--to", "out"]
    process = subprocess.Popen(
        [sys.executable, "src/away.py", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background may have Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 120
    while time.monotonic() < end and len([call for call in _calls(here) if call.startswith("train@")]) < 2:
        time.sleep(0.05)
    process.send_signal(how)
    _, complaint = process.communicate(timeout=300)
    assert process.returncode != 0 and "Traceback" not in complaint
    if how == signal.SIGKILL:
        done = _away(*words)
        assert "runs are being done there" in done.stderr, "its stages still are at work"
    (here.folder / "data" / "digits" / "slow").unlink()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        done = _away(*words)
        if "runs are being done there" not in done.stderr:
            break
        time.sleep(0.2)
    assert done.returncode == 0, done.stderr
    assert here.complete(RUNS) == list(RUNS) and "2 of 2 runs done" in done.stdout


# --- packed and brought home ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which two runs were done and packed into out/."""
    root = _checkout(tmp_path_factory.mktemp("away") / "there")
    done = _away("pack", *RUNS, "--scale", "smoke", "--minutes", "5", "--jobs", "2", "--to", "out", root=root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def packed(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive of two runs, in a copy of the checkout that made it."""
    root = tmp_path / "there"
    shutil.copytree(made, root, symlinks=True)
    monkeypatch.chdir(root)
    (archive,) = Path("out").glob("*.zip")
    return archive


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Another checkout of the same, in which nothing was done."""
    return _checkout(tmp_path / "home")


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_what_is_packed_comes_home_as_it_was(packed: Path, elsewhere: Path) -> None:
    done = _away("unpack", str(packed.parent.resolve()), root=elsewhere)
    assert done.returncode == 0, done.stderr
    theirs, ours = (_files(root / ".away" / "smoke") for root in (Path(), elsewhere))
    for name, content in theirs.items():
        if "/outputs/" in name and not name.endswith(".safetensors"):
            assert ours[name] == content, name
    for name in [name for name in theirs if name.endswith(".safetensors")]:
        before, after = (load_file(root / ".away" / "smoke" / name) for root in (Path(), elsewhere))
        assert after["w"].dtype == torch.float16 and torch.equal(after["n"], before["n"])
        assert (after["w"] - before["w"]).abs().max() < 5e-4
    results = elsewhere / "results" / "smoke"
    table = json.loads((results / "metrics.json").read_text())
    assert set(table) == set(RUNS) and table["digits_again"]["frechet"] == 1.5
    made = json.loads((results / "conditions.json").read_text())["digits_again"]["1"]
    assert made["machine"] == "a machine" and made["versions"]["PyTorch"] == torch.__version__
    assert made["seconds"].keys() == set(PER_RUN) and made["weights"] == "float16"
    assert "digits_again,digits,1,10,train,nelbo,3.5" in (results / "curves.csv").read_text().replace(",epoch", "")
    assert (
        "a machine" in (results / "conditions.md").read_text()
        and "| digits_again |" in (results / "table.md").read_text()
    )
    again = _away("pack", *RUNS, "--scale", "smoke", "--to", "out", root=elsewhere)
    assert again.returncode == 0 and "at home already: digits_cvae_2, digits_again" in again.stdout
    assert not (elsewhere / ".away" / "smoke" / "seed_1" / "calls").exists(), "nothing is done twice"


def test_another_seed_counts_as_one(packed: Path, elsewhere: Path) -> None:
    done = _away("pack", "digits_cvae_2", "--scale", "smoke", "--seed", "2", "--minutes", "1", "--to", "out")
    assert done.returncode == 0, done.stderr
    assert not any("train_judge" in call for call in _calls(Room(Path(), "smoke", 2))), "seeds share the judges"
    archives = sorted(str(path.resolve()) for path in Path("out").glob("*.zip"))
    done = _away("unpack", *archives, root=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "| digits_cvae_2 | 1, 2 |" in (elsewhere / "results" / "smoke" / "seeds.md").read_text()


def test_archives_are_no_larger_than_asked_and_the_rest_comes_later(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        everything = {*archive.namelist()} - {parcels.MANIFEST}
    got: set[str] = set()
    for call in range(9):
        more = ["--again"] if call == 0 else []
        done = _away("pack", *RUNS, "--scale", "smoke", "--minutes", "0", "--most", "0.05", "--to", f"o{call}", *more)
        assert done.returncode == 0, done.stderr
        if "nothing is left to pack" in done.stdout:
            break
        (path,) = Path(f"o{call}").glob("*.zip")
        assert path.stat().st_size <= 0.05 * 2**20
        with zipfile.ZipFile(path) as archive:
            new = {*archive.namelist()} - {parcels.MANIFEST}
        assert new and not new & got and (call or {name for name in everything if "/metrics/" in name} <= new)
        got |= new
        time.sleep(1)
    assert got == everything and call > 1


def test_half_precision_spares_what_it_cannot_hold(tmp_path: Path) -> None:
    tensors = {"small": torch.tensor([0.5, -2.0]), "large": torch.tensor([1e6, 1.0]), "count": torch.tensor([3])}
    save_file(tensors, tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(halved(tmp_path / "a.safetensors"))
    found = load_file(tmp_path / "b.safetensors")
    assert {name: value.dtype for name, value in found.items()} == {
        "small": torch.float16,
        "large": torch.float32,
        "count": torch.int64,
    }
    assert all(torch.equal(found[name].to(value.dtype), value) for name, value in tensors.items())


def _rewritten(archive: Path, target: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """A copy of an archive of which contents and manifest were changed."""
    with zipfile.ZipFile(archive) as old:
        contents = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(contents.pop(parcels.MANIFEST))
    change(contents, manifest)
    with zipfile.ZipFile(target, "w") as new:
        for name, content in {parcels.MANIFEST: json.dumps(manifest).encode(), **contents}.items():
            new.writestr(name, content)
    return target


def _plant(name: str) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    def change(contents: dict[str, bytes], manifest: dict[str, Any]) -> None:
        contents[name] = b"{}"
        manifest["files"][name] = {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}

    return change


NAMES = [
    "../../evil.json",
    "/tmp/evil.json",
    "smoke/seed_1/outputs/metrics/../../../../../evil.json",
    "smoke\\..\\evil.json",
    "C:/evil.json",
    "smoke/seed_1/outputs/metrics/.hidden.json",
    "smoke/seed_1/params.yaml",
    "smoke/seed_1/outputs/models/evil.pt",
    "smoke/seed_1/outputs/models/evil.py",
    "smoke/seed_1/outputs/metrics/a\x00b.json",
    "smoke/seed_1/outputs/metrics/",
    "src/train.py",
    "secret/seed_1/outputs/metrics/a.json",
]


def _refused(path: Path, elsewhere: Path, words: str) -> None:
    before = _files(elsewhere)
    with pytest.raises(AtlasError, match=words) as refusal:
        home.unpack([path], elsewhere)
    assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)
    assert _files(elsewhere) == before, "something was written"


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere_are_refused(packed: Path, elsewhere: Path, name: str) -> None:
    _refused(_rewritten(packed, Path("bad.zip"), _plant(name)), elsewhere, "no place here|no plain file|damaged|other")


def test_poisoned_archives_are_refused(packed: Path, elsewhere: Path) -> None:
    link = "smoke/seed_1/outputs/metrics/link.json"

    def linked(contents: dict[str, bytes], manifest: dict[str, Any]) -> None:
        _plant(link)(contents, manifest)

    bad = _rewritten(packed, Path("link.zip"), linked)
    with zipfile.ZipFile(bad, "a") as archive:
        info = zipfile.ZipInfo("smoke/seed_1/outputs/metrics/other.json")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    _refused(bad, elsewhere, "no plain file")
    twice = Path("doubled.zip")
    shutil.copyfile(packed, twice)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[1], b"another")
    _refused(twice, elsewhere, "twice")
    more = Path("more.zip")
    shutil.copyfile(packed, more)
    with zipfile.ZipFile(more, "a") as archive:
        archive.writestr("smoke/seed_1/outputs/metrics/more.json", b"{}")
    _refused(more, elsewhere, "other files than its manifest lists")

    def wrong(contents: dict[str, bytes], manifest: dict[str, Any]) -> None:
        name = next(name for name in contents if name.endswith("metrics/digits_again.json"))
        contents[name] = contents[name].replace(b"0.25", b"0.01")

    _refused(_rewritten(packed, Path("wrong.zip"), wrong), elsewhere, "is not what the manifest says")
    _refused(_rewritten(packed, Path("kind.zip"), lambda _, m: m.pop("kind")), elsewhere, "no archive of runs")
    _refused(_rewritten(packed, Path("empty.zip"), lambda _, m: m.pop("files")), elsewhere, "damaged")


def test_one_that_says_it_holds_too_much_is_refused(
    packed: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "MOST_BYTES", 1000)
    _refused(packed, elsewhere, "holds more than")


def test_damaged_archives_are_refused_or_hold_the_same(packed: Path, elsewhere: Path) -> None:
    content = packed.read_bytes()
    whole = dict(parcels.check(packed, ALLOWED).files())
    bad, generator = Path("bad.zip"), np.random.default_rng(0)
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        bad.write_bytes(content[:size])
        _refused(bad, elsewhere, "damaged|cannot be read")
    refused = 0
    for place in generator.integers(0, len(content), 300).tolist():
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(generator.integers(8))
        bad.write_bytes(flipped)
        try:
            assert dict(parcels.check(bad, ALLOWED).files()) == whole
        except AtlasError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 200
    done = _away("unpack", str(bad.resolve()), str(Path("missing.zip").resolve()), root=elsewhere)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


# --- the data -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A data set in three colours, of more images than one sheet holds."""
    folder = tmp_path / "data" / "noise"
    folder.mkdir(parents=True)
    counts = dict(zip(SPLITS, (5000, 70, 3), strict=True))
    generator = np.random.default_rng(0)
    for name, count in counts.items():
        np.save(folder / f"{name}_images.npy", generator.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8))
        np.save(folder / f"{name}_labels.npy", generator.integers(0, 10, count, dtype=np.uint8))
    about = {"name": "noise", "shape": [3, 8, 8], "classes": list("abcdefghij"), "counts": counts}
    write_json(folder / "dataset.json", about)
    return folder


def test_a_data_set_comes_out_of_its_archives_as_it_was(pictures: Path, tmp_path: Path) -> None:
    found = data.split(pictures, tmp_path / "parts", 900_000)
    assert len(found.archives) == 2 and all(path.stat().st_size <= 900_000 for path in found.archives)
    assert data.join(found.archives, tmp_path / "there") == "noise"
    assert _files(tmp_path / "there" / "noise") == _files(pictures)
    Dataset.open(tmp_path / "there" / "noise").split("train")
    for archives in (found.archives[:1], found.archives[1:]):
        with pytest.raises(AtlasError, match=r"_\d+\.webp is in none of .*: name all|\.npy is missing"):
            data.join(archives, tmp_path / "half")
        assert not (tmp_path / "half" / "noise").exists()


def test_a_data_sets_archive_that_was_damaged_is_refused(pictures: Path, tmp_path: Path) -> None:
    (path,) = data.split(pictures, tmp_path / "parts", 1 << 24).archives

    def swapped(contents: dict[str, bytes], manifest: dict[str, Any]) -> None:
        for name in ("validation_images_000.webp", "train_images_001.webp"):
            contents[name] = contents["test_images_000.webp"]
            manifest["files"][name] = manifest["files"]["test_images_000.webp"]

    bad = _rewritten(path, tmp_path / "bad.zip", swapped)
    with pytest.raises(AtlasError, match=r"the images are not those that were split|damaged"):
        data.join([bad], tmp_path / "there")
    with pytest.raises(AtlasError, match="no place here"):
        data.join([_rewritten(path, tmp_path / "bad.zip", _plant("../evil.npy"))], tmp_path / "there")
    assert not (tmp_path / "there" / "noise").exists() and not (tmp_path / "evil.npy").exists()


# --- words ----------------------------------------------------------------------------------------------------------


def test_mistakes_are_one_line(repository: Path) -> None:
    for words, complaint in [
        (["pack", "digits_cave_2", "--to", "out"], "did you mean 'digits_cvae_2'"),
        (["pack", "--scale", "huge", "--to", "out"], "unknown scale 'huge'"),
        (["pack", "--seed", "-1", "--to", "out"], "seed"),
        (["pack", "--jobs", "0", "--to", "out"], "--jobs: found 0"),
        (["pack", "--most", "0", "--to", "out"], "--most: found 0"),
        (["pack", "--take", "numbres", "--to", "out"], "did you mean 'numbers'"),
        (["pack", "mnist_cvae_2", "--to", "out"], "data/mnist is missing; bring it"),
        (["unpack", "nowhere.zip"], "nowhere.zip cannot be read"),
        (["unpack", "data"], "data holds no archives"),
        (["join", "dvc.yaml"], "dvc.yaml is damaged"),
        (["split", "letters"], "letters"),
    ]:
        done = _away(*words)
        assert done.returncode == 1 and done.stdout.count("error") == 0, words
        assert done.stderr.startswith("error: ") and complaint in done.stderr and done.stderr.count("\n") == 1, words


def test_missing_packages_are_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('pydantic', 'imageio_ffmpeg') else real(name, *a)\n"
        "sys.path.insert(0, 'src'); sys.argv = ['away.py', *sys.argv[1:]]\n"
        "import runpy; runpy.run_path('src/away.py', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "needs"], capture_output=True, text=True, check=True)
    assert re.search(r"pydantic +missing", done.stdout) and "bring 30.8 MiB of wheels" in done.stdout
    assert re.search(r"-d WHEELS pydantic==\S+ pydantic-core==\S+ .* imageio-ffmpeg==0.6.0$", done.stdout.strip())
    done = subprocess.run(
        [sys.executable, "-c", code, "pack", "--to", "out"], capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("error: missing here: pydantic, imageio_ffmpeg;") and done.stderr.count("\n") == 1


# --- in earnest -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_run_stopped_in_its_training_comes_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, ours = tmp_path / "there", tmp_path / "home"
    for root in (there, ours):
        shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", "params.yaml", "requirements.txt"):
            shutil.copyfile(ROOT / name, root / name)
        subprocess.run([sys.executable, "src/download.py", "digits"], cwd=root, check=True, capture_output=True)
    words = ["pack", "digits_cvae_2", "--scale", "smoke", "--jobs", "1", "--minutes", "10", "--to", "out"]
    here = Room(there, "smoke", 1)
    process = subprocess.Popen([sys.executable, "src/away.py", *words], cwd=there, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while time.monotonic() < end and not list((here.folder / ".checkpoints").glob("digits_cvae_2-*/*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(300) != 0 and not (here.folder / "outputs" / "models" / "digits_cvae_2").exists()
    judge = (there / ".away" / "smoke" / "judges" / "digits" / "weights.safetensors").stat().st_mtime_ns
    done = subprocess.run(
        [sys.executable, "src/away.py", *words], cwd=there, capture_output=True, text=True, check=True
    )
    assert "1 of 1 runs done" in done.stdout
    assert (there / ".away" / "smoke" / "judges" / "digits" / "weights.safetensors").stat().st_mtime_ns == judge
    done = subprocess.run(
        [sys.executable, "src/away.py", "unpack", str(there / "out")],
        cwd=ours,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "results/smoke: 1 runs" in done.stdout and "| digits_cvae_2 |" in (
        ours / "results" / "smoke" / "table.md"
    ).read_text(encoding="utf-8")
    folder = Path(".away/smoke/seed_1/outputs/models/digits_cvae_2")
    codes, labels = torch.randn(20, 2), torch.arange(20) % 10
    with torch.no_grad():
        first, second = (
            load_model(root / folder, torch.device("cpu"))[0].decode(codes, labels) for root in (there, ours)
        )
    assert 0 < (first - second).abs().max() < 0.01, "half precision is as good as the whole"
