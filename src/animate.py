"""Animate one run's training: its snapshots as MP4 and GIF, of all labels, of each, and of the codes."""

from pathlib import Path

from atlas.core.files import atomic_dir, read_json, run_stage


def animate_run(key: str) -> None:
    """Animate the training of the run of that name; write outputs/animations/NAME."""
    from tqdm import tqdm

    from atlas.animation.animate import animate
    from atlas.animation.loss_panel import load_losses
    from atlas.core import settings as settings_file
    from atlas.plotting.frames import load_frames

    settings = settings_file.load()
    settings.run(key)
    source = Path("outputs/models") / key
    frames, losses = load_frames(source / "frames.npz"), load_losses(source / "history.csv")
    about = read_json(source / "model.json", f"train@{key}")
    classes, shown = about["classes"], settings.labels(about["dataset"], about["classes"])
    target = Path("outputs/animations") / key
    with atomic_dir(target) as folder, tqdm(unit=" animations", leave=False, disable=None) as bar:
        captions = animate(frames, folder, key, classes, losses, settings.animation.fps, lambda _: bar.update(), shown)
    print(f"{key}: {len(captions)} animation(s) of {len(frames.steps)} frames in {target}")


if __name__ == "__main__":
    run_stage(animate_run, __doc__, run="a name under `runs` in params.yaml")
