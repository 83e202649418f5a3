"""Several stages side by side on one device, until all are done or the time is up; what is done stays done."""

import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atlas.away.room import Room
from atlas.away.stages import JUDGE, Stage, needs
from atlas.errors import AtlasError
from atlas.files import write_json
from atlas.jobs import PER_RUN, cores
from atlas.settings import Run

SAY_EVERY = 15.0
"""Seconds between two lines on how far the work is."""
PATIENCE = 10.0
"""Seconds that a stage has to end when it is told to."""
TO_GO = re.compile(r"step \d+ of \d+.* (\d+) s to go")
Say = Callable[[str], None]


@dataclass
class Work:
    """What came of it."""

    done: list[str] = field(default_factory=list)
    """Stages done now."""
    failed: dict[str, str] = field(default_factory=dict)
    """Stages that ended badly, with the last line that they wrote."""
    left: list[str] = field(default_factory=list)
    """Stages still to do, or in the middle: the same command goes on with them."""


@dataclass
class _Task:
    stage: Stage
    process: subprocess.Popen[bytes]
    log: Path
    started: float

    def last_line(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


class Workers:
    """At most `jobs` stages at a time: judges first, then what completes a run already trained, then the long runs."""

    def __init__(self, room: Room, runs: Sequence[str], jobs: int, until: float, say: Say) -> None:
        """Take `until`, a time of `time.monotonic()` at which to stop."""
        self.room, self.jobs, self.until, self.say = room, jobs, until, say
        self.stages = room.stages(runs)
        self.marks = room.marks(self.stages)
        self.after = {name: needs(stage, self.stages) for name, stage in self.stages.items()}
        settings = room.settings
        self.cost = {run: _cost(settings.run(run)) for run in runs}
        self.ready_made = {name for name, stage in self.stages.items() if room.done(stage, self.marks[name])}
        # What is out of date upstream takes all that follows with it: its mark hangs on the others'.
        self.result = Work(left=[name for name in self.stages if name not in self.ready_made])
        self.tasks: list[_Task] = []
        self.trained: dict[str, float] = {}

    def work(self) -> Work:
        """Do it, and say now and then how far it is."""
        said = time.monotonic()
        self._lock()
        try:
            while time.monotonic() < self.until:
                self._begin()
                if not self.tasks:
                    break
                time.sleep(0.1)
                self._gather()
                if time.monotonic() - said > SAY_EVERY:
                    said = time.monotonic()
                    self.say(self._words())
        finally:
            self._stop()
            self.lock.close()
        return self.result

    def _lock(self) -> None:
        self.lock = (self.room.folder / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.close()
            raise AtlasError(f"{self.room.folder}: runs are being done there; wait for them, or end them") from None

    def _begin(self) -> None:
        busy = {task.stage.name for task in self.tasks}
        ready = [
            name
            for name in self.result.left
            if name not in busy and all(one in self.ready_made for one in self.after[name])
        ]
        for name in sorted(ready, key=self._rank)[: self.jobs - len(self.tasks)]:
            self.tasks.append(self._start(self.stages[name]))

    def _rank(self, name: str) -> tuple[int, float]:
        kind, _, run = name.partition("@")
        return (0, 0.0) if kind == JUDGE else (2, -self.cost[run]) if kind == "train" else (1, 0.0)

    def _start(self, stage: Stage) -> _Task:
        root = self.room.root.resolve()
        log = self.room.folder / "logs" / f"{stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        threads = str(max(1, cores() // self.jobs))
        shared = {"ATLAS_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
        # Checkpoints lie where the work is done.
        environment = {**os.environ, **shared, "DVC_ROOT": str(self.room.folder.resolve())}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, str(root / stage.words[0]), *stage.words[1:]],
                cwd=self.room.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Held until the last of them ends, also where this process is killed.
                pass_fds=[self.lock.fileno()],
            )
        return _Task(stage, process, log, time.monotonic())

    def _gather(self) -> None:
        for task in [task for task in self.tasks if task.process.poll() is not None]:
            self.tasks.remove(task)
            name, seconds = task.stage.name, time.monotonic() - task.started
            self.result.left.remove(name)
            if task.process.returncode:
                self.result.failed[name] = task.last_line() or f"exit status {task.process.returncode}"
                self.say(f"{name} failed: {self.result.failed[name]}")
                continue
            write_json(self.room.record(name), {"mark": self.marks[name], "seconds": round(seconds, 1)})
            self.ready_made.add(name)
            self.result.done.append(name)
            if task.stage.kind == "train":
                self.trained[name.partition("@")[2]] = seconds
            self.say(f"{name} in {seconds:.0f} s: {task.last_line()}")

    def _stop(self) -> None:
        for task in self.tasks:
            if task.process.poll() is None:
                task.process.terminate()
        end = time.monotonic() + PATIENCE
        for task in self.tasks:
            try:
                task.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                task.process.kill()
                task.process.wait()
        # One may have ended well at the very moment.
        self._gather_ended()

    def _gather_ended(self) -> None:
        for task in self.tasks[:]:
            if task.process.returncode != 0:
                self.tasks.remove(task)
        self._gather()

    def _words(self) -> str:
        at_work = []
        for task in self.tasks:
            found = TO_GO.search(task.last_line())
            at_work.append(f"{task.stage.name} ({found[0]})" if found else task.stage.name)
        runs = {name.partition("@")[2] for name in self.stages if not name.startswith(JUDGE)}
        whole = sum(all(f"{kind}@{run}" in self.ready_made for kind in PER_RUN) for run in runs)
        words = f"{whole} of {len(runs)} runs done, {self.until - time.monotonic():.0f} s before it stops"
        seconds = self.to_go()
        if seconds is not None:
            words += f", about {seconds:.0f} s of trainings to go"
        return f"{words}; at work: {', '.join(at_work)}"

    def to_go(self) -> float | None:
        """Return about how many seconds the trainings still take, from those done and those at work; None if none is.

        What a run costs against others is known before (see `_cost`), what a unit of it takes only from experience.
        """
        spent, units = sum(self.trained.values()), sum(self.cost[run] for run in self.trained)
        left = {name.partition("@")[2] for name in self.result.left if name.startswith("train@")}
        known = 0.0
        for task in self.tasks:
            found = TO_GO.search(task.last_line())
            if task.stage.kind == "train" and found:
                run = task.stage.name.partition("@")[2]
                spent += time.monotonic() - task.started + float(found[1])
                units += self.cost[run]
                known += float(found[1])
                left.discard(run)
        if not units:
            return None
        return (known + sum(self.cost[run] for run in left) * spent / units) / self.jobs


def _cost(run: Run) -> float:
    """Return about what a run's training costs against others: a player costs about as much as an autoencoder."""
    return len(run.settings.get("steps", {"autoencoder": 1})) * run.train.epochs * run.train.width
