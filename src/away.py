"""Do runs on a machine without DVC, such as a rented GPU with a time limit, and bring home what came of them.

That machine needs a checkout, PyTorch, torchvision, and what `needs` lists; no network, no DVC, no git.

  at home    python src/away.py needs                               what to bring besides, as wheels
             python src/away.py split cifar10 --most 52             data/cifar10 as small archives in .away/parts
  away       python src/away.py join .away/parts/cifar10_*.zip      data/cifar10 again
             python src/away.py pack RUN ... --scale gpu --minutes 9 --to DIR
                                                                    do the runs, then pack what came of them into DIR;
                                                                    the same command goes on where it stopped
  at home    python src/away.py unpack DIR/*.zip                    check, unpack, write results/gpu/
             python src/readme.py                                   tables and pictures into the README

Everything happens in .away/SCALE/seed_N, beside data/ and outputs/, which stay as they are. A stage whose code, data
and settings are those of the last time is not done again, nor is a run of which results/SCALE/conditions.json says that
it came home. Where the limit comes first, a training goes on from its last checkpoint as long as .away is there.
"""

import argparse
import importlib.util
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.errors import AtlasError, run_stage
from atlas.jobs import cores

if TYPE_CHECKING:
    from atlas.away.room import Room

NEEDS = {
    "torch": ("torch", 0.0),
    "torchvision": ("torchvision", 0.0),
    "numpy": ("numpy", 0.0),
    "pydantic": ("pydantic pydantic-core annotated-types typing-inspection typing-extensions", 2.7),
    "ruamel.yaml": ("ruamel-yaml", 0.1),
    "safetensors": ("safetensors", 0.5),
    "tqdm": ("tqdm", 0.1),
    "PIL": ("pillow", 6.8),
    "matplotlib": ("matplotlib contourpy cycler fonttools kiwisolver packaging pyparsing python-dateutil six", 16.9),
    "imageio_ffmpeg": ("imageio-ffmpeg==0.6.0", 28.1),
    "sklearn": ("scikit-learn scipy joblib threadpoolctl narwhals", 43.2),
}
"""What the runs' stages import: the package, the distributions that bring it, needs included, and how many MiB their
wheels are (of requirements.txt's versions, Python 3.12, Linux, x86-64; a newer imageio-ffmpeg is twice as big)."""
PARTS = Path(".away/parts")
TAKEN = ("numbers", "figures", "weights", "films", "gifs")
"""Kinds of files, as `atlas.away.luggage` knows them."""
PACKING = 20.0
"""Seconds kept for packing before the limit."""
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("needs", help="list the packages that the stages import, and which of them are missing here")
    one = commands.add_parser("split", help="a data set's folder as small archives")
    one.add_argument("dataset", help="a folder under data/: mnist, cifar10 or digits")
    one.add_argument("--most", type=float, default=52, metavar="MIB", help="size of an archive (%(default)s)")
    one = commands.add_parser("join", help="the archives of a data set as its folder again")
    one.add_argument("archives", nargs="+", type=Path)
    one = commands.add_parser("pack", help="do runs until the time is up, and pack what is done")
    one.add_argument("runs", nargs="*", help="names under `runs` in params.yaml; none means all of them")
    one.add_argument("--to", type=Path, required=True, metavar="DIR", help="where the archives go")
    one.add_argument("--scale", help="smoke, cpu or gpu (that of params.yaml)")
    one.add_argument("--seed", type=int, help="another seed than that of params.yaml")
    one.add_argument("--minutes", type=float, default=9.0, help="stop before (%(default)s); 0: only pack")
    one.add_argument("--jobs", type=int, default=min(6, cores()), help="stages side by side (%(default)s)")
    one.add_argument("--most", type=float, default=60, metavar="MIB", help="size of an archive (%(default)s)")
    one.add_argument("--archives", type=int, default=1, help="how many at most (%(default)s)")
    one.add_argument(
        "--take",
        nargs="+",
        default=list(TAKEN),
        metavar="KIND",
        help=f"what to pack, in this order ({' '.join(TAKEN)})",
    )
    one.add_argument("--again", action="store_true", help="pack also what was packed before")
    one = commands.add_parser("unpack", help="check archives, unpack them, write results/SCALE/")
    one.add_argument("archives", nargs="+", type=Path, metavar="ARCHIVE", help="files, or folders of them")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    {"needs": needs, "split": split, "join": join, "pack": pack, "unpack": unpack}[options.command](options)


def needs(_: argparse.Namespace) -> None:
    """List what the stages import, what of it is missing here, and what bringing it would weigh."""
    missing = absent()
    for package, (distributions, mib) in NEEDS.items():
        there = "missing" if package in missing else "there"
        print(f"{package:15} {there:8} {f'{mib:5.1f} MiB' if mib else ''}  {distributions}")
    wanted = [NEEDS[package] for package in missing if NEEDS[package][1]]
    if not wanted:
        return
    names = " ".join(pinned(name) for distributions, _ in wanted for name in distributions.split())
    print(
        f"bring {sum(mib for _, mib in wanted):.1f} MiB of wheels (Python 3.12, Linux, x86-64), fetched where there is "
        "a network, and install them here with `pip install --no-index --no-deps WHEELS/*.whl`:\n"
        "pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "
        "--platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 "
        f"--platform manylinux2014_x86_64 -d WHEELS {names}"
    )


