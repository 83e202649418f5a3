"""A trained run for use elsewhere: plain images and labels in, plain arrays out."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.core.files import AtlasError
from atlas.core.latent import invert
from atlas.core.latent import BATCH
from atlas.core.model import Model
from atlas.core.settings import known
from atlas.inference.remote import MODELS, Source
from atlas.core.model import load_model

Array = NDArray[np.float32]
Images = Any
"""uint8 or floating point in [0, 1]; numpy, torch or a Pillow image; see `Trained`."""
Labels = Any
"""One label for all or one an image (a list, an array, a tensor), each a class's name or its number; None for a model
that knows no labels."""

SEARCH = 200
"""Steps of the search for an image's code, where a model has no encoder."""


class Trained:
    """A trained model with what it was trained on, ready to encode, decode, sample and transfer styles.

    Images go in as numpy arrays, torch tensors or Pillow images, uint8 or floating point in [0, 1], one or many:
    [N, C, H, W] or [N, H, W, C], without N for a single one, without C where there is but one channel. They come out
    as float32 [N, C, H, W] in [0, 1]. Codes are float32 [N, latent_dim]. Labels are class names or numbers, one for all
    images or one each; a model that is not conditional takes none.

    All methods raise `AtlasError` where what they are given does not fit, saying what was found and what is allowed.
    """

    def __init__(self, run: str, dataset: str, classes: list[str], model: Model, kind: str = "model") -> None:
        """Wrap a model that is in eval mode; `kind` is the name that it is registered under."""
        self.run, self.dataset, self.classes, self.model, self.kind = run, dataset, classes, model, kind
        self.shape = model.shape
        """Of an image: (channels, height, width)."""
        self.latent_dim = model.latent_dim
        self.conditional = model.conditional
        """Does the model know labels?"""

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        labels = f"labels {', '.join(self.classes)}" if self.conditional else "no labels"
        return f"<{self.run}: {self.kind} of {self.dataset}, images {size}, codes of {self.latent_dim}, {labels}>"

    def encode(self, images: Images, labels: Labels = None) -> Array:
        """Return the codes [N, latent_dim] of images; of a model without an encoder, codes found by search.

        A model that classifies reads the labels that are not given.
        """
        pixels = self._images(images)
        numbers = self._labels_of(pixels, labels)
        if self.model.can("encode"):
            return self._batches(self.model.encode, pixels, numbers)
        return self._batches(lambda some, of: invert(self.model, some, of, SEARCH), pixels, numbers)

    def decode(self, codes: Any, labels: Labels = None) -> Array:
        """Return the images [N, C, H, W] in [0, 1] of codes [N, latent_dim], or of one code [latent_dim]."""
        points = _tensor(codes)
        if points.ndim == 1:
            points = points[None]
        if points.ndim != 2 or points.shape[1] != self.latent_dim or not len(points):
            raise self._unfit("codes", f"an array {list(points.shape)}", f"[N, {self.latent_dim}]")
        if not points.isfinite().all():
            raise self._unfit("codes", "a value that is not a finite number", "finite numbers")
        return self._batches(self.model.decode, points.float(), self._labels(labels, len(points)))

    def sample(self, labels: Labels = None, count: int | None = None, seed: int = 0) -> Array:
        """Return new images [N, C, H, W] in [0, 1], of codes drawn from N(0, I). The same seed gives the same ones.

        Args:
            labels: of a conditional model, one label or one an image; if None, class after class in turn.
            count: how many images; if None, one a label, else one of every class, else one.
        """
        if count is not None and (not isinstance(count, int) or count < 1):
            raise self._unfit("count", repr(count), "a whole number of images, 1 or more")
        if labels is None and self.conditional:
            numbers = torch.arange(count or len(self.classes)) % len(self.classes)
        else:
            numbers = self._labels(labels, count if count or self.conditional else 1)
        generator = torch.Generator().manual_seed(seed)
        return self._batches(lambda some: self.model.sample(some, generator), numbers)

    def transfer(self, images: Images, labels: Labels = None) -> Array:
        """Return images [N, classes, C, H, W]: of each image its style, decoded with every label.

        `labels` are the images' own.
        """
        self.require_labels()
        codes = self.encode(images, labels)
        return np.stack([self.decode(codes, label) for label in range(len(self.classes))], axis=1)

    def require_labels(self) -> None:
        """Raise `AtlasError` if the model knows no labels, and so cannot transfer styles."""
        if not self.conditional:
            raise AtlasError(
                f"{self.run}: a {self.kind} knows no labels, so it cannot give an image another one; allowed: a run of "
                "a conditional model (such as cvae, cvae_gan, cgan, ac_vae)"
            )

    def label(self, label: Any) -> int:
        """Return the number of a label given by its name or its number."""
        allowed = f"0 to {len(self.classes) - 1}, or a name: {', '.join(self.classes)}"
        if isinstance(label, str):
            if label in self.classes:
                return self.classes.index(label)
            if not label.isdecimal():
                return self.classes.index(known(f"label of {self.dataset}", label, self.classes))
            label = int(label)
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(self.classes):
            raise self._unfit("label", repr(label), allowed)
        return label

    def _labels(self, labels: Labels, count: int | None) -> Tensor:
        """Return labels as numbers, int64 [count], or as many as are given where `count` is None."""
        if not self.conditional:
            if labels is not None:
                raise self._unfit("labels", f"{labels!r:.60}", f"None, for a {self.kind} knows no labels")
            return torch.zeros(count or 1, dtype=torch.long)
        if labels is None:
            raise self._unfit("labels", "None", f"one or one an image, of: {', '.join(self.classes)}")
        plain = labels.tolist() if isinstance(labels, np.ndarray | np.generic | Tensor) else labels
        one = isinstance(plain, str) or not isinstance(plain, Iterable)
        numbers = torch.tensor([self.label(label) for label in ([plain] if one else plain)], dtype=torch.long)
        if len(numbers) not in ((1, count) if count else (len(numbers) or 1,)):
            raise self._unfit("labels", f"{len(numbers)} labels", f"one for all or one each, {count}")
        return numbers.expand(count) if count else numbers

    @torch.no_grad()
    def _labels_of(self, pixels: Tensor, labels: Labels) -> Tensor:
        if labels is None and self.model.can("classify"):
            return torch.from_numpy(self._batches(self.model.classify, pixels)).argmax(1)
        return self._labels(labels, len(pixels))

    def _images(self, images: Images) -> Tensor:
        """Return images as float32 [N, C, H, W] in [0, 1]."""
        pixels = _tensor(images)
        channels, height, width = self.shape
        layouts: dict[tuple[int, ...], str] = {(channels, height, width): "CHW", (height, width, channels): "HWC"}
        if channels == 1:
            layouts[height, width] = "HW"
        size = tuple(pixels.shape)
        # With N first, since [1, 28, 28] may be an image or a row of one: the same pixels.
        if size[1:] in layouts and size[0]:
            layout = layouts[size[1:]]
        elif size in layouts:
            layout, pixels = layouts[size], pixels[None]
        else:
            single = f"[{height}, {width}]" if channels == 1 else f"[{height}, {width}, {channels}]"
            allowed = f"[N, {channels}, {height}, {width}], or {single} for one (atlas.inference.own_image brings others to that)"
            raise self._unfit("images", f"an array {list(size)}", allowed)
        if layout == "HW":
            pixels = pixels[:, None]
        elif layout == "HWC":
            pixels = pixels.permute(0, 3, 1, 2).contiguous()
        if pixels.dtype == torch.uint8:
            return pixels.float().div(255)
        if pixels.dtype == torch.bool:
            return pixels.float()
        if not pixels.is_floating_point():
            raise self._unfit("images", f"{pixels.dtype} values", "uint8, or floating point in [0, 1]")
        low, high = pixels.min().item(), pixels.max().item()
        if not (low >= 0 and high <= 1):
            raise self._unfit("images", f"values from {low:.4g} to {high:.4g}", "uint8, or floating point in [0, 1]")
        return pixels.float()

    @torch.no_grad()
    def _batches(self, function: Callable[..., Tensor], *given: Tensor) -> Array:
        """Apply a function of tensors to some hundred rows at a time, on the model's device."""
        device = next(self.model.parameters()).device
        parts = zip(*(tensor.split(BATCH) for tensor in given), strict=True)
        return torch.cat([function(*(tensor.to(device) for tensor in part)).cpu() for part in parts]).numpy()

    def _unfit(self, what: str, found: str, allowed: str) -> AtlasError:
        return AtlasError(f"{self.run}: {what}: found {found}; allowed: {allowed}")


def load(run: str, source: str | os.PathLike[str] = ".", device: str = "cpu") -> Trained:
    """Return a trained run, as `atlas.load` describes."""
    place = Source(source)
    # A name, not a path: nothing outside the models' folder is looked at.
    plain = run.replace("_", "").isalnum()
    folder = place.take(f"{MODELS}/{run}", ("model.json", "weights.safetensors")) if plain else None
    if folder is None:
        runs = place.runs()
        if not runs:
            raise AtlasError(f"source: found no run in {place}: neither {MODELS} nor params.yaml; allowed: a checkout")
        known("run", run, runs)
        raise AtlasError(f"run '{run}' is not trained yet in {place}; run `make repro RUNS={run}` there first")
    try:
        place_of = torch.device(device)
        torch.empty(1, device=place_of)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise AtlasError(f"device: found '{device}', which cannot be used here ({reason}); try cpu") from None
    model, classes = load_model(folder, place_of)
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return Trained(run, str(about.get("dataset", "")), classes, model, about["model"])


def _tensor(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        # A copy, for torch wants to write to its memory, and Pillow's cannot be written.
        return torch.from_numpy(np.array(values))
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise AtlasError(f"found {type(values).__name__}, which is no array of numbers ({reason})") from None
