"""Train one run: its weights, its history and the pictures its animation needs."""

import argparse
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from atlas import settings as settings_file
from atlas.datasets import Dataset
from atlas.device import machine
from atlas.errors import AtlasError, run_stage
from atlas.files import need, whole_folder, write_json
from atlas.models.registry import build
from atlas.nn import processes
from atlas.store import save_model
from atlas.training.checkpoint import Checkpoints, fingerprint
from atlas.training.duel import won_since
from atlas.training.frames import write_frames
from atlas.training.history import write_history
from atlas.training.loop import train
from atlas.training.optimisers import KEYS
from atlas.training.together import check_batch, meet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a name under `runs` in params.yaml")
    run = settings_file.load().run(parser.parse_args().run)
    computer = machine()
    data = need(Path("data") / run.dataset, f"download@{run.dataset}")
    dataset = Dataset.open(data)
    training = dataset.split("train", computer.device, run.train.images)
    validation = dataset.split("validation", computer.device)
    if len(training) < run.train.batch_size:
        raise AtlasError(f"runs.{run.key}.batch_size: found {run.train.batch_size}; allowed: at most {len(training)}")
    torch.manual_seed(run.seed)
    arguments = {name: value for name, value in run.settings.items() if name not in KEYS}
    arguments["width"] = run.train.width
    model = computer.place(build(run.model, dataset.shape, len(dataset.classes), arguments))
    files = sorted(data.glob("*.npy"))
    meet(computer)
    check_batch(run.key, run.train.batch_size)
    first = processes.rank() == 0
    checkpoints = Checkpoints(run.key, fingerprint(vars(run), str(computer), files=files), writes=first)
    started = time.perf_counter()
    with Progress(run.key) as progress:
        report = progress.show if first else silent
        trained = train(model, run, training, validation, computer, checkpoints, report)
    seconds = time.perf_counter() - started
    if not first:
        return
    with whole_folder(Path("outputs/models") / run.key) as folder:
        save_model(
            model,
            folder,
            run=run.key,
            dataset=run.dataset,
            name=run.model,
            classes=dataset.classes,
            arguments=arguments,
        )
        write_history(folder / "history.csv", trained.history)
        write_frames(
            folder / "frames.npz",
            trained.frame_steps,
            trained.frames,
            validation.labels.cpu().numpy(),
            dataset.classes,
            trained.frame_kind,
            trained.per_epoch,
        )
    # Wall-clock is no result: it lies where no stage depends on it.
    write_json(Path("outputs/timings") / f"{run.key}.json", {"seconds": round(seconds, 1), "machine": str(computer)})
    checkpoints.clear()
    last = {name: value for name, value in trained.history[-1].items() if isinstance(value, float)}
    print(
        f"{run.key}: {steps_of(trained.frame_steps)} steps in {seconds:.0f} s on {computer}; validation {words(last)}"
    )
    if since := won_since(trained.history):
        print(
            f"{run.key}: the discriminator has won for good since epoch {since}: the generator learns next to nothing"
        )


def silent(*_: object) -> None:
    """Of several processes, all but the first say nothing."""


def steps_of(frame_steps: list[int]) -> int:
    """Return the number of steps of a training: the last picture is taken after the last step."""
    return frame_steps[-1]


def words(terms: dict[str, float]) -> str:
    """Return terms as `name 1.23`, for a line that people read."""
    return ", ".join(f"{name} {value:.4g}" for name, value in terms.items())


class Progress:
    """A bar with the losses and the time to go on a terminal, a plain line now and then elsewhere."""

    EVERY = 20.0
    """Seconds between two plain lines."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.bar: tqdm | None = None
        self.said = self.started = time.monotonic()
        self.first: int | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()

    def show(self, step: int, total: int, epoch: int, terms: dict[str, float]) -> None:
        """Tell of `step` steps done out of `total`, in `epoch`, with the epoch's means so far (nats per image)."""
        if sys.stderr.isatty():
            self.bar = self.bar or tqdm(total=total, initial=step, desc=self.run, unit="step", dynamic_ncols=True)
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(f"epoch {epoch}, {words(terms)}")
            return
        now = time.monotonic()
        if self.first is None:
            self.first, self.started = step, now
        elif now - self.said > self.EVERY or step == total:
            left = (now - self.started) / max(1, step - self.first) * (total - step)
            print(f"{self.run}: step {step} of {total}, epoch {epoch}, {words(terms)}, {left:.0f} s to go", flush=True)
            self.said = now


if __name__ == "__main__":
    run_stage(main)