def pinned(name: str) -> str:
    """Return `name==version` as requirements.txt has it; of several, that for the newest Python."""
    lines = Path("requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [line.split(";")[0].strip(" \\") for line in lines if line.startswith(f"{name}==")]
    return found[-1] if found else name


def absent() -> list[str]:
    """Return the packages that are missing here."""
    return [package for package in NEEDS if importlib.util.find_spec(package.partition(".")[0]) is None]


def split(options: argparse.Namespace) -> None:
    from atlas.away import data

    packed = data.split(Path("data") / options.dataset, PARTS, mib(options.most, "--most"))
    for path in packed.archives:
        print(f"{path}: {path.stat().st_size / MIB:.1f} MiB")


def join(options: argparse.Namespace) -> None:
    from atlas.away import data

    name = data.join(options.archives, Path("data"))
    print(f"data/{name}: from {len(options.archives)} archives")


def pack(options: argparse.Namespace) -> None:
    """Do the runs as far as the time goes, then pack those that are through all stages."""
    started = time.monotonic()
    until = started + 60 * options.minutes - PACKING
    missing = absent()
    if missing:
        raise AtlasError(f"missing here: {', '.join(missing)}; `python src/away.py needs` says what to bring")
    for name in ("jobs", "archives"):
        if getattr(options, name) < 1:
            raise AtlasError(f"--{name}: found {getattr(options, name)}; allowed: a whole number from 1")
    most = mib(options.most, "--most")
    from atlas.settings import known

    for kind in options.take:
        known("kind of file", kind, TAKEN)
    from atlas.away.home import at_home
    from atlas.away.room import read_json, room
    from atlas.away.work import Work, Workers
    from atlas.files import write_json

    here = room(Path(), options.scale, options.seed)
    runs = [here.settings.run(run).key for run in options.runs] or list(here.settings.runs)
    marks = here.marks(here.stages(runs))
    home = at_home(here, runs, marks)
    runs = [run for run in runs if run not in home]
    print(f"{here.folder}: {len(runs)} runs" + (f"; at home already: {', '.join(home)}" if home else ""))
    if not runs:
        return
    result = Workers(here, runs, options.jobs, until, print).work() if options.minutes > 0 else Work()
    complete = here.complete(runs)
    # Also of calls that completed no run.
    spent = here.folder / "spent.json"
    seconds = read_json(spent).get("seconds", 0.0) + time.monotonic() - started
    write_json(spent, {"seconds": round(seconds, 1)})
    if complete:
        carry(here, complete, options, most)
    left = [run for run in runs if run not in complete]
    for stage, line in result.failed.items():
        print(f"failed: {stage}: {line}; the whole of it: {here.folder}/logs/{stage}.log")
    print(f"{len(complete)} of {len(runs)} runs done" + (f"; not yet: {', '.join(left)}" if left else ""))
    if result.failed:
        raise AtlasError(f"{len(result.failed)} stages failed (see above); the others were done and packed")


def carry(here: "Room", runs: list[str], options: argparse.Namespace, most: int) -> None:
    """Pack what these runs left that was not packed before."""
    from atlas.away import luggage, parcels
    from atlas.away.room import read_json
    from atlas.files import write_json

    ledger = here.folder / "packed.json"
    before = {} if options.again else read_json(ledger)
    items = [item for item in luggage.items(here, runs, options.take) if before.get(item.name) != item.stamp]
    if not items:
        print("nothing is left to pack that was not packed before (see --again)")
        return
    spent, name = here.folder / "spent.json", f"{here.scale}_{here.seed}_{int(time.time()):x}"
    about = {
        "kind": "runs",
        "pack": name,
        "seconds": read_json(spent).get("seconds", 0.0),
        "scale": here.scale,
        "seed": here.seed,
        "hardware": hardware(),
        "versions": versions(),
        "weights": "float16",
        "runs": luggage.conditions(here, runs),
    }
    packed = parcels.pack(items, about, options.to / name, most, options.archives)
    if packed.archives:
        write_json(spent, {"seconds": 0.0})
    stamps = {item.name: item.stamp for item in items}
    write_json(ledger, {**before, **{name: stamps[name] for name in packed.inside}})
    for path in packed.archives:
        print(f"{path}: {path.stat().st_size / MIB:.1f} MiB")
    print(f"packed {len(packed.inside)} files of {', '.join(runs)}")
    if packed.left:
        print(f"{len(packed.left)} files found no room, {packed.left[0]} the first: pack once more, with --minutes 0")


def hardware() -> dict[str, str | int]:
    """Return what the machine is."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"gpu": gpu, "processor": platform.machine(), "cores": cores()}


def versions() -> dict[str, str]:
    """Return the versions that results may hang on."""
    from importlib.metadata import version

    import torch

    return {
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "CUDA": str(torch.version.cuda) if torch.cuda.is_available() else "",
        "torchvision": version("torchvision"),
        "NumPy": version("numpy"),
    }


def unpack(options: argparse.Namespace) -> None:
    """Check all archives, then unpack them, and bring results/SCALE up to date."""
    from atlas import settings as settings_file
    from atlas.away import home

    archives: list[Path] = []
    for path in options.archives:
        archives += sorted(path.glob("*.zip")) if path.is_dir() else [path]
    if not archives:
        raise AtlasError(f"{options.archives[0]} holds no archives (*.zip)")
    rooms = home.unpack(archives, Path())
    for here, runs in rooms.items():
        print(f"{here.folder}: {', '.join(runs)}")
    for scale in dict.fromkeys(here.scale for here in rooms):
        runs = home.gather(Path(), scale, settings_file.load().seed)
        print(f"results/{scale}: {len(runs)} runs; `python src/readme.py` shows them")


def mib(number: float, option: str) -> int:
    if not 0.01 <= number <= 4096:
        raise AtlasError(f"{option}: found {number:g}; allowed: 0.01 to 4096 MiB")
    return int(number * MIB)


if __name__ == "__main__":
    run_stage(main)
