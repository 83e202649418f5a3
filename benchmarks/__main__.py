"""Benchmarks: measure parts and write them to results/benchmarks.json and docs/benchmarks.md; other parts stay."""

import argparse
import datetime
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from atlas.core.device import DeviceConfig, device_config
from atlas.core.files import AtlasError, atomic_write, read_json, run_stage, write_json
from atlas.metrics.classifier import Judge
from benchmarks import levers, quality, report, speed, startup
from benchmarks.cases import CLASSES, SHAPES, Case, cases, changed, load_split
from benchmarks.speed import Pace, Row

PARTS = ("speed", "levers", "startup", "time_to_quality")
TARGET, PAGE = Path("results/benchmarks.json"), Path("docs/benchmarks.md")
SPEED_PACE, LEVER_PACE = Pace(turn=0.1, rounds=5, seconds=4.0), Pace(turn=0.3, rounds=9, seconds=35.0)
TRIAL_PACE = Pace(turn=0.01, rounds=2, seconds=0.1)
TRIAL_IMAGES = 320
LEVER_VARIANTS = ("cvae", "cvae_gan")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none means all")
    parser.add_argument("--quick", action="store_true", help="a trial in seconds on noise, which writes nothing")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            raise AtlasError(f"found part '{part}'; allowed: {', '.join(PARTS)}")
    config = device_config()
    for part in options.parts or PARTS:
        print(f"{part}: {config}", flush=True)
        started = time.monotonic()
        rows = measure(part, config, options.quick)
        print(report.table(rows))
        if not options.quick:
            write(part, rows, str(config), time.monotonic() - started)


def measure(part: str, config: DeviceConfig, quick: bool) -> list[Row]:
    """Measure one part and return its rows; `quick`: of small networks on noise, to try the benchmark itself."""
    if part == "startup":
        return startup.measure(1 if quick else 3)
    noise, chosen = TRIAL_IMAGES if quick else None, cases()
    if part == "time_to_quality":
        (case,) = (case for case in chosen if case.run.key == quality.RUN)
        run = changed(small(case).run, epochs=2) if quick else case.run
        judge = Judge(SHAPES[run.dataset], CLASSES, 8) if quick else quality.load_judge(run.dataset, config)
        return quality.measure(run, judge, config, noise)
    if part == "speed":
        chosen = [small(case) for case in (chosen[0], chosen[-1])] if quick else chosen
        return speed.measure(chosen, config, TRIAL_PACE if quick else SPEED_PACE, noise)
    chosen = [case for case in chosen if case.run.dataset == "mnist" and case.run.variant in LEVER_VARIANTS]
    chosen = [small(chosen[-1])] if quick else chosen
    return levers.measure(
        chosen, load_split("mnist", "train", config, noise), config, TRIAL_PACE if quick else LEVER_PACE
    )


def write(part: str, rows: list[Row], machine: str, seconds: float) -> None:
    """Put a part into results/benchmarks.json, four digits of each number, and write the page anew."""
    parts = read_json(TARGET, "bench") if TARGET.exists() else {}
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    about = {"machine": machine, "commit": git.stdout.strip(), "date": str(datetime.datetime.now().date())}
    parts[part] = rounded({**about, "seconds": seconds, "rows": rows})
    write_json(TARGET, parts)
    with atomic_write(PAGE) as tmp:
        tmp.write_text(report.page(parts), encoding="utf-8")


def rounded(value: Any) -> Any:
    """Return a value as JSON holds it with every fraction rounded to four digits."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def small(case: Case) -> Case:
    """Return a case of which a step takes milliseconds."""
    return replace(case, run=changed(case.run, width=0.125, batch_size=16))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    run_stage(main)
