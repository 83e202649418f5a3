"""Which stages each run goes through, and how many runs side by side."""

import os

PER_RUN = ("train", "sample", "animate", "evaluate")
MOST_JOBS = 4
"""Jobs unless told otherwise, where there are cores for them: each takes about 1 GB."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def default_jobs() -> int:
    """Return how many runs to do at a time: small networks use two cores better as two trainings of one thread."""
    return min(cores(), MOST_JOBS)
