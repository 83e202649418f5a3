"""Pretrained model: a trained run for use elsewhere. Plain images and labels in, plain arrays out."""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.core.files import AtlasError, read_json
from atlas.core.latent import BATCH_SIZE, invert
from atlas.core.model import Model, load_model
from atlas.core.schema import InversionSettings, require_known
from atlas.inference.own_image import read_image
from atlas.inference.remote import MODELS, Repository

Array = NDArray[np.float32]

INVERSION = InversionSettings(steps=200, prior_weight=0.1)
"""As params.yaml has it: of the search for an image's code, where a model has no encoder."""


class PretrainedModel:
    """A trained model with what it was trained on, ready to encode, decode, sample and transfer styles.

    Images go in as numpy arrays, torch tensors or Pillow images, uint8 or floating point in [0, 1], one or many:
    [N, C, H, W] or [N, H, W, C], without N for a single one, without C where there is but one channel. They come out
    as float32 [N, C, H, W] in [0, 1]. Codes are float32 [N, latent_dim]. Labels are class names or numbers, one for all
    images or one for each; an unconditional model takes none.

    All methods raise `AtlasError` where an argument does not fit, with what was found and what is allowed.
    """

    def __init__(self, about: Mapping[str, Any], model: Model) -> None:
        """Wrap a model in evaluation mode; `about` is what model.json holds."""
        self.run, self.dataset, self.classes, self.model = about["run"], about["dataset"], about["classes"], model
        self.variant = about["variant"]
        """What people call the model with its settings, such as "cvae"."""
        self.framing, self.background = about.get("framing"), about.get("background", "#ffffff")
        """How an image is brought to the shape: see `atlas.inference.own_image.read_image`."""
        self.shape = model.shape
        """Of an image: (channels, height, width)."""
        self.latent_dim = model.latent_dim
        self.conditional = model.conditional
        """Does the model take labels?"""

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        labels = f"labels {', '.join(self.classes)}" if self.conditional else "no labels"
        return f"<{self.run}: {self.variant} of {self.dataset}, images {size}, codes of {self.latent_dim}, {labels}>"

    def read_image(self, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
        """Return an image file of any size as the model expects it, uint8 [C, H, W]."""
        return read_image(path, self.shape, self.framing, self.background)

    def encode(self, images: Any, labels: Any = None) -> Array:
        """Return the codes [N, latent_dim] of images; without an encoder, those that gradient descent finds.

        A model that classifies predicts the labels that are not given.
        """
        pixels = self._images(images)
        if labels is None and self.model.can("classify"):
            labels = self._in_batches(self.model.classify, pixels).argmax(1)
        numbers = self._labels(labels, len(pixels))
        encode = self.model.encode if self.model.can("encode") else partial(invert, self.model, settings=INVERSION)
        return self._in_batches(encode, pixels, numbers)

    def decode(self, codes: Any, labels: Any = None) -> Array:
        """Return the images [N, C, H, W] in [0, 1] of codes [N, latent_dim], or of one code [latent_dim]."""
        codes = torch.atleast_2d(_tensor(codes))
        if codes.ndim != 2 or codes.shape[1] != self.latent_dim or not len(codes):
            raise self._invalid("codes", f"an array {list(codes.shape)}", f"[N, {self.latent_dim}]")
        if not codes.isfinite().all():
            raise self._invalid("codes", "a value that is not a finite number", "finite numbers")
        return self._in_batches(self.model.decode, codes.float(), self._labels(labels, len(codes)))

    def sample(self, labels: Any = None, count: int | None = None, seed: int = 0) -> Array:
        """Return new images [N, C, H, W] in [0, 1], of codes drawn from N(0, I). The same seed gives the same images.

        Args:
            labels: of a conditional model, one label or one for each image; if None, class after class in turn.
            count: how many images; if None, one for each label, else one of every class, else one.
        """
        if count is not None and (not isinstance(count, int) or count < 1):
            raise self._invalid("count", repr(count), "a whole number of images, 1 or more")
        if labels is None and self.conditional:
            labels = np.arange(count or len(self.classes)) % len(self.classes)
        generator = torch.Generator().manual_seed(seed)
        return self._in_batches(partial(self.model.sample, generator=generator), self._labels(labels, count))

    def transfer(self, images: Any, labels: Any = None) -> Array:
        """Return images [N, classes, C, H, W]: the style of each image, decoded with every label.

        `labels` are the images' own.
        """
        self.require_labels()
        codes = self.encode(images, labels)
        return np.stack([self.decode(codes, label) for label in range(len(self.classes))], axis=1)

    def require_labels(self) -> None:
        """Raise `AtlasError` if the model takes no labels, and so cannot transfer styles."""
        if not self.conditional:
            raise AtlasError(
                f"{self.run}: {self.variant} takes no labels, so it cannot give an image another one; allowed: a run "
                "of a conditional model (such as cvae, cvae_gan, cgan, ac_vae)"
            )

    def label(self, label: Any) -> int:
        """Return the number of a label given by its name or its number."""
        if isinstance(label, str):
            if label in self.classes or not label.isdecimal():
                return self.classes.index(require_known(f"label of {self.dataset}", label, self.classes))
            label = int(label)
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(self.classes):
            allowed = f"0 to {len(self.classes) - 1}, or a name: {', '.join(self.classes)}"
            raise self._invalid("label", repr(label), allowed)
        return label

    def _labels(self, labels: Any, count: int | None) -> Tensor:
        """Return labels as numbers, int64 [count], or as many as are given where `count` is None."""
        if not self.conditional:
            if labels is not None:
                raise self._invalid("labels", f"{labels!r:.60}", f"None, since {self.variant} takes no labels")
            return torch.zeros(count or 1, dtype=torch.long)
        if labels is None:
            raise self._invalid("labels", "None", f"one for all images or one for each, of: {', '.join(self.classes)}")
        if isinstance(labels, np.ndarray | np.generic | Tensor):
            labels = labels.tolist()
        if isinstance(labels, str) or not isinstance(labels, Iterable):
            labels = [labels]
        numbers = torch.tensor([self.label(label) for label in labels], dtype=torch.long)
        if len(numbers) not in ((1, count) if count else (len(numbers) or 1,)):
            raise self._invalid("labels", f"{len(numbers)} labels", f"one for all or one for each, {count}")
        return numbers.expand(count) if count else numbers

    def _images(self, images: Any) -> Tensor:
        """Return images as float32 [N, C, H, W] in [0, 1]."""
        pixels = _tensor(images)
        channels, height, width = self.shape
        sizes = [self.shape, (height, width, channels), *([(height, width)] if channels == 1 else [])]
        if tuple(pixels.shape) in sizes:
            pixels = pixels[None]
        if tuple(pixels.shape[1:]) not in sizes or not len(pixels):
            allowed = f"[N, {channels}, {height}, {width}], or {list(sizes[-1])} for one"
            raise self._invalid(
                "images", f"an array {list(pixels.shape)}", f"{allowed} (`read_image` reads any image file)"
            )
        if tuple(pixels.shape[1:]) == (height, width, channels):
            pixels = pixels.movedim(-1, 1).contiguous()
        pixels = pixels.reshape(-1, *self.shape)
        if pixels.dtype == torch.uint8:
            return pixels / 255
        low, high = pixels.float().min().item(), pixels.float().max().item()
        if not (pixels.is_floating_point() or pixels.dtype == torch.bool) or not (low >= 0 and high <= 1):
            values = f"{pixels.dtype} values from {low:.4g} to {high:.4g}"
            raise self._invalid("images", values, "uint8, or floating point in [0, 1]")
        return pixels.float()

    @torch.no_grad()
    def _in_batches(self, function: Callable[..., Tensor], *tensors: Tensor) -> Array:
        """Apply a function of tensors to some hundred rows at a time, on the model's device."""
        device = next(self.model.parameters()).device
        batches = zip(*(tensor.split(BATCH_SIZE) for tensor in tensors), strict=True)
        return torch.cat([function(*(tensor.to(device) for tensor in batch)).cpu() for batch in batches]).numpy()

    def _invalid(self, argument: str, value: str, allowed: str) -> AtlasError:
        return AtlasError(f"{self.run}: {argument}: found {value}; allowed: {allowed}")


def load(run: str, source: str | os.PathLike[str] = ".", device: str = "cpu") -> PretrainedModel:
    """Return a trained run, as `atlas.load` describes."""
    repository = Repository(source)
    # Trained there, or a folder that `dvc get` left there.
    folders = [parent / run for parent in (repository.folder / MODELS, repository.folder)] if repository.folder else []
    folder = next((folder for folder in folders if (folder / "model.json").is_file()), None)
    if folder is None and run.replace("_", "").isalnum():
        folder = repository.fetch(f"{MODELS}/{run}", ("model.json", "weights.safetensors"))
    if folder is None:
        if not (runs := repository.runs()):
            raise AtlasError(
                f"source: no {MODELS} and no params.yaml found in {repository}; allowed: a checkout. Where it is "
                "a folder of a larger repository, name that folder (https://...#FOLDER)"
            )
        require_known("run", run, runs)
        raise AtlasError(f"run '{run}' is not trained yet in {repository}; run `make repro RUNS={run}` there first")
    try:
        torch_device = torch.device(device)
        torch.empty(1, device=torch_device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise AtlasError(f"device: found '{device}', which cannot be used here ({reason}); try cpu") from None
    model, _ = load_model(folder, torch_device)
    about = read_json(folder / "model.json", f"train@{folder.name}")
    return PretrainedModel(about, model)


def _tensor(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        # A copy, for torch wants to write to its memory, and Pillow's cannot be written.
        return torch.from_numpy(np.array(values))
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise AtlasError(f"found {type(values).__name__}, which is no array of numbers ({reason})") from None
