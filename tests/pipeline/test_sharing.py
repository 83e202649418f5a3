"""Sharing: what one clone pushed to a remote, another pulls, with every figure and without any training."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from tests import toy
from tests.conftest import Done
from tests.toy import RUN, UP_TO_DATE, content, run, stages_run, tracked

BUCKET = "atlas"
KEYS = {"access_key_id": "someone", "secret_access_key": "nothing-secret"}
PASSWORD = "nothing-secret"


def check_pulled(done: Done, clone: Path) -> None:
    """The clone holds what the origin made, byte for byte, and DVC and git find nothing to do or to say about it."""
    names = tracked(done.folder)
    ours = content(done.folder, names)
    assert all(ours.values()) and content(clone, names) == ours
    assert "outputs/gallery/index.html" in names
    kinds = {Path(name).suffix for name in names}
    assert {".png", ".mp4", ".gif", ".html", ".safetensors", ".npz", ".onnx"} <= kinds
    in_git = run(done.folder, "git", "ls-files", "results").split()
    assert content(clone, in_git) == content(done.folder, in_git)
    assert UP_TO_DATE in run(clone, "dvc", "status")
    assert run(clone, "git", "status", "--porcelain", "--untracked-files=all") == ""


def at_home(done: Done, place: Path) -> Path:
    """Clone the origin together with its cache: a second checkout of those who trained."""
    folder = toy.clone(done.folder, place / "origin")
    run(folder, "dvc", "cache", "dir", "--local", str(done.folder / ".dvc" / "cache"))
    return folder


def test_a_shared_folder_gives_everything_without_training(done: Done, tmp_path: Path) -> None:
    clone = toy.clone(done.folder, tmp_path / "clone")
    assert not (clone / "outputs").exists()
    run(clone, "dvc", "pull")
    check_pulled(done, clone)
    assert "in sync" in run(clone, "dvc", "status", "--cloud")
    output = run(clone, "dvc", "repro")
    assert UP_TO_DATE in output and stages_run(output) == []

    # What git keeps of a stage counts as well: without DVC's cache, but by its hash in the lock.
    table = clone / "results" / "table.csv"
    table.write_text(table.read_text() + "\n")
    assert "results/table.csv" in run(clone, "dvc", "status", "compare")
    run(clone, "git", "checkout", "-q", "results")

    # Without a pull beforehand, repro itself fetches what it would otherwise make.
    fresh = toy.clone(done.folder, tmp_path / "fresh")
    assert stages_run(run(fresh, "dvc", "repro", "--pull")) == []
    assert content(fresh, tracked(fresh)) == content(done.folder, tracked(done.folder))


@pytest.mark.slow
def test_runs_of_two_machines_meet_on_a_third(done: Done, tmp_path: Path) -> None:
    """As docs/sharing.md says: each adds a run and pushes it; who merges both branches trains neither again."""
    entries = {"digits_ae_2": "{dataset: digits, model: ae}", "digits_vae_2": "{dataset: digits, model: vae}"}
    for name, entry in entries.items():
        clone = toy.clone(done.folder, tmp_path / name)
        run(clone, "git", "switch", "-q", "-c", name)
        run(clone, "dvc", "pull", "-q", "data/digits", "outputs/judges/digits")
        params = clone / "params.yaml"
        before = "runs:\n" if name == "digits_ae_2" else "snapshots:\n"
        after = f"runs:\n  {name}: {entry}\n" if name == "digits_ae_2" else f"  {name}: {entry}\nsnapshots:\n"
        params.write_text(params.read_text().replace(before, after, 1))
        assert f"train@{name}" in stages_run(run(clone, "dvc", "repro", f"train@{name}", f"evaluate@{name}"))
        toy.commit(clone, name)
        run(clone, "dvc", "push", "--run-cache")
        run(clone, "git", "push", "-q", "origin", name)
    third = toy.clone(done.folder, tmp_path / "third")
    merge = ("git", "-c", "user.name=a", "-c", "user.email=a@b.example", "merge", "-q", "--no-edit")
    run(third, *merge, "origin/digits_ae_2")
    with pytest.raises(toy.Failed, match=r"CONFLICT .*dvc\.lock"):
        run(third, *merge, "origin/digits_vae_2")
    assert run(third, "git", "diff", "--name-only", "--diff-filter=U").split() == ["dvc.lock"]
    run(third, "git", "checkout", "--ours", "dvc.lock")
    output = run(third, "dvc", "repro", "--pull", *(f"evaluate@{name}" for name in entries))
    assert stages_run(output) == []
    for name in entries:
        assert content(third, [f"outputs/metrics/{name}.json"]) == content(
            tmp_path / name, [f"outputs/metrics/{name}.json"]
        )


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 server with an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=KEYS["access_key_id"],
        aws_secret_access_key=KEYS["secret_access_key"],
    )
    client.create_bucket(Bucket=BUCKET)
    yield address
    server.stop()


@pytest.mark.slow
def test_an_s3_server_gives_everything_without_training(done: Done, s3: str, tmp_path: Path) -> None:
    def keys(folder: Path) -> None:
        for name, value in KEYS.items():
            run(folder, "dvc", "remote", "modify", "--local", "cloud", name, value)

    origin = at_home(done, tmp_path)
    run(origin, "dvc", "remote", "add", "-q", "-d", "cloud", f"s3://{BUCKET}/store")
    run(origin, "dvc", "remote", "modify", "cloud", "endpointurl", s3)
    keys(origin)
    run(origin, "dvc", "push")
    toy.commit(origin, "The team's remote")
    shown = run(origin, "git", "grep", "-I", "-l", "-e", "", "HEAD", "--", ".dvc")
    assert ".dvc/config\n" in shown and "config.local" not in shown

    clone = toy.clone(origin, tmp_path / "clone")
    assert KEYS["secret_access_key"] not in (clone / ".dvc" / "config").read_text()
    keys(clone)
    run(clone, "dvc", "pull")
    check_pulled(done, clone)
    assert stages_run(run(clone, "dvc", "repro")) == []


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[int]:
    """The port of an SSH server that serves files to whoever knows the password."""
    code = f"""
