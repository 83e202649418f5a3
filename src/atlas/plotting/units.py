"""What the columns of history.csv are measured in."""

NATS = "nats per image"
# By the end of a term's name; all others are in nats per image.
OTHERS = {
    "probability": "probability",
    "paused": "share of steps",
    "won": "share of steps",
    "accuracy": "share of images",
}


def unit(term: str) -> str:
    """Return the unit of a term."""
    return OTHERS.get(term.rsplit("_", 1)[-1], NATS)
