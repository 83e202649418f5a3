"""Latent explorer: a run's networks as ONNX files, their description, test images and a map drawn beforehand."""

import base64
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from atlas.core.datasets import Split, to_unit
from atlas.core.files import atomic_write, write_json
from atlas.core.latent import BATCH_SIZE, batch_size, decode_uint8, encode_dataset, map_codes, plane_codes, to_uint8
from atlas.core.model import Model
from atlas.export.onnx import NETWORKS, export_discriminator, export_small
from atlas.plotting.canvas import grid

IMAGES_PER_LABEL = 2
"""Test images of each label that go with the networks, at least; of few labels as many as make `IMAGES`."""
IMAGES = 20
STATISTICS_IMAGES = 2000
"""Test images whose codes give the explorer's range and the order of its dimensions, and are its scatter."""
SCATTER_DIMENSIONS = 12
"""Dimensions of these codes that go with the networks: the most informative."""
POSTERIOR_DRAWS = 200
"""Draws from each of these images' posteriors, whose spread the map shows."""
THUMBNAIL_SIDE = 32
"""Pixels of these images' longer side, at most."""
THUMBNAIL_COLUMNS = 50
THUMBNAIL_QUALITY = 60
CALIBRATION_IMAGES = 1000
"""Test images, and as many codes drawn from the explorer's range, on which quantized networks are checked."""
CALIBRATION_PIXELS = CALIBRATION_IMAGES * 32 * 32
"""The same in pixels, for larger images: a network's inner pictures of all of them are in memory at once."""
IMAGE_BYTES = 1_000_000
"""Of the test images that go with the networks, at most."""
SIDE = 11
"""Images along a side of the map that is drawn beforehand; of large images fewer."""
MAP_HEIGHT = 10_000
"""Pixels of the map's height, at most: WebP itself ends at 16,383."""
MAP_QUALITY = 80
"""Of WebP, to 100."""
REACH = 2.5
"""How far the map goes each way from the center, in standard deviations of the codes."""


