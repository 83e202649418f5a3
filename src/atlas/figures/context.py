"""Context of a run's figures: the model, the test images and their codes, and the list of captions."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from atlas.core.datasets import Split, to_unit
from atlas.core.latent import batch_size, decode_uint8, encode_dataset, invert
from atlas.core.model import Model
from atlas.core.schema import InversionSettings, SampleSettings
from atlas.plotting import canvas
from atlas.plotting.canvas import Array, Caption, display_names
from atlas.plotting.sheets import fitting

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class RunFigures:
    """Figures of one run and their captions; each function of `samples` and `latent_space` draws one and adds it."""

    def __init__(
        self, run: str, model: Model, classes: list[str], test: Split, settings: SampleSettings,
        inversion: InversionSettings, folder: Path, shown: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        """`shown`: the labels that figures show; if None, all."""
        self.run, self.model, self.classes, self.test = run, model, classes, test
        self.settings, self.inversion, self.folder = settings, inversion, folder
        self.captions: list[Caption] = []
        self.shown = list(range(len(classes)) if shown is None else shown)
        """The labels that figures show."""
        self.labels = self.shown if model.conditional else [0]
        """Those of them that the model draws differently."""
        self.names = display_names(classes)
        self.shown_names = [self.names[label] for label in self.shown]
        whole = len(self.shown) == len(classes)
        self.every_label = "every label" if whole else f"{len(self.shown)} of {len(classes)} labels"
        self.labels_note = "" if whole else f", {self.every_label}"
        """What a title adds where labels are left out."""

    def add(self, file: str, title: str, alt: str) -> tuple[Path, str]:
        """Add the caption of a figure; return where to draw it and its title."""
        self.captions.append({"file": file, "title": title, "alt": f"{self.run}: {alt}"})
        return self.folder / file, f"{self.run} · {title}"

    def write_captions(self) -> None:
        """Write captions.json: every figure that was added, in that order."""
        canvas.write_captions(self.folder, self.captions)

    @cached_property
    def codes(self) -> Tensor | None:
        """Codes [N, d] of all test images; None of a model without an encoder."""
        if not self.model.can("encode"):
            return None
        return encode_dataset(self.model, self.test.images, self.test.labels)

    @cached_property
    def rates(self) -> Tensor | None:
        """Rate of each dimension of the code, [d] nats, averaged over the test images; None where it has no rate."""
        return mean_rates(self.model, self.test) if self.model.can("rates") else None

    @cached_property
    def order(self) -> list[int]:
        """Dimensions of the code, most informative first: by rate, else by variance, else as they come."""
        variances = torch.zeros(self.model.latent_dim) if self.codes is None else self.codes.var(0)
        values = variances if self.rates is None else self.rates
        return values.argsort(descending=True, stable=True).tolist()

    @cached_property
    def axes(self) -> list[int]:
        """The two dimensions that maps and the scatter show, ascending; of a code of one dimension, that one."""
        return sorted(self.order[:2])

    @property
    def axis_names(self) -> tuple[str, str]:
        return dimension_name(self.axes[0]), dimension_name(self.axes[1]) if len(self.axes) > 1 else ""

    @property
    def axes_description(self) -> str:
        if self.model.latent_dim == 1:
            return "the only code dimension"
        both = " and ".join(self.axis_names)
        if self.model.latent_dim == 2:
            return f"the two code dimensions, {both}"
        if self.rates is not None:
            which = "highest rates"
        else:
            which = "first" if self.codes is None else "largest variances"
        return f"{both} ({which} of {self.model.latent_dim} dimensions)"

    @property
    def inversion_note(self) -> str:
        """What a title adds where the codes of images do not come from an encoder."""
        return "" if self.model.can("encode") else ", codes found by search"

    @cached_property
    def style_sources(self) -> Tensor:
        """Indices of the test images whose style is transferred: sevens as in the original tutorial, or all classes."""
        count = self.fitting(self.settings.transfers)
        seven = self.classes.index("7") if "7" in self.classes else -1
        sevens = torch.nonzero(self.test.labels == seven).flatten()
        return sevens[:count] if len(sevens) else self.balanced(count)

    def codes_of(self, index: Tensor) -> Tensor:
        """Return codes [n, d] of test images; without an encoder, only of those in `_inverted_codes`."""
        if self.codes is not None:
            return self.codes[index.cpu()]
        return torch.stack([self._inverted_codes[i] for i in index.tolist()])

    @cached_property
    def _inverted_codes(self) -> dict[int, Tensor]:
        """Codes by index, found by inversion in one batch: of the images to reconstruct and of the style sources."""
        sources = [self.style_sources] if self.model.conditional else []
        index = torch.cat([self.balanced(self.settings.reconstructions), *sources]).unique()
        images, labels = to_unit(self.test.images[index]), self.test.labels[index]
        codes = invert(self.model, images, labels, self.inversion).cpu()
        return dict(zip(index.tolist(), codes, strict=True))

    def prior_codes(self, count: int) -> Tensor:
        """Return codes [count, d] drawn from N(0, I), the same ones every time."""
        return torch.randn(count, self.model.latent_dim, generator=torch.Generator().manual_seed(0))

    def decode(self, codes: Tensor, labels: Tensor | int) -> Array:
        """Return the images of codes [..., d] with one label for all or labels [...], uint8 [..., C, H, W]."""
        if isinstance(labels, Tensor):
            labels = labels.cpu().flatten()
        images = decode_uint8(self.model, codes.flatten(0, -2), labels, self.test.images.device)
        return images.reshape(*codes.shape[:-1], *self.model.shape)

    def images(self, index: Tensor) -> Array:
        """Return test images as uint8 [n, C, H, W]."""
        return self.test.images[index].cpu().numpy()

    def names_of(self, index: Tensor) -> list[str]:
        return [self.names[label] if self.names else "" for label in self.test.labels[index].tolist()]

    def labels_of(self, index: Tensor) -> Tensor:
        """Return the labels to decode test images with: those that the model predicts, if it can, else their own."""
        if self.model.can("classify"):
            with torch.no_grad():
                return self.model.classify(to_unit(self.test.images[index])).argmax(1)
        return self.test.labels[index]

    @cached_property
    def places(self) -> Tensor:
        """Places in `shown` of the test images' labels, [N] on the host; -1 of those not shown, or without labels."""
        places = torch.full((len(self.test),), -1)
        for place, label in enumerate(self.shown):
            places[(self.test.labels == label).cpu()] = place
        return places

    def fitting(self, count: int) -> int:
        """Return how many of `count` images stand in a row of a figure: see `sheets.fitting`."""
        return fitting(count, self.model.shape)

    def balanced(self, count: int) -> Tensor:
        """Return the indices of `count` test images, one of each label shown in turn, the first that come; else any."""
        by_class = [torch.nonzero(self.places == place).flatten() for place in range(len(self.shown))]
        turns = [index[turn : turn + 1] for turn in range(max(map(len, by_class), default=0)) for index in by_class]
        index = torch.cat(turns) if turns else torch.arange(len(self.test))
        return index[:count].to(self.test.labels.device)


def dimension_name(axis: int) -> str:
    """Return the name of a dimension of the code, counted from one: z₁."""
    return f"z{axis + 1}".translate(SUBSCRIPTS)


@torch.no_grad()
def mean_rates(model: Model, split: Split) -> Tensor:
    """Rate of each dimension of the code, [d] nats, averaged over the images; the same for the same images.

    Where a rate is taken at a draw from the posterior, the draws are seeded and the caller's generators left alone.
    """
    devices = [split.images.device] if split.images.device.type == "cuda" else []
    total = torch.zeros(model.latent_dim, dtype=torch.float64)
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        size = batch_size(model.shape)
        for images, labels in zip(split.images.split(size), split.labels.split(size), strict=True):
            total += model.rates(to_unit(images), labels).double().sum(0).cpu()
    return total / len(split)
