"""Metric parts of the benchmark and write them to results/benchmarks.json; the other parts stay as they are."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from atlas.core import settings as settings_file
from atlas.core.device import DeviceConfig, device_config
from atlas.core.files import AtlasError, run_stage
from atlas.core.files import atomic_write, write_json
from benchmarks import levers, processes, quality, report, scaling, speed
from benchmarks.cases import Case, cases, load
from benchmarks.clock import Pace, Progress
from benchmarks.records import Benchmarks, Record

PARTS = {
    "speed": "images a second of our trainer and of a plain PyTorch loop, every model, both data sets",
    "levers": "what each thing that makes a step fast is worth",
    "scaling": "cost against batch size, width and data set",
    "memory": "peak memory of stages of default runs",
    "startup": "how long commands take to start",
    "quality": "the same quality as the plain loop, over three seeds",
    "learning": "time to quality",
}
USUAL = ("speed", "levers", "scaling", "memory", "startup")
TABLES = {"benchmarks.md": report.details, "speed.md": report.readme}
LEVERED = ("cvae", "cvae_gan")
SCALED = ("mnist_cvae_8", "mnist_cvae_gan_8")
COMPARED, EPOCHS = "mnist_cvae_2", 2
LEARNT = "mnist_cvae_gan_8"
PACE = Pace(turn=0.1, least=5, most=15, seconds=4.0)
BRIEF = Pace(turn=0.1, least=3, most=7, seconds=1.5)
MANY = Pace(turn=0.3, least=9, most=18, seconds=35.0)
TRIAL = Pace(turn=0.01, least=2, most=2, seconds=1.0)
NOISE = 320
"""Images of a trial."""


def main() -> None:
    options = _options()
    parts = options.parts or USUAL
    for part in parts:
        if part not in PARTS:
            raise AtlasError(f"found part '{part}'; allowed: {', '.join(PARTS)}")
    target: Path | None = options.output or (None if options.quick else Path("results/benchmarks.json"))
    config = device_config()
    found = read(target)
    for part in parts:
        print(f"{part}: {PARTS[part]}; {config}", flush=True)
        setattr(found, part, measure(part, config, Progress(part), options.quick, options.models))
        if target:
            write(target, found)
    print(report.details(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="parts: " + "; ".join(f"{name}: {what}" for name, what in PARTS.items()),
    )
    parser.add_argument("parts", nargs="*", help=f"which parts; none means {' '.join(USUAL)}")
    parser.add_argument("--quick", action="store_true", help="a trial in seconds on noise: the numbers mean nothing")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="of `speed`: these members only")
    parser.add_argument("--output", type=Path, help="results/benchmarks.json unless told otherwise; of a trial, none")
    return parser.parse_args()


def read(path: Path | None) -> Benchmarks:
    """Return what was measured before, or nothing.

    Raises:
        AtlasError: if the file holds something else.
    """
    if path is None or not path.exists():
        return Benchmarks()
    try:
        return Benchmarks.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AtlasError(f"{path}: {where}: {first['msg']}; delete the file to measure everything anew") from None


def write(path: Path, found: Benchmarks) -> None:
    """Write the numbers, four digits of each, and their tables beside them."""
    write_json(path, rounded(json.loads(found.model_dump_json(exclude_none=True))))
    told = read(path)
    for name, words in TABLES.items():
        with atomic_write(path.with_name(name)) as aside:
            aside.write_text(words(told), encoding="utf-8")


def rounded(value: object) -> object:
    """Return a value as JSON holds it with every fraction rounded to four digits."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def measure(part: str, config: DeviceConfig, progress: Progress, quick: bool, models: list[str] | None) -> Record:
    """Metric one part."""
    noise = NOISE if quick else None
    everything = cases()
    if part == "speed":
        return speed.measure(chosen(everything, quick, models), config, progress, TRIAL if quick else PACE, noise)
    if part == "memory":
        return processes.memory(str(config), progress, *([(), ()] if quick else []))
    if part == "startup":
        return processes.startup(str(config), progress, tries=1 if quick else 2, dvc=not quick)
    by_run = {case.run.key: case for case in everything}
    split = load("mnist", "train", config, noise)
    if part == "scaling":
        scaled = [small(by_run[SCALED[0]])] if quick else [by_run[run] for run in SCALED]
        return scaling.measure(scaled, split, config, progress, TRIAL if quick else BRIEF, 2 if quick else None)
    if part == "levers":
        wanted = [case for case in everything if case.run.dataset == "mnist" and case.run.model in LEVERED]
        wanted = [small(wanted[0])] if quick else wanted
        return levers.measure(wanted, split, config, progress, TRIAL if quick else MANY)
    settings = settings_file.load()
    validation = load("mnist", "validation", config, 500 if quick else None)
    judge = quality.judged("mnist", settings.budget.judge["mnist"].width, validation, config)
    if part == "quality":
        run = settings.run(COMPARED)
        seeds = (1,) if quick else (1, 2, 3)
        return quality.compare(run, split, validation, judge, config, progress, 1 if quick else EPOCHS, seeds)
    run = by_run[LEARNT].run
    return quality.learn(scaling.changed(run, epochs=1) if quick else run, split, judge, config, progress)


def chosen(everything: list[Case], quick: bool, models: list[str] | None) -> list[Case]:
    """Return the cases to time: of a trial, the first and the last, made small."""
    known = dict.fromkeys(case.run.model for case in everything)
    for model in models or []:
        if model not in known:
            raise AtlasError(f"--models: found '{model}'; allowed: {', '.join(known)}")
    wanted = [case for case in everything if not models or case.run.model in models]
    return [small(case) for case in (wanted[0], wanted[-1])] if quick else wanted


def small(case: Case) -> Case:
    """Return a case of which a step takes milliseconds."""
    return replace(case, run=scaling.changed(case.run, width=0.125, batch_size=16))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    run_stage(main)
