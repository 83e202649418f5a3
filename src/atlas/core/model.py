"""Model interface: what trainer, metrics and figures know of a model; models found by name, saved and loaded."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from atlas.core.files import AtlasError, atomic_write, read_json, require, write_json

Shape = tuple[int, int, int]
"""Of an image: (channels, height, width)."""


@dataclass
class Losses:
    """Losses of one forward pass: a scalar to minimize for each parameter group, and the named terms to log.

    All in nats per image, averaged over the batch.
    """

    groups: dict[str, Tensor]
    terms: dict[str, Tensor]
    discriminator: Tensor | None = None
    """The discriminator's loss, where there is one: it pauses groups whose `balance` says so."""

    def __getitem__(self, group: str) -> Tensor:
        return self.groups[group]


class Bound(NamedTuple):
    """The two parts of the negative evidence lower bound, [N] nats per image each."""

    rate: Tensor
    distortion: Tensor


class Model(nn.Module):
    """A generative model. It overrides what it can do, and `can` tells callers what that is.

    Images are float [N, C, H, W] in [0, 1], labels int64 [N], codes float [N, latent_dim]. Labels are always passed;
    unconditional models ignore them. Settings are the keyword-only arguments of the constructor, with their types.
    """

    conditional = False
    """Does `decode` depend on the label?"""
    has_prior = True
    """Was the code trained to follow N(0, I)? An autoencoder's was not."""
    pixels: Literal["", "grey", "binary", "bytes", "real"] = ""
    """What `elbo` bounds: a cross-entropy of grey values (no likelihood), binary pixels, 8-bit values (only of these do
    bits per dimension mean anything), or a density of real values."""

    kl_weight: float | Tensor = 1.0
    """Factor of the KL divergence in a training's loss: below 1 while it is warmed up (Bowman et al. 2016)."""

    def __init__(self, shape: Shape, num_classes: int, latent_dim: int) -> None:
        super().__init__()
        self.shape = shape
        self.num_classes = num_classes
        self.latent_dim = latent_dim

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the named parameter groups; each has its own loss and its own optimizer."""
        raise NotImplementedError

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        """Return the loss of each parameter group and the terms to log."""
        raise NotImplementedError

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the codes [N, latent_dim]; of a distribution, its mean."""
        raise NotImplementedError

    def sample_posterior(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return one code [N, latent_dim] an image, z ~ q(z|x): what the decoder sees in training.

        Of an encoder without noise, the code itself.
        """
        return self.encode(images, labels)

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Return images [N, C, H, W] in [0, 1]; of a distribution, its mean."""
        raise NotImplementedError

    def elbo(self, images: Tensor, labels: Tensor) -> Bound:
        """Return rate and distortion at one posterior sample an image."""
        raise NotImplementedError

    def log_weights(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return log p(x, z) - log q(z|x), [N] nats, at one posterior sample an image.

        Its mean is the evidence lower bound; the log of the mean of its exponential over many samples is the
        importance-weighted bound (Burda et al. 2016).
        """
        raise NotImplementedError

    def posterior(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z|x), [N, latent_dim] each, where it is a diagonal Gaussian."""
        raise NotImplementedError

    def log_joint(self, images: Tensor, labels: Tensor, codes: Tensor) -> Tensor:
        """Return log p(x, z), [N] nats, less the constant of N(0, I)."""
        raise NotImplementedError

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the rate of each dimension of the code, [N, latent_dim] nats."""
        raise NotImplementedError

    def classify(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] of the label that the model itself predicts for the image."""
        raise NotImplementedError

    def sample(self, labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return one image a label, from codes drawn from N(0, I) (on the CPU: the same draws on every device)."""
        codes = torch.randn(len(labels), self.latent_dim, generator=generator)
        return self.decode(codes.to(labels.device), labels)

    def warmed_up(self, rate: Tensor) -> Tensor:
        """Return the rate as the loss counts it now: see `kl_weight`."""
        return self.kl_weight * rate if self.training else rate

    def can(self, ability: str) -> bool:
        """Return whether this model has `encode`, `elbo` or another of the methods above."""
        return getattr(type(self), ability) is not getattr(Model, ability)


def find_model(name: str) -> type[Model]:
    """Return the model class that `src/atlas/models/<name>.py` defines.

    Raises:
        AtlasError: if there is no such file, or not one model in it.
    """
    file = f"src/atlas/models/{name}.py"
    try:
        module = importlib.import_module(f"atlas.models.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"atlas.models.{name}":
            raise
        raise AtlasError(f"model '{name}': {file}, which defines it, is missing") from None
    own = (value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__)
    models = [value for value in own if isinstance(value, type) and issubclass(value, Model)]
    if len(models) != 1:
        raise AtlasError(f"model '{name}': {file} must define one class derived from Model, not {len(models)}")
    return models[0]


def build(name: str, shape: Shape, num_classes: int, arguments: Mapping[str, Any]) -> Model:
    """Return a freshly initialized model.

    Args:
        name: of its file.
        shape: of an image, (C, H, W).
        arguments: the keyword arguments of the constructor: the settings, checked before (`Run.arguments`).

    Raises:
        AtlasError: if there is no such model, an argument does not fit it, or it needs labels and there are none.
    """
    model_class = find_model(name)
    try:
        model = model_class(shape, num_classes, **arguments)
    except (TypeError, ValueError) as error:
        raise AtlasError(" ".join(f"model '{name}': {error}".split())) from error
    if model.conditional and num_classes < 2:
        raise AtlasError(
            f"model '{name}' is conditional, but the images have no labels to condition on; allowed: an unconditional "
            "model, or a data set of two labels or more (a folder's sub-folders)"
        )
    return model


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's parameters and buffers as safetensors."""
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with atomic_write(path) as tmp:
        tmp.write_bytes(save(state))


def load_weights(module: nn.Module, path: Path, stage: str) -> None:
    """Fill a module from a file that `stage` wrote.

    Raises:
        AtlasError: if the file is missing, damaged, or of another network.
    """
    try:
        module.load_state_dict(load_file(require(path, stage)))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise AtlasError(f"{path} does not fit ({reason}); run `dvc repro --force {stage}`") from None


def save_model(
    model: Model, folder: Path, *, run: str, dataset: str, name: str, variant: str, classes: list[str],
    arguments: Mapping[str, Any], framing: str = "crop", background: str = "#ffffff",
) -> None:  # fmt: skip
    """Write `weights.safetensors` and `model.json` into a folder.

    Args:
        name: of the model's file; variant: what people call it with these settings, such as "cvae".
        arguments: the keyword arguments that it was built with.
        framing, background: how an image is brought to the shape, as `Dataset` has them.
    """
    save_weights(model, folder / "weights.safetensors")
    content = {
        "run": run,
        "dataset": dataset,
        "model": name,
        "variant": variant,
        "shape": list(model.shape),
        "classes": classes,
        "arguments": dict(arguments),
        "framing": framing,
        "background": background,
    }
    write_json(folder / "model.json", content)


def load_model(folder: Path, device: torch.device) -> tuple[Model, list[str]]:
    """Return a trained model, in evaluation mode on `device`, and the names of its classes.

    Raises:
        AtlasError: if the folder lacks a file or a file is damaged.
    """
    stage = f"train@{folder.name}"
    path = folder / "model.json"
    about = read_json(path, stage)
    try:
        model = build(about["model"], tuple(about["shape"]), len(about["classes"]), about["arguments"])
    except (AtlasError, KeyError, TypeError, ValueError) as error:
        raise AtlasError(f"{path} is damaged ({error}); run `dvc repro --force {stage}`") from None
    load_weights(model, folder / "weights.safetensors", stage)
    return model.to(device).eval(), about["classes"]
