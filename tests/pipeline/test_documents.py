"""The documents: each command of README.md and docs/ is run as it stands there, each promise has its test."""

import os
import re
from pathlib import Path

import pytest
from tests import toy
from tests.toy import ROOT, run

from atlas.core import settings as settings_file

DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
SETTINGS = settings_file.load(ROOT / "params.yaml")
RUNS = ("mnist_cvae_8", "mnist_vae_2", "mnist_cvae_gan_8", "digits_cvae_2")
"""Those that the commands name."""

ELSEWHERE = {
    r"make test": "these are the tests",
    r"make env VENV=": "installs gigabytes; tests/scripts/test_ready.py",
    r"export VENV=none": "test_places.py works so",
    r"uv (venv|pip) .*": "installs packages",
    r"python scripts/imagenet\.py": "needs an optional extra; tests/scripts/test_imagenet.py",
    r"(python scripts/check\.py|make repro RUNS=|dvc add images/)\W*(photos|flowers).*": "test_own_images.py",
    r"dvc plots show \.checkpoints.*": "needs a training at work",
    r"dvc remote add -d team (s3|ssh):.*": "test_sharing.py, with servers of its own",
    r"dvc (get|artifacts get) https:.*": "test_sharing.py, from a folder",
    r"gto register .*": "test_sharing.py",
    r"git checkout --ours dvc\.lock": "test_sharing.py, with a conflict",
    r"git add params\.yaml dvc\.lock results docs && git commit": "test_sharing.py",
}
"""Commands that are not run here, as expressions, and where else they are, or why not."""
HERE = {
    "/mnt/share/latent-atlas": "../store",
    "SCALE=gpu": "SCALE=smoke",
    "git commit -": "git commit --allow-empty -",
    "torchrun --standalone": "torchrun --standalone --local-addr localhost",
    "dvc queue start -j 2": "dvc queue start -j 2; while dvc queue status | grep -E 'Queued|Running'; do sleep 1; done",
}
"""What stands for something of one's own, or takes days, and what is run in its place."""


def blocks(name: str, kind: str = "sh") -> list[str]:
    """Return the fenced blocks of a document, without comments and empty lines."""
    found = re.findall(rf"```{kind}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    lines = [[line.split(" #")[0].rstrip() for line in block.splitlines()] for block in found]
    return ["\n".join(line for line in block if line) for block in lines]


def commands() -> list[str]:
    return [line.strip() for name in DOCUMENTS for block in blocks(name) for line in block.splitlines()]


def elsewhere(command: str) -> bool:
    return any(re.match(pattern, command) for pattern in ELSEWHERE)


def test_what_is_not_run_is_still_in_the_documents() -> None:
    for pattern in ELSEWHERE:
        assert any(re.match(pattern, command) for command in commands()), pattern
    for words in HERE:
        assert any(words in command for command in commands()), words


def test_commands_and_links_name_only_what_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands():
        for target in re.findall(r"\bmake ([a-z-]+)", command):
            assert target in targets, command
        for name in re.findall(r"\b(?:mnist|cifar10|digits)_[a-z0-9_]+\b", command):
            assert name in SETTINGS.runs or "_my_" in name, command
        for script in re.findall(r"\b(?:src|scripts)/\w+\.py", command):
            assert (ROOT / script).is_file(), command
    for name in DOCUMENTS:
        text = re.sub(r"```.*?```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
        for place in re.findall(r'(?:src="|\]\()([^")#]+)', text):
            assert place.startswith("http") or (ROOT / name).parent.joinpath(place).exists(), f"{name}: {place}"


def test_the_readme_counts_the_runs() -> None:
    assert f"of the {len(SETTINGS.runs)} runs" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_variable_of_the_environment_is_explained() -> None:
    texts = "".join((ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").glob("*.py"), ROOT / "Makefile"]
    names = {name for path in sources for name in re.findall(r"\bATLAS_[A-Z_]+", path.read_text(encoding="utf-8"))}
    assert "ATLAS_THREADS" in names and [name for name in sorted(names) if name not in texts] == []


PROMISES = {
    "The same bytes": "pipeline/test_same_bytes.py::test_two_clones_at_different_paths_make_the_same_bytes",
    "Resuming": "pipeline/test_resume.py::test_a_training_killed_at_random_moments_ends_in_the_same_bytes",
    "Parallel trainings": "training/test_checkpoint.py::test_trainings_of_the_same_run_do_not_disturb_each_other",
    "Whole files": "pipeline/test_faults.py::test_lost_and_damaged_outputs_come_back",
    "Nothing is trusted unread": "training/test_checkpoint.py::test_a_checkpoint_that_would_run_code_is_not_read",
    "Clear errors": "core/test_settings_broken.py::test_",
    "Isolation": "pipeline/test_caching.py::test_a_stage_reads_the_settings_that_it_declares",
}
"""Each promise of docs/guarantees.md, and the first of its tests."""


def test_each_promise_has_its_test() -> None:
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8").split("## What is not promised")[0]
    assert re.findall(r"\*\*(.+?)\.\*\*", text) == list(PROMISES)
    for place in PROMISES.values():
        file, _, test = place.partition("::")
        assert f"\ndef {test}" in (ROOT / "tests" / file).read_text(), place


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.skipif("ATLAS_MIRROR" not in os.environ, reason="MNIST needs ATLAS_MIRROR: a copy of the official files")
def test_every_command_works(tmp_path: Path) -> None:
    """In the order of the documents, in one clone, with the runs that they name, at scale smoke."""
    origin, clone = tmp_path / "origin", tmp_path / "latent-atlas"
    toy.last_commit(origin)
    toy.cut(origin, RUNS, ("mnist", "digits"))
    (origin / "dvc.lock").unlink(missing_ok=True)
    run(origin, "git", "checkout", "-q", "-B", "main")
    toy.commit(origin, "some of the runs")
    run(tmp_path, "git", "clone", "-q", "--bare", str(origin), "bare.git")
    run(tmp_path, "git", "clone", "-q", "bare.git", str(clone))
    (clone / ".venv").symlink_to(Path(run(clone, "python", "-c", "import sys; print(sys.prefix)").strip()))
    # Not newer than the environment: `make` would install into the one that the tests run in.
    os.utime(clone / "requirements.txt", (0, 0))
    for key, value in (("user.name", "a"), ("user.email", "a@b.example")):
        run(clone, "git", "config", key, value)

    mirror = str((ROOT / os.environ["ATLAS_MIRROR"]).resolve())
    later = [block for name in DOCUMENTS for block in blocks(name)]
    for name in DOCUMENTS:
        scripts = [("bash", "-euc", block) for block in blocks(name)]
        scripts += [("python", "-c", block) for block in blocks(name, "python") if block.startswith("import atlas")]
        for *command, block in scripts:
            lines = block.splitlines()
            if command[0] == "bash":
                del later[0]
                # What another block says again is run there; `dvc exp run -n` would refuse the name.
                lines = [line for line in lines if not elsewhere(line.strip())]
                again = {line for other in later for line in other.splitlines() if " exp " in line}
                lines = [line for line in lines if line not in again]
                for words, instead in HERE.items():
                    lines = [line.replace(words, instead) for line in lines]
            if lines:
                run(clone, *command, "\n".join(lines), limit=2400, variables={"ATLAS_MIRROR": mirror})
            if name == "README.md":
                toy.commit(clone, "as the README says")
            elif name != "docs/sharing.md":
                run(clone, "git", "checkout", "-q", ".")
                run(clone, "dvc", "checkout", "-q")
