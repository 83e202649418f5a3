"""What is said before anything is installed: one line for each thing that is missing, with its remedy."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts import ready
from tests.toy import ROOT


def test_here_nothing_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["ready.py", "none"])
    ready.main()
    for check in (ready.machine, ready.venv_module):
        check(".venv")
    monkeypatch.setattr(ready, "GIGABYTES", {sys.platform: 0})
    ready.disk(".venv")
    assert capsys.readouterr() == ("", "")


def mac(release: str, processor: str) -> dict[str, Any]:
    return {
        "sys.platform": "darwin",
        "platform.machine": lambda: processor,
        "platform.mac_ver": lambda: (release, ("", "", ""), ""),
    }


@pytest.mark.parametrize(
    ("check", "missing", "message"),
    [
        ("python", {"sys.version_info": (3, 9, 6)}, r"Python 3\.11 to 3\.14 is needed; .* is .*PYTHON=python3\.12"),
        ("python", {"sys.version_info": (3, 15, 0)}, r"Python 3\.11 to 3\.14 is needed"),
        ("machine", {"platform.libc_ver": lambda: ("", "")}, r"no build .*no glibc.*needed: Linux with glibc 2\.28"),
        ("machine", {"platform.libc_ver": lambda: ("glibc", "2.17")}, r"glibc 2\.17.*needed: Linux with glibc 2\.28"),
        ("machine", {"platform.machine": lambda: "ppc64le"}, r"on ppc64le.*VENV=none"),
        ("machine", {"sys.platform": "win32"}, r"on Windows: WSL"),
        (
            "machine",
            mac("13.6", "arm64"),
            r"macOS 13, .*needed: macOS 14 or newer and an Apple silicon build of Python",
        ),
        ("machine", mac("15.1", "x86_64"), r"Python for x86_64.*needed: macOS 14"),
        ("venv_module", {"shutil.which": lambda name: None, "ready.find_spec": lambda name: None}, r"uv, or .*-venv"),
        ("git", {"shutil.which": lambda name: None}, r"git is not installed"),
        ("git", {}, r"no Git repository.*`git init`"),
        ("writable", {"os.access": lambda path, mode: False}, r"cannot be written to by this account; .*a clone"),
    ],
)
def test_what_is_missing_is_one_line_with_its_remedy(
    check: str, missing: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in missing.items():
        monkeypatch.setattr(f"scripts.{name}" if name.startswith("ready") else name, value)
    with pytest.raises(SystemExit, match=f"^error: .*{message}") as refusal:
        getattr(ready, check)(".venv")
    assert "\n" not in str(refusal.value)


def test_new_macs_and_pipelines_without_git_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config.local").write_text("[core]\n    no_scm = True\n")
    ready.git("none")
    for name, value in mac("26.0", "arm64").items():
        monkeypatch.setattr(name, value)
    ready.machine(".venv")


def test_little_room_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ready, "GIGABYTES", {sys.platform: 10**6})
    ready.disk(str(tmp_path / "not" / "yet"))
    assert f"GB are free in {tmp_path}; the environment takes about" in capsys.readouterr().err


def test_make_asks_first(tmp_path: Path) -> None:
    """In an unpacked archive nothing is installed, and every command says why."""
    (tmp_path / "scripts").mkdir()
    for name in ("Makefile", "requirements.txt", "scripts/ready.py"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    for target in ("env", "plan", "repro"):
        command = ["make", target, "VENV=environment"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode and "error: this is no Git repository" in done.stderr
    assert not (tmp_path / "environment").exists()


def test_the_environment_may_lie_in_any_folder(tmp_path: Path) -> None:
    """With blanks in its name, and begun by something that failed; nothing is asked of the network."""
    checkout = tmp_path / "my atlas ö"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / "src").mkdir()
    for name in ("Makefile", "scripts/ready.py"):
        (checkout / name).write_bytes((ROOT / name).read_bytes())
    (checkout / "requirements.txt").touch()
    (checkout / ".dvc").mkdir()
    (checkout / ".venv").mkdir()
    subprocess.run(["git", "init", "-q"], cwd=checkout, check=True)
    variables = {name: value for name, value in os.environ.items() if name not in ("VENV", "PYTHONPATH")}
    command = ["make", "env", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / ".venv/.installed").exists() and not (checkout / ".venv/tmp").exists()
    code = "import sys; print(sys.path)"
    python = checkout / ".venv/bin/python"
    shown = subprocess.run([python, "-c", code], env=variables, capture_output=True, text=True, check=True).stdout
    assert str(checkout / "src") in shown
    # What is there already is not made again.
    assert "making" not in subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True).stdout
