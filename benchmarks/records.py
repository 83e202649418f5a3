"""What results/benchmarks.json holds. Each part tells on what machine, and in how many seconds, it was measured."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A mapping of known keys only."""

    model_config = ConfigDict(extra="forbid")


class Spread(Record):
    """A median over the rounds, and the quartiles."""

    median: float
    low: float
    high: float


class Part(Record):
    machine: str
    seconds: float
    """That the measuring took."""


class SpeedRow(Record):
    """One case; work in floating-point operations (GFLOP) of a step, averaged over the players' moves."""

    dataset: str
    model: str
    sizes: str
    run: str
    batch_size: int
    parameters: int
    ours: float
    """Images a second."""
    plain: float
    """Images a second."""
    rounds: int
    ratio: Spread
    goal: float
    plain_work: float
    """Of the plain loop: a forward pass for each player."""
    shared_work: float
    """Of the same layers with one forward pass for all players."""
    our_work: float
    """Of what our step computes: one forward pass, convolutions folded."""
    peak: float
    """GFLOP a second of a large convolution, beside this case, in the precision that we train in."""
    share: Spread
    """Of the peak, of `shared_work` in the time of our step."""
    our_share: Spread
    """Of the peak, of `our_work` in the time of our step."""


class ProfileRow(Record):
    operation: str
    share: float
    """Of the step's own time on the device's processor."""
    calls: float
    """In a step."""


class Profile(Record):
    """Where a step of the case that lies furthest below a goal spends its time."""

    case: str
    milliseconds: float
    rows: list[ProfileRow]


class Speed(Part):
    float32_peak: float
    """GFLOP a second."""
    bfloat16_peak: float
    rows: list[SpeedRow]
    profile: Profile


class LeverRow(Record):
    """How much longer a case's step takes without something that makes it fast."""

    case: str
    lever: str
    ratio: Spread


class Levers(Part):
    rows: list[LeverRow]


class ScalingRow(Record):
    value: float
    """Of the batch size, of the width, or of the number of training images."""
    ours: float
    """Microseconds an image; of `images`, seconds an epoch."""
    plain: float


class Table(Record):
    run: str
    over: str
    """batch_size, width or images."""
    rows: list[ScalingRow]


class Scaling(Part):
    tables: list[Table]


class MemoryRow(Record):
    run: str
    stage: str
    epochs: int
    peak: float
    """GB resident, of the stage's process or the greatest it started."""
    seconds: float


class Memory(Part):
    rows: list[MemoryRow]


class StartupRow(Record):
    command: str
    seconds: float | None = None
    """The least of some tries; none where it could not be tried."""
    note: str = ""
    packages: dict[str, float] = {}
    """Seconds of the import that are a package's own, those that took longest, slower than without the accounting."""


class Startup(Part):
    rows: list[StartupRow]


class QualityRow(Record):
    loop: str
    seed: int
    measures: dict[str, float]
    seconds: float


class Quality(Part):
    run: str
    epochs: int
    rows: list[QualityRow]


class LearningRow(Record):
    seconds: float
    """Of training; the clock stands still during measuring."""
    step: int
    measures: dict[str, float]


class Learning(Part):
    run: str
    rows: list[LearningRow]


class Benchmarks(Record):
    """Every part that was measured so far."""

    speed: Speed | None = None
    levers: Levers | None = None
    scaling: Scaling | None = None
    memory: Memory | None = None
    startup: Startup | None = None
    quality: Quality | None = None
    learning: Learning | None = None
