"""History of a training: epoch means of every term as a CSV file; what went wrong in it. Needs no PyTorch."""

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
EXPLOSION = "loss_exploded"
"""Column of the history: share of an epoch's steps in which a loss was far above that of the first step."""
EXPLOSION_FACTOR = 10.0
"""It is where the loss of an autoencoder or encoder lies above the first step's by this factor."""
TROUBLE_SHARE = 0.9
"""Share of an epoch's steps from which on the epoch counts as lost."""
TROUBLES = {
    DOMINANCE: "the discriminator dominates: the generator learns next to nothing",
    EXPLOSION: f"the loss has exploded: it is more than {EXPLOSION_FACTOR:.0f} times that of the first step",
}
"""What is said of each column if it is above `TROUBLE_SHARE` to the end."""


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


def trouble_since(history: Sequence[Mapping[str, Any]], column: str) -> int | None:
    """Discriminator dominance or exploded loss: the epoch since which it lasts to the end, or None.

    Args:
        history: the rows of a training's history, in order, with `epoch`, `split` and perhaps `column`.
        column: `DOMINANCE` or `EXPLOSION`.
    """
    since = None
    for row in history:
        if row["split"] != "train":
            continue
        trouble = row.get(column) not in (None, "") and float(row[column]) >= TROUBLE_SHARE
        since = (since or int(row["epoch"])) if trouble else None
    return since


def troubles(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each trouble that lasts to the end of a history."""
    since = {text: trouble_since(history, column) for column, text in TROUBLES.items()}
    return [f"{text} (since epoch {epoch})" for text, epoch in since.items() if epoch]
