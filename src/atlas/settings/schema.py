"""What each key of params.yaml may hold. Strict where the program owns the key, open where a model does."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Seed = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Positive = Annotated[FiniteFloat, Field(gt=0, strict=True)]
Weight = Annotated[FiniteFloat, Field(ge=0, strict=True)]
Fraction = Annotated[FiniteFloat, Field(ge=0, lt=1, strict=True)]

Gate = Annotated[list[Weight | None], Field(min_length=2, max_length=2)]
"""The least and the greatest loss of the discriminator at which a player moves; null is no limit."""

SCALES = ("smoke", "cpu", "gpu")


class Strict(BaseModel):
    """A mapping of known keys only, frozen once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSettings(Strict):
    """`datasets.<name>`: how a data set is split."""

    validation: Count
    """Images cut from the official training set."""


class TrainBudget(Strict):
    """`budgets.<scale>.train.<dataset>`: what a training may cost. A run may override each key."""

    epochs: Count
    batch_size: Count
    width: Annotated[FiniteFloat, Field(gt=0, le=16, strict=True)]
    """Channels of every network, as a multiple of the seed texts' networks."""
    images: Count | None
    """Training images used; null takes all."""
    frames: Annotated[int, Field(ge=2, le=10_000, strict=True)]
    """Pictures taken for the animations."""
    frame_grid: Annotated[int, Field(ge=1, le=100, strict=True)]
    """Images along the side of a frame, per label."""


class JudgeBudget(Strict):
    """`budgets.<scale>.judge.<dataset>`: what the judging classifier may cost."""

    epochs: Count
    batch_size: Count
    width: Annotated[int, Field(ge=1, le=1024, strict=True)]
    images: Count | None


class EvaluateBudget(Strict):
    """`budgets.<scale>.evaluate.<dataset>`: test images and samples that each measure sees."""

    images: Count | None
    importance_samples: Annotated[int, Field(ge=1, le=100_000, strict=True)]
    """Posterior samples an image of the importance-weighted bound."""
    inversions: Count
    """Test images whose code is searched for, where a model has no encoder."""


class Budgets(Strict):
    """`budgets.<scale>`: a row for each stage, keyed by data set."""

    train: dict[str, TrainBudget]
    judge: dict[str, JudgeBudget]
    evaluate: dict[str, EvaluateBudget]


class SampleSettings(Strict):
    """`sample`: what the figures show."""

    reconstructions: Count
    per_label: Count
    map_steps: Annotated[int, Field(ge=2, le=100, strict=True)]
    map_quantile: Annotated[FiniteFloat, Field(gt=0, lt=0.5, strict=True)]
    """The map runs from this normal quantile to one minus it."""
    scatter: Count
    transfers: Count
    traversals: Count
    """Dimensions of the code that are walked along, those that cost most first."""
    traversal_steps: Annotated[int, Field(ge=2, le=100, strict=True)]
    interpolations: Count
    interpolation_steps: Annotated[int, Field(ge=2, le=100, strict=True)]
    inversion_steps: Count
    """Steps of the search for the code of an image, where a model has no encoder."""


class AnimationSettings(Strict):
    """`animation`: how the films look."""

    fps: Annotated[int, Field(ge=1, le=60, strict=True)]


# Keys that models share, and what they may hold. A run may only set those that its model's defaults hold.
VOCABULARY: dict[str, Any] = {
    "latent_dim": Annotated[int, Field(ge=1, le=4096, strict=True)],
    "network": Literal["conv", "seed", "mlp", "dct"],
    "dropout": Fraction,
    "reconstruction": Literal["cross_entropy", "squared_error"],
    "likelihood": Literal["bernoulli", "binarized", "gaussian", "discretized_logistic"],
    "noise": Literal["fixed", "learned", "pixel"],
    "optimizer": Literal["adam", "rmsprop", "sgd"],
    "learning_rate": Positive | dict[str, Positive],
    "momentum": Fraction,
    "schedule": Literal["constant", "cosine"],
    "gamma": Weight,
    "beta": Weight,
    "class_weight": Weight,
    "flow_steps": Annotated[int, Field(ge=0, le=64, strict=True)],
    "flow_units": Count,
    "flow_context": Count,
    "adversary": Literal["non_saturating", "hinge"],
    "label_path": Literal["maps", "projection"],
    "feature_loss": Literal["cross_entropy", "squared_error"],
    "steps": dict[str, Count],
    "balance": dict[str, Gate],
}
# Keys of every model that the trainer reads.
TRAINER = ("optimizer", "learning_rate", "momentum", "schedule")
