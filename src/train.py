"""Train one run: its weights, its history and the snapshots that its animation needs."""

import time
from pathlib import Path

from atlas.core.files import atomic_dir, require, run_stage, write_json


def train_run(key: str) -> None:
    """Train the run of that name; write outputs/models/NAME."""
    import torch

    from atlas.core import settings as settings_file
    from atlas.core.datasets import Dataset
    from atlas.core.device import device_config
    from atlas.core.history import troubles, write_history
    from atlas.core.model import build, find_model, save_model
    from atlas.core.schema import shown_labels
    from atlas.training.checkpoint import Checkpoints, fingerprint
    from atlas.training.distributed import init_process_group, rank, wrap_ddp
    from atlas.training.loop import train
    from atlas.training.optimizers import make_optimizers
    from atlas.training.progress import Progress, format_terms
    from atlas.training.schedule import beginning
    from atlas.training.snapshots import write_snapshots

    settings = settings_file.load()
    run = settings.run(key)
    arguments, optimization = run.arguments(find_model(run.model), make_optimizers)
    config = device_config()
    data = require(Path("data") / run.dataset, f"download@{run.dataset}")
    dataset = Dataset.open(data)
    labels = shown_labels(f"runs.{run.key}.frame_labels", run.train.frame_labels, dataset.classes)
    run = run.resolve(dataset.counts["train"], dataset.shape)
    training = dataset.split("train", config.device, run.train.images)
    validation = dataset.split("validation", config.device)
    torch.manual_seed(run.seed)
    model = config.to_device(build(run.model, dataset.shape, len(dataset.classes), arguments))
    groups = make_optimizers(model, **optimization)
    init_process_group(config, run.train.batch_size)
    wrap_ddp(model, groups, run.seed)
    main_process = rank() == 0
    mark = fingerprint(beginning(run), settings.snapshots, files=sorted(data.glob("*.npy")))
    checkpoints = Checkpoints(run.key, mark, str(config), writes=main_process)
    started = time.perf_counter()
    with Progress(run.key, silent=not main_process) as progress:
        result = train(
            model, groups, run, settings.snapshots, training, validation, config, checkpoints, progress.show, labels
        )
    seconds = time.perf_counter() - started
    if not main_process:
        return
    steps = result.snapshot_steps[-1]
    with atomic_dir(Path("outputs/models") / run.key) as folder:
        save_model(
            model,
            folder,
            run=run.key,
            dataset=run.dataset,
            name=run.model,
            variant=run.variant,
            classes=dataset.classes,
            arguments=arguments,
            framing=dataset.framing,
            background=dataset.background,
        )
        write_history(folder / "history.csv", result.history)
        write_snapshots(
            folder / "frames.npz",
            result.snapshot_steps,
            result.snapshots,
            result.epoch_ends,
            validation.labels.cpu().numpy(),
            [dataset.classes[label] for label in labels] if model.conditional else [""],
            run.train.frame_map,
        )
    # Wall-clock is no result: it lies where no stage depends on it.
    write_json(Path("outputs/timings") / f"{run.key}.json", {"seconds": round(seconds, 1), "machine": str(config)})
    checkpoints.clear()
    last = {name: value for name, value in result.history[-1].items() if isinstance(value, float)}
    print(f"{run.key}: {steps} steps in {seconds:.0f} s on {config}; validation {format_terms(last)}")
    for trouble in troubles(result.history):
        print(f"{run.key}: {trouble}")


if __name__ == "__main__":
    run_stage(train_run, __doc__, run="a name under `runs` in params.yaml")
