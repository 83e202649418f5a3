"""What the project takes from elsewhere: packages by their hashes, data from their official hosts, and nothing else."""

import configparser
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests import toy
from tests.conftest import Done
from tests.toy import ROOT, run

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = (ROOT / "requirements.txt").read_text()
INSTALLED = ("dev", "remotes")
"""The extras that `make env` brings."""
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")


def entries() -> list[tuple[Requirement, list[str]]]:
    """Return (requirement, its hashes) of requirements.txt, of lines joined where a backslash says so."""
    lines = REQUIREMENTS.replace("\\\n", " ").splitlines()
    requirements = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            words, *hashes = re.split(r"\s+--hash=", line.strip())
            requirements.append((Requirement(words), hashes))
    return requirements


def applies(requirement: Requirement, python: str, machine: str) -> bool:
    """Does a line apply to CPython on Linux?"""
    where = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    return requirement.marker is None or requirement.marker.evaluate(where)


def test_every_requirement_is_one_version_with_hashes() -> None:
    assert len(entries()) > 100
    for requirement, hashes in entries():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)) and requirement.url is None, requirement
        assert hashes and all(re.fullmatch("sha256:[0-9a-f]{64}", value) for value in hashes), requirement
        assert len(set(hashes)) == len(hashes)


def test_its_head_says_how_it_is_made() -> None:
    assert "make requirements" in REQUIREMENTS[:200]
    assert re.search(r"(?m)^requirements:", (ROOT / "Makefile").read_text())


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_requirements_are_those_of_pyproject(python: str, machine: str) -> None:
    pinned: dict[str, str] = {}
    for requirement, _ in entries():
        if applies(requirement, python, machine):
            name = canonicalize_name(requirement.name)
            assert name not in pinned, f"{name} twice"
            (specifier,) = requirement.specifier
            pinned[name] = specifier.version
    wanted = [
        *PYPROJECT["dependencies"],
        *(line for extra in INSTALLED for line in PYPROJECT["optional-dependencies"][extra]),
    ]
    for line in wanted:
        requirement = Requirement(line)
        version = pinned.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), f"{line}: found {version}; run `make requirements`"


def tracked_files() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


# None of these expressions matches itself.
FORBIDDEN = {
    "a package registry's address": r"py[p]i\.org|pythonh[o]sted|registry\.n[p]m|conda\.an[a]conda|download\.p[y]torch",
    "a package index of one's own": r"-{2}(extra-)?index-url|-{2}find-links|-{2}trusted-host",
    "a private key": r"BEGIN [A-Z ]*PRIVATE KEY",
    "a cloud's key": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}\b",
    "a token": r"\b(ghp|gho|ghs|github_pat|glpat|hf|npm|pypi|xox[abp])[_-][0-9A-Za-z_-]{20,}",
    "an address with a password": r"://[^/\s:@{}'\"<>]+:[^/\s:@{}'\"<>]+@",
}


def forbidden(text: str) -> list[str]:
    return [what for what, pattern in FORBIDDEN.items() if re.search(pattern, text)]


def test_no_registry_and_no_secret_is_in_any_file() -> None:
    files = tracked_files()
    assert ROOT / "requirements.txt" in files
    for path in files:
        names = forbidden(path.read_bytes().decode("utf-8", errors="ignore"))
        assert not names, f"{path.relative_to(ROOT)} holds {', '.join(names)}"


@pytest.mark.parametrize(
    "text",
    [
        "https://" + "py" + "pi" + "." + "org",
        "--extra" + "-index-url https://host/" + "simple",
        "-----BEGIN OPENSSH" + " PRIVATE KEY-----",
        "key = AKIA" + "ABCDEFGHIJKLMNOP",
        "ghp" + "_" + "a" * 36,
        "ssh://me" + ":secret@host/path",
    ],
)
def test_what_is_forbidden_would_be_found(text: str) -> None:
    assert len(forbidden(text)) == 1


@pytest.mark.xdist_group("pipeline")
def test_dvc_reports_to_nobody_and_its_committed_settings_hold_no_secret(done: Done) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc" / "config")
    assert config["core"]["analytics"] == "false" and config["core"]["check_update"] == "false"
    secrets = ("password", "secret", "token", "access_key", "connection_string", "credential", "passphrase")
    for section in config.sections():
        assert not [name for name in config[section] if any(word in name for word in secrets)], section
    # As DVC itself understands them, where nobody has any settings of their own.
    code = "from dvc.analytics import is_enabled; from dvc.repo import Repo; print(is_enabled(), Repo().config['core'])"
    output = run(done.folder, "python", "-c", code)
    assert output.startswith("False") and "'check_update': False" in output
    ignored = (ROOT / ".dvc" / ".gitignore").read_text().split()
    assert "/config.local" in ignored, "where passwords belong"


@pytest.mark.xdist_group("pipeline")
def test_the_whole_pipeline_asks_for_no_network_but_the_gallery_s_runtime(done: Done) -> None:
    """Run under a recorder that refuses: the one thing asked for is pinned by its hash, and done without."""
    assert toy.stages_run(done.output)[-1] == "gallery" and len(toy.stages_run(done.output)) == 9
    hosts = [name for _, kind, name in done.log if kind == "network"]
    assert [name for name in hosts if not name.startswith("npm pack onnxruntime-web@")] == []
    assert "the latent explorers will show maps drawn beforehand" in done.output
    assert (done.folder / "outputs/gallery/index.html").is_file()


HOSTS = {"mnist": {"ossci-datasets.s3.amazonaws.com", "yann.lecun.com"}, "cifar10": {"www.cs.toronto.edu"}}


@pytest.mark.parametrize("dataset", HOSTS)
def test_data_are_asked_of_their_official_hosts_alone(dataset: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("src", "params.yaml"):
        (folder / name).symlink_to(ROOT / name)
    variables = toy.recorded(tmp_path / "recorder")
    with pytest.raises(toy.Failed, match=r"error: .* could not be downloaded") as refusal:
        run(folder, "python", "src/download.py", dataset, variables=variables)
    assert "Traceback" not in str(refusal.value)
    hosts = set(network(variables))
    assert hosts and hosts <= HOSTS[dataset]
    documents = "".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    assert all(host in documents for host in hosts)


def test_the_recorder_refuses(tmp_path: Path) -> None:
    variables = toy.recorded(tmp_path / "recorder")
    code = "import urllib.request; urllib.request.urlopen('https://example.org/')"
    with pytest.raises(toy.Failed, match="the test allows no network"):
        run(tmp_path, "python", "-c", code, variables=variables)
    with pytest.raises(toy.Failed, match="the test allows no network"):
        run(tmp_path, "python", "-c", "import socket; socket.create_connection(('192.0.2.1', 80))", variables=variables)
    with pytest.raises(toy.Failed, match="the test allows no network"):
        run(tmp_path, "npm", "view", "nothing", variables=variables)
    assert network(variables) == ["example.org", "192.0.2.1", "npm view nothing"]


def network(variables: dict[str, str]) -> list[str]:
    """Return the hosts and commands of the network that were asked for under a recorder."""
    lines = [json.loads(line) for line in Path(variables["RECORDER_LOG"]).read_text().splitlines()]
    return [name for _, kind, name in lines if kind == "network"]
