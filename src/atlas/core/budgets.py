"""Budgets: what training, judging and evaluating may cost, by scale, by data set and by run."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field

from atlas.core.files import AtlasError
from atlas.core.schema import SCALES, Count, LabelNames, Positive, Strict, T, Width, check_keys, check_mapping, parse

StepRange = Annotated[list[Count], Field(min_length=2, max_length=2)]
"""[every how many steps, up to which step]."""
MIN_BATCH_SIZE = 16
"""Smaller batches are only taken where there are not as many images: they cost more and are noisy."""


class Budget(Strict):
    """What a training may cost: in images seen, or in epochs where they are given."""

    epochs: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 0
    """0: as many as `images_seen` come to."""
    images_seen: Annotated[int, Field(ge=1, le=10**10, strict=True)]
    batch_size: Count
    min_steps: Count
    images: Count | None = None
    length: Positive = 1.0
    """Times as many epochs."""

    def resolve(self, count: int, shape: tuple[int, int, int]) -> Self:
        """Return this budget for `count` training images of a shape: its epochs, batch size and images as numbers.

        Images of more than 32 x 32 pixels cost as many times more, so that many fewer are seen. Where there are more
        than are to be seen at all, the first ones are seen once. The batch is halved until an epoch has `min_steps`.
        """
        images, batch_size = min(count, self.images or count), self.batch_size
        epochs: float = self.epochs
        if not epochs:
            seen = max(1, round(self.images_seen * min(1, 32 * 32 / (shape[1] * shape[2]))))
            images = images if self.images else min(images, seen)
            epochs = seen / images
        epochs = max(1, round(epochs * self.length))
        while images // batch_size < (self.min_steps if batch_size > MIN_BATCH_SIZE else 1):
            batch_size //= 2
        return self.model_copy(update={"epochs": epochs, "length": 1.0, "images": images, "batch_size": batch_size})


class TrainBudget(Budget):
    """`budgets.<scale>.train`. A data set or a run may override each key."""

    width: Width
    frames: Annotated[int, Field(ge=2, le=10_000)]
    frame_grid: Annotated[int, Field(ge=1, le=100)]
    frame_steps: Annotated[list[StepRange], Field(min_length=1, max_length=100)] | None = None
    frame_map: bool = False
    frame_labels: LabelNames | None = None


class JudgeBudget(Budget):
    """`budgets.<scale>.judge`. A data set may override each key."""

    width: Annotated[int, Field(ge=1, le=1024)]


class EvaluateBudget(Strict):
    """`budgets.<scale>.evaluate`. A data set may override each key."""

    images: Count | None
    importance_samples: Annotated[int, Field(ge=1, le=100_000)]
    inversions: Count


class Budgets(Strict):
    """`budgets.<scale>`, or what a data set makes of it."""

    train: TrainBudget
    judge: JudgeBudget
    evaluate: EvaluateBudget


def by_scale(path: str, defaults: Mapping[str, Any], raw: Any) -> dict[str, Budgets]:
    """Return, for each scale, its default budgets with what a data set's own `budgets` change."""
    check_keys(path, check_mapping(path, raw), SCALES)
    budgets = {}
    for scale in SCALES:
        if scale not in defaults:
            raise AtlasError(f"budgets.{scale}: missing (every scale needs its budgets)")
        default = parse(f"budgets.{scale}", Budgets, defaults[scale])
        own = check_mapping(f"{path}.{scale}", raw.get(scale, {}))
        check_keys(f"{path}.{scale}", own, Budgets.model_fields)
        changed = {
            stage: override(
                f"{path}.{scale}.{stage}", getattr(default, stage), check_mapping(f"{path}.{scale}.{stage}", values)
            )
            for stage, values in own.items()
        }
        budgets[scale] = default.model_copy(update=changed)
    return budgets


def override(path: str, budget: T, own: Mapping[str, Any]) -> T:
    """Return a budget with what `own` changes; a batch size that somebody asks for is kept."""
    kept = {"min_steps": 1} if "batch_size" in own else {}
    return parse(path, type(budget), {**budget.model_dump(), **kept, **own})
