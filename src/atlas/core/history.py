"""History of a training: epoch means of every term as a CSV file; discriminator dominance. Needs no PyTorch."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas.core.files import atomic_write, require

Row = dict[str, Any]

DOMINANCE = "discriminator_won"
"""Column of the history: share of an epoch's steps in which the discriminator was hardly ever wrong."""
DOMINANCE_LOSS = 0.1
"""It is where its loss lies below this, in nats per image: chance is 0.69, and 0.1 is 90 % sure of the right answer.
The generator's gradient then nearly vanishes (Goodfellow et al. 2014, section 3)."""
DOMINANCE_SHARE = 0.9
"""Share of an epoch's steps from which on the generator learns next to nothing."""


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Write history.csv, a row per epoch and split: epoch, step, split, and a column per term, empty if it has none."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as tmp, tmp.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            )


def read_history(path: Path, stage: str) -> list[dict[str, str]]:
    """Read history.csv, which `stage` wrote, as text: a mapping of columns to cells for each row."""
    with require(path, stage).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def discriminator_won_since(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Discriminator dominance: the epoch since which the generator learns next to nothing, or None.

    Args:
        history: the rows of a training's history, in order, with `epoch`, `split` and, of GANs, `DOMINANCE`.
    """
    since = None
    for row in history:
        if row["split"] != "train":
            continue
        won = row.get(DOMINANCE) not in (None, "") and float(row[DOMINANCE]) >= DOMINANCE_SHARE
        since = (since or int(row["epoch"])) if won else None
    return since
