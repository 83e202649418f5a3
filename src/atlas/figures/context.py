"""What the figures of one run share: the model, the test images and their codes, and the list of captions."""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from atlas.core.datasets import Split, to_unit
from atlas.core.latent import invert
from atlas.core.latent import BATCH, decode_uint8, encode_dataset
from atlas.core.model import Model
from atlas.core.settings import SampleSettings
from atlas.show import figures
from atlas.plotting.canvas import Caption

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class Album:
    """The figures of one run, drawn one by one into a folder, each with its caption.

    The functions of `atlas.figures.samples`, `space` and `epochs` take an album, draw one figure and add it.
    """

    def __init__(self, run: str, model: Model, classes: list[str], test: Split, settings: SampleSettings, folder: Path):
        self.run, self.model, self.classes, self.test = run, model, classes, test
        self.settings, self.folder = settings, folder
        self.device = test.images.device
        self.captions: list[Caption] = []
        self.labels = list(range(len(classes))) if model.conditional else [0]
        self.names = classes if model.conditional else [""]

    def add(self, file: str, title: str, alt: str) -> tuple[Path, str]:
        """Note a figure; return where to draw it and its title."""
        self.captions.append({"file": file, "title": title, "alt": f"{self.run}: {alt}"})
        return self.folder / file, f"{self.run} · {title}"

    def close(self) -> None:
        """Write captions.json: every figure that was added, in that order."""
        figures.write_captions(self.folder, self.captions)

    @cached_property
    def codes(self) -> Tensor | None:
        """Codes [N, d] of all test images; None where the model cannot encode and each would have to be searched."""
        if not self.model.can("encode"):
            return None
        return encode_dataset(self.model, to_unit(self.test.images), self.test.labels)

    @cached_property
    def rates(self) -> Tensor | None:
        """What each dimension of the code costs, [d] nats, averaged over the test images; None where it has no cost."""
        return mean_rates(self.model, self.test) if self.model.can("rates") else None

    @cached_property
    def order(self) -> list[int]:
        """The dimensions of the code, those first that say most: by rate, else by variance, else as they come."""
        if self.rates is not None:
            return ranked(self.rates)
        return list(range(self.model.latent_dim)) if self.codes is None else ranked(self.codes.var(0))

    @cached_property
    def axes(self) -> list[int]:
        """The two dimensions that maps and the scatter show, ascending; of a code of one dimension, that one."""
        return sorted(self.order[:2])

    @property
    def axis_names(self) -> tuple[str, str]:
        names = [dimension(axis) for axis in self.axes]
        return names[0], names[1] if len(names) > 1 else ""

    @property
    def axes_in_words(self) -> str:
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
    def searched(self) -> str:
        """What a title adds where codes of images are found otherwise than by an encoder."""
        return "" if self.model.can("encode") else ", codes found by search"

    @cached_property
    def sources(self) -> Tensor:
        """The places of the test images whose style is transferred: sevens, as in the seed, or else of every class."""
        count = self.settings.transfers
        if "7" not in self.classes:
            return self.balanced(count)
        return torch.nonzero(self.test.labels == self.classes.index("7")).flatten()[:count]

    def codes_of(self, chosen: Tensor) -> Tensor:
        """Return codes [n, d] of the test images in these places; of a model that cannot encode, only of `_found`'s."""
        if self.codes is not None:
            return self.codes[chosen.cpu()]
        return torch.stack([self._found[place] for place in chosen.tolist()])

    @cached_property
    def _found(self) -> dict[int, Tensor]:
        """Codes by place, searched for all at once: of the images to reconstruct, and of those to take a style from."""
        wanted = [self.balanced(self.settings.reconstructions)]
        if self.model.conditional:
            wanted.append(self.sources)
        places = torch.cat(wanted).unique()
        images, labels = to_unit(self.test.images[places]), self.test.labels[places]
        codes = invert(self.model, images, labels, self.settings.inversion_steps).cpu()
        return dict(zip(places.tolist(), codes, strict=True))

    def draws(self, count: int) -> Tensor:
        """Return codes [count, d] drawn from N(0, I), the same ones every time."""
        return torch.randn(count, self.model.latent_dim, generator=torch.Generator().manual_seed(0))

    def decode(self, codes: Tensor, labels: Tensor | int) -> np.ndarray:
        """Return the images of codes [..., d] with one label for all or labels [...], uint8 [..., C, H, W]."""
        if isinstance(labels, Tensor):
            labels = labels.cpu().flatten()
        images = decode_uint8(self.model, codes.flatten(0, -2), labels, self.device)
        return images.reshape(*codes.shape[:-1], *self.model.shape)

    def images(self, chosen: Tensor) -> np.ndarray:
        """Return test images as uint8 [n, C, H, W]."""
        return self.test.images[chosen].cpu().numpy()

    def names_of(self, chosen: Tensor) -> list[str]:
        """Return the class names of test images."""
        return [self.classes[label] for label in self.test.labels[chosen].tolist()]

    def balanced(self, count: int) -> Tensor:
        """Return the places of `count` test images, class after class in turn, the first of each that come."""
        places = [torch.nonzero(self.test.labels == label).flatten() for label in range(len(self.classes))]
        turns = (place[turn : turn + 1] for turn in range(max(map(len, places))) for place in places)
        return torch.cat(list(turns))[:count]


def dimension(axis: int) -> str:
    """Return the name of a dimension of the code, counted from one: z₁."""
    return f"z{axis + 1}".translate(SUBSCRIPTS)


def ranked(worth: Tensor) -> list[int]:
    """Return the indices of `worth` [d], largest first; of equals, the first."""
    return worth.argsort(descending=True, stable=True).tolist()


@torch.no_grad()
def mean_rates(model: Model, split: Split) -> Tensor:
    """Return what each dimension of the code costs, [d] nats, averaged over the images; the same for the same images.

    Where a rate is taken at a draw from the posterior, the draws are seeded and the caller's generators left alone.
    """
    devices = [split.images.device] if split.images.device.type == "cuda" else []
    total = torch.zeros(model.latent_dim, dtype=torch.float64)
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        for images, labels in zip(split.images.split(BATCH), split.labels.split(BATCH), strict=True):
            total += model.rates(to_unit(images), labels).double().sum(0).cpu()
    return total / len(split)