import asyncio, asyncssh

class Server(asyncssh.SSHServer):
    def begin_auth(self, username): return True
    def password_auth_supported(self): return True
    def validate_password(self, username, password): return password == {PASSWORD!r}

async def serve():
    key = asyncssh.generate_private_key("ssh-ed25519")
    listener = await asyncssh.listen("127.0.0.1", 0, server_factory=Server, server_host_keys=[key],
                                     sftp_factory=True, allow_scp=True)
    print(listener.get_port(), flush=True)
    await listener.wait_closed()

asyncio.run(serve())
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield int(process.stdout.readline())
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("dvc_ssh") is None, reason="dvc-ssh is not installed: `make env` brings it"
)
def test_an_ssh_server_gives_everything_without_training(done: Done, ssh: int, tmp_path: Path) -> None:
    origin = at_home(done, tmp_path)
    run(origin, "dvc", "remote", "add", "-q", "-d", "host", f"ssh://somebody@127.0.0.1:{ssh}{tmp_path / 'store'}")
    toy.commit(origin, "The team's remote")
    run(origin, "dvc", "remote", "modify", "--local", "host", "password", PASSWORD)
    run(origin, "dvc", "push")
    clone = toy.clone(origin, tmp_path / "clone")
    run(clone, "dvc", "remote", "modify", "--local", "host", "password", PASSWORD)
    run(clone, "dvc", "pull")
    check_pulled(done, clone)


def test_one_model_is_fetched_by_its_name(done: Done, tmp_path: Path) -> None:
    """By the commands of the README, from a folder that has nothing to do with the repository."""
    origin = toy.clone(done.folder, tmp_path / "origin")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    names = [f"outputs/models/{RUN}/{name}" for name in ("model.json", "weights.safetensors")]
    run(elsewhere, "dvc", "get", str(origin), f"outputs/models/{RUN}", "-o", "by_path")

    # A version is a tag of git's.
    with pytest.raises(toy.Failed, match=f"Cannot find artifact '{RUN}'|Unable to find artifact '{RUN}'"):
        run(elsewhere, "dvc", "artifacts", "get", str(origin), RUN)
    run(origin, "git", "config", "user.name", "a")
    run(origin, "git", "config", "user.email", "a@b.example")
    run(origin, "gto", "register", RUN, "--version", "v1.0.0")
    assert run(origin, "git", "tag").split() == [f"{RUN}@v1.0.0"]
    run(elsewhere, "dvc", "artifacts", "get", str(origin), RUN)

    ours = list(content(done.folder, names).values())
    for folder in (elsewhere / "by_path", elsewhere / RUN):
        assert list(content(folder, [Path(name).name for name in names]).values()) == ours
    # The rest stayed where it was.
    assert sorted(path.name for path in elsewhere.iterdir()) == ["by_path", RUN]
    assert not (origin / "outputs").exists() and not (origin / ".dvc" / "cache").exists()

    # `atlas.load` finds it in the clone's remote by the run's name alone.
    code = f"import atlas; print(atlas.load({RUN!r}, {str(origin)!r}).sample('7').shape)"
    variables = {"PYTHONPATH": str(toy.ROOT / "src"), "ATLAS_CACHE": str(tmp_path / "kept")}
    assert "(1, 1, 28, 28)" in run(elsewhere, sys.executable, "-c", code, variables=variables)
    assert list((tmp_path / "kept").rglob("weights.safetensors"))
