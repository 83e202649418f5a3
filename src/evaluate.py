"""Evaluate one run on the official test images, by the protocol that every run goes through."""

from pathlib import Path

from atlas.core.files import atomic_write, require, run_stage, write_json


def evaluate_run(key: str) -> None:
    """Evaluate the run of that name; write outputs/metrics/NAME.json and outputs/per_image/NAME.npz."""
    import numpy as np
    import torch

    from atlas.core import settings as settings_file
    from atlas.core.datasets import Dataset
    from atlas.core.device import device_config
    from atlas.core.model import load_model, load_weights
    from atlas.metrics.classifier import Judge, read_features
    from atlas.metrics.evaluate import Evaluation
    from atlas.metrics.registry import METRICS

    settings = settings_file.load()
    run = settings.run(key)
    config = device_config()
    model, _ = load_model(require(Path("outputs/models") / key, f"train@{key}"), config.device)
    dataset = Dataset.open(Path("data") / run.dataset)
    budget = settings.budgets[run.dataset].evaluate
    test = dataset.split("test", config.device, budget.images)
    training = dataset.split("train", config.device, settings.evaluation.probe_images)
    folder, stage = Path("outputs/judges") / run.dataset, f"train_judge@{run.dataset}"
    judge = config.to_device(Judge(dataset.shape, len(dataset.classes), settings.budgets[run.dataset].judge.width))
    load_weights(judge, folder / "weights.safetensors", stage)
    features = {name: values.to(config.device) for name, values in read_features(folder, stage).items()}
    metrics, per_image = Evaluation(
        model, judge, test, training, features["test"][: len(test)], features["validation"],
        dataset.framing == "digit", settings.evaluation, budget, torch.Generator().manual_seed(settings.seed),
        settings.inversion,
    ).run()  # fmt: skip
    write_json(Path("outputs/metrics") / f"{key}.json", metrics)
    arrays = {name: values.float().cpu().numpy() for name, values in per_image.items()}
    with atomic_write(Path("outputs/per_image") / f"{key}.npz") as tmp, tmp.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    headline = (f"{name} {metrics[name]:.4g}" for name in METRICS if name in metrics and METRICS[name].headline)
    print(f"{key}: {', '.join(headline)} ({len(test)} test images)")


if __name__ == "__main__":
    run_stage(evaluate_run, __doc__, run="a name under `runs` in params.yaml")
