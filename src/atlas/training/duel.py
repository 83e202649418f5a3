"""Who wins between generator and discriminator: an even match goes on, a lost one teaches nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

WON = "discriminator_won"
"""The history's column: the share of an epoch's steps in which the discriminator was hardly ever wrong."""
WON_BELOW = 0.1
"""It is where its loss lies below this, in nats per image: 0.69 is chance, 0.1 is nine parts in ten sure of the right
answer. What it tells the generator then has next to no slope (Goodfellow et al. 2014, section 3)."""
FOR_GOOD = 0.9
"""Share of an epoch's steps from which on the epoch counts as lost to the generator."""


def won_since(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the epoch since which the discriminator has won for good, or None if it has not.

    Args:
        history: the rows of a training's history, in order, with `epoch`, `split` and, of adversarial members, `WON`.
    """
    since = None
    for row in history:
        if row["split"] != "train":
            continue
        lost = row.get(WON) not in (None, "") and float(row[WON]) >= FOR_GOOD
        since = (since or int(row["epoch"])) if lost else None
    return since
