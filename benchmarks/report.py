"""Report: results/benchmarks.json as docs/benchmarks.md. A part is a list of rows, whose keys are the columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from atlas.claims.tables import markdown_table

INTRODUCTION = """# Benchmarks

How fast the trainer is beside the loop that a person writes first in PyTorch. `make bench` measures it and writes this
page from [results/benchmarks.json](../results/benchmarks.json); `make bench PARTS=speed` measures one part.

The plain loop trains the same model with a `DataLoader`, in float32, in PyTorch's default memory layout. Every layer is
computed as it is written down, each parameter group has a forward pass and a default optimizer of its own, and every
term is read with `.item()` in every step. The two loops take turns of a tenth of a second in one process, and the ratio
is taken turn by turn: what slows the machine down slows both. [A test](../tests/test_benchmarks.py) shows for every
variant of the models that both loops compute the same update. No test asserts a time.
"""
PARTS = {
    "speed": (
        "Speed",
        """At the sizes of the default runs and at those of the original tutorials (network `original`, width 1, dropout
0.3, batches of 64). Medians, quartiles in brackets. The work of a step is one forward pass and its backward passes,
with every layer as it is written down. `of peak` sets that work beside what a large convolution reaches on the same
machine; it can exceed 100 % because the trainer's convolutions need less work. The goals: twice the plain loop, four
times for VAE/GANs, and 40 % of the peak at the original size.""",
    ),
    "levers": (
        "Levers",
        "How many times as long a step takes without each thing that makes it fast, with everything else unchanged.",
    ),
    "atlas": (
        "The whole atlas",
        """`make repro` at scale `cpu` in a fresh clone, two runs at a time with a thread each and nothing beside it:
minutes of CPU on both cores together; the last line is by the clock.""",
    ),
    "startup": ("Start-up", "Seconds until a command has ended, the least of several tries."),
    "quality": (
        "Quality",
        "The run `mnist_cvae_2`, trained for two epochs by both loops with three seeds: means and standard deviations.",
    ),
    "time_to_quality": (
        "Time to quality",
        """The run `mnist_cvae_gan_8` on all cores, validation images; the clock stops while samples are measured. The
original tutorial's recipe in Keras took 600 s on two cores to reach a label accuracy of 95.4 %.""",
    ),
    "memory": ("Memory", "Peak of resident memory of single stages at scale `cpu`."),
    "scaling": ("Scaling", "Cost by batch size, by width and by number of training images."),
}
"""Part -> its title and what was measured."""
BY_HAND = ("atlas", "quality", "memory", "scaling")
"""Parts that `make bench` does not measure."""


def page(parts: Mapping[str, Any]) -> str:
    """Return docs/benchmarks.md."""
    sections = [INTRODUCTION]
    for name, (title, text) in PARTS.items():
        if name in parts:
            part = parts[name]
            by_hand = " `make bench` does not measure this." if name in BY_HAND else ""
            measured = f"{part['machine']}; measured on {part['date']} at commit {part['commit']}.{by_hand}"
            sections.append(f"## {title}\n\n{text}\n\n{table(part['rows'])}\n{measured}\n")
    return "\n".join(sections)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of equal keys as a Markdown table."""
    return markdown_table(list(rows[0]), [[cell(name, value) for name, value in row.items()] for row in rows])


def cell(column: str, value: Any) -> str:
    """Return a cell: a spread as "median (low–high)", shares ("of peak") in per cent, other numbers to four digits."""
    if isinstance(value, Mapping):
        low, median, high = (value[name] for name in ("low", "median", "high"))
        if column.startswith("of "):
            return f"{median:.0%}"
        digits = 1 if column == "ratio" else 2
        return f"{median:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
