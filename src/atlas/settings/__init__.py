"""params.yaml to typed, validated settings, or one clear error."""

from atlas.settings.reading import Run, Settings, check, load
from atlas.settings.refusals import known
from atlas.settings.schema import SCALES, AnimationSettings, SampleSettings, TrainBudget

__all__ = ["SCALES", "AnimationSettings", "Run", "SampleSettings", "Settings", "TrainBudget", "check", "known", "load"]