def explorer_metadata(model: Model, classes: list[str], test: Split, labels: Sequence[int] | None = None) -> dict:
    """Return what explorer.json holds: shape, classes, range of the codes, size of the map, test images as base64.

    `labels` are those that the explorer offers: the map has a block and there are test images for each; by default all.
    Where codes have a prior, a test image's `spread` is that of its posterior in the first dimensions of `order`.

    Codes lie around `center` with standard deviation `spread`, [d] each: those of the prior, or of test images where
    there is no prior. `order` lists the dimensions, most informative first; `scatter` holds the codes of those images
    in the first of them (`scatter_codes`), or nothing where the model has no encoder. There the map is the plane
    through three codes drawn from the prior, `plane` [3, d] (`plane_codes`): no dimension means more than another.
    """
    size = model.latent_dim
    center, spread = torch.zeros(size), torch.ones(size)
    order = list(range(size))
    images, scatter, plane = [], None, None
    if model.can("encode"):
        codes = encode_dataset(model, test.images[:STATISTICS_IMAGES], test.labels[:STATISTICS_IMAGES])
        order = code_order(model, codes, test)
        if not model.has_prior:
            center, spread = codes.mean(0), codes.std(0)
        scatter = scatter_codes(codes[:, order[:SCATTER_DIMENSIONS]], test.labels[:STATISTICS_IMAGES])
    elif size > 2:
        plane = torch.randn(3, size, generator=torch.Generator().manual_seed(1))
    labels = list(labels or range(max(1, len(classes))))
    most = IMAGE_BYTES // (math.prod(model.shape) * len(labels))
    each = max(1, min(most, max(IMAGES_PER_LABEL, IMAGES // len(labels))))
    chosen = torch.cat([torch.nonzero(test.labels == label)[:each, 0] for label in labels])
    for index in chosen.tolist():
        images.append({"label": int(test.labels[index]), "pixels": _base64(test.images[index].numpy())})
    if model.can("encode") and model.has_prior:
        spreads = posterior_spread(model, test.images[chosen], test.labels[chosen])[:, order[:SCATTER_DIMENSIONS]]
        for image, values in zip(images, spreads.tolist(), strict=True):
            image["spread"] = [round(value, 3) for value in values]
    return {
        "shape": list(model.shape),
        "classes": classes,
        "labels": labels,
        "conditional": model.conditional,
        "latent_dim": size,
        "center": [round(value, 5) for value in center.tolist()],
        "spread": [round(value, 5) for value in spread.tolist()],
        "order": order,
        "side": max(2, min(SIDE, MAP_HEIGHT // (model.shape[1] * (len(labels) if model.conditional else 1)))),
        "reach": REACH,
        "images": images,
        "scatter": scatter,
        "plane": None if plane is None else [[round(value, 5) for value in draw] for draw in plane.tolist()],
    }


def code_order(model: Model, codes: Tensor, test: Split) -> list[int]:
    """Return the dimensions of the code, most informative first, as the figures do: by rate, else by variance."""
    values = codes.var(0)
    if model.can("rates"):
        # Behind a flow a rate is taken at a draw from the posterior.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            size = batch_size(model.shape)
            images = test.images[: len(codes)].split(size)
            labels = test.labels[: len(codes)].split(size)
            values = torch.cat([model.rates(to_unit(i), y) for i, y in zip(images, labels, strict=True)]).mean(0)
    return values.argsort(descending=True, stable=True).tolist()


@torch.no_grad()
def posterior_spread(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    """Standard deviation of q(z|x), [N, d], of images uint8 [N, C, H, W]: that of draws, right behind a flow too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = [model.sample_posterior(to_unit(images), labels) for _ in range(POSTERIOR_DRAWS)]
    return torch.stack(draws).std(0)


def scatter_codes(codes: Tensor, labels: Tensor) -> dict:
    """Return codes [N, k] as bytes between the least and the largest of each dimension, and labels [N], as base64."""
    low, high = codes.amin(0), codes.amax(0)
    steps = ((codes - low) / (high - low).clamp(min=1e-6) * 255).round().to(torch.uint8)
    return {
        "low": [round(value, 5) for value in low.tolist()],
        "high": [round(value, 5) for value in high.tolist()],
        "codes": _base64(steps.numpy()),
        "labels": _base64(labels.numpy().astype(np.uint8)),
    }


def write_thumbnails(test: Split, path: Path) -> None:
    """Write the images of the scatter, small, as one WebP: `THUMBNAIL_COLUMNS` a row."""
    factor = min(1, THUMBNAIL_SIDE / max(test.images.shape[2:]))
    parts = map(to_unit, test.images[:STATISTICS_IMAGES].split(BATCH_SIZE))
    if factor < 1:
        resize = partial(torch.nn.functional.interpolate, scale_factor=factor, mode="bilinear", antialias=True)
        parts = map(resize, parts)
    images = torch.cat(list(parts))
    rows = -(-len(images) // THUMBNAIL_COLUMNS)
    sheet = torch.zeros(rows * THUMBNAIL_COLUMNS, *images.shape[1:])
    sheet[: len(images)] = images
    with atomic_write(path) as tmp:
        picture = grid(to_uint8(sheet).reshape(rows, THUMBNAIL_COLUMNS, *images.shape[1:]), gap=0)
        Image.fromarray(picture).save(tmp, quality=THUMBNAIL_QUALITY, method=4)


def _base64(content: np.ndarray) -> str:
    return base64.b64encode(content.tobytes()).decode("ascii")


def calibration_inputs(model: Model, network: str, metadata: dict, test: Split) -> tuple[Tensor, Tensor]:
    """Return inputs of a network and labels: test images; for the decoder their codes, and codes drawn at random."""
    count = min(CALIBRATION_IMAGES, CALIBRATION_PIXELS // math.prod(model.shape[1:]))
    images, labels = to_unit(test.images[:count]), test.labels[:count]
    if network == "encoder":
        return images, labels
    noise = torch.randn(count, model.latent_dim, generator=torch.Generator().manual_seed(0))
    codes = torch.tensor(metadata["center"]) + torch.tensor(metadata["spread"]) * noise
    all_labels = torch.arange(count) % max(1, model.num_classes)
    if not model.can("encode"):
        return codes, all_labels
    return torch.cat([codes, encode_dataset(model, images, labels)]), torch.cat([all_labels, labels])


def draw_map(model: Model, metadata: dict) -> np.ndarray:
    """Return the map of the first two dimensions of `order`, ascending: uint8 [labels * side * H, side * W, 3].

    One block for each label. Within it the first dimension rises to the right, the second upwards; all others are at
    the center. Of a `plane` the first draw lies at the lower left, the second right of it, the third above it.
    """
    side = metadata["side"]
    if metadata["plane"]:
        steps = torch.linspace(0, 1, side)
        codes = plane_codes(torch.tensor(metadata["plane"]), map_codes(steps, steps.flip(0), 2))
    else:
        axes = sorted(metadata["order"][:2])
        center, spread = torch.tensor(metadata["center"]), torch.tensor(metadata["spread"])
        steps = torch.linspace(-REACH, REACH, side)
        codes = center.repeat(side * side, 1)
        codes[:, axes] += map_codes(steps, steps.flip(0), len(axes)) * spread[axes]
    labels = metadata["labels"] if model.conditional else [0]
    images = np.stack([decode_uint8(model, codes, label, torch.device("cpu")) for label in labels])
    return grid(images.reshape(-1, side, *model.shape), gap=0)


def export_run(
    model: Model,
    classes: list[str],
    test: Split,
    folder: Path,
    labels: Sequence[int] | None = None,
    framing: Mapping[str, str] | None = None,
) -> str:
    """Write a model's networks, their description and the map into an empty folder; return a line about it.

    `framing`: how an image of one's own is brought to the shape, as `framing` and `background` of `Dataset`.
    """
    metadata = explorer_metadata(model, classes, test, labels) | dict(framing or {})
    write_json(folder / "explorer.json", metadata)
    with atomic_write(folder / "map.webp") as tmp:
        # Lossily: the map stands in for the network, or for a moment until it runs.
        Image.fromarray(draw_map(model, metadata)).save(tmp, quality=MAP_QUALITY, method=4)
    networks = [network for network, method in NETWORKS.items() if model.can(method)]
    discriminator = export_discriminator(model)
    if discriminator:
        (folder / "discriminator.onnx").write_bytes(discriminator)
    for network in networks:
        content = export_small(model, network, *calibration_inputs(model, network, metadata, test))
        (folder / f"{network}.onnx").write_bytes(content)
    size = sum(file.stat().st_size for file in folder.iterdir())
    networks += ["discriminator"] * bool(discriminator)
    return f"{' and '.join(networks)}, {size / 1e6:.1f} MB"
