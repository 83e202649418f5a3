"""Style: the colors and markers by which classes are told apart, and the units of the terms of a history."""

# Paul Tol's muted scheme, made to be told apart by color-blind readers, and black for the tenth class. Ten are many:
# each class has a marker of its own besides.
COLORS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#222222")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*", "<", ">")

NATS = "nats per image"
OTHER_UNITS = {
    "probability": "probability",
    "paused": "share of steps",
    "won": "share of steps",
    "accuracy": "share of images",
}
"""By the end of a term's name."""


def class_style(label: int) -> tuple[str, str]:
    """Return the color and the marker of a class."""
    return COLORS[label % len(COLORS)], MARKERS[label % len(MARKERS)]


def term_unit(term: str) -> str:
    """Return the unit of a column of history.csv."""
    return OTHER_UNITS.get(term.rsplit("_", 1)[-1], NATS)
