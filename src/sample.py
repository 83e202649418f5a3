"""Draw what one run has learned: samples, reconstructions, its latent space, style transfers, its epochs."""

from pathlib import Path
from typing import TYPE_CHECKING

from atlas.core.files import atomic_dir, require, run_stage

if TYPE_CHECKING:
    from atlas.figures.context import RunFigures


def sample_run(key: str) -> None:
    """Draw the figures of the run of that name; write outputs/samples/NAME."""
    from atlas.core import settings as settings_file
    from atlas.core.datasets import Dataset
    from atlas.core.device import device_config
    from atlas.core.model import load_model
    from atlas.figures.context import RunFigures

    settings = settings_file.load()
    run = settings.run(key)
    config = device_config()
    source = require(Path("outputs/models") / run.key, f"train@{run.key}")
    model, classes = load_model(source, config.device)
    test = Dataset.open(Path("data") / run.dataset).split("test", config.device)
    shown = settings.labels(run.dataset, classes)
    target = Path("outputs/samples") / run.key
    with atomic_dir(target) as folder:
        figures = RunFigures(run.key, model, classes, test, settings.sample, settings.inversion, folder, shown)
        draw(figures, source)
        figures.write_captions()
    print(f"{run.key}: {len(figures.captions)} figures in {target}")


def draw(figures: "RunFigures", source: Path) -> None:
    """Draw every figure that this model can give; `source` is the folder that its training wrote."""
    from atlas.core.history import read_history
    from atlas.figures import latent_space, samples
    from atlas.plotting.charts import loss_curves
    from atlas.plotting.frames import load_frames

    path, title = figures.add(
        "losses.png", "Training and validation losses", "one panel a term against the epoch, nats per image or a share"
    )
    loss_curves(path, read_history(source / "history.csv", f"train@{figures.run}"), title)
    samples.samples(figures)
    if figures.model.can("encode") and not figures.model.conditional and len(figures.test) > 1:
        samples.fitted_samples(figures)
    samples.reconstructions(figures)
    if figures.model.can("classify"):
        samples.class_predictions(figures)
    latent_space.latent_maps(figures)
    latent_space.pca_map(figures)
    latent_space.traversals(figures)
    latent_space.interpolations(figures)
    if figures.model.can("encode"):
        latent_space.latent_scatter(figures)
    if figures.model.conditional:
        samples.style_transfer(figures)
        samples.epochs(figures, load_frames(source / "frames.npz"))
    elif figures.model.can("encode"):
        samples.label_arithmetic(figures)


if __name__ == "__main__":
    run_stage(sample_run, __doc__, run="a name under `runs` in params.yaml")
