"""Differentiable augmentation of what a discriminator sees (DiffAugment, Zhao et al. 2020).

A discriminator soon knows a few hundred images by heart. If it only ever sees images changed at random, real and
generated ones alike, it has to learn what they have in common; gradients flow back through the changes, so a generator
does not learn to draw them.
"""

import torch
from torch import Tensor
from torch.nn import functional

SHIFT = 8  # images are moved by up to an eighth of their side
CUTOUT = 2  # a gray square of half their side hides a part of them


def augment(*batches: Tensor) -> list[Tensor]:
    """Return batches of images [N, C, H, W] in [0, 1] changed at random: the i-th of each batch in the same way.

    Mirrored; brightness moved by up to 0.25, saturation by a factor of 0 to 2, contrast of 0.5 to 1.5; moved, what
    comes in being black; a part hidden.
    """
    count, _, height, width = batches[0].shape
    device = batches[0].device
    mirrored, brightness, saturation, contrast = torch.rand(4, count, 1, 1, 1, device=device)
    rows, columns = (torch.arange(side, device=device)[None] for side in (height, width))
    down, right = (_uniform(count, -(side // SHIFT), side // SHIFT, device) for side in (height, width))
    top, left = (
        _uniform(count, -(side // CUTOUT // 2), side - side // CUTOUT // 2, device) for side in (height, width)
    )
    hidden = ((rows >= top) & (rows < top + height // CUTOUT))[:, None, :, None] & (
        (columns >= left) & (columns < left + width // CUTOUT)
    )[:, None, None, :]
    # Of the padded image: the row and the column that each pixel is taken from.
    pad_down, pad_right = height // SHIFT, width // SHIFT
    from_row = (rows + down + pad_down)[:, None, :, None]
    from_column = (columns + right + pad_right)[:, None, None, :]
    changed = []
    for images in batches:
        images = torch.where(mirrored < 0.5, images, images.flip(3))
        images = images + (brightness - 0.5) / 2
        gray = images.mean(1, keepdim=True)
        images = gray + 2 * saturation * (images - gray)
        mean = images.mean((1, 2, 3), keepdim=True)
        images = mean + (contrast + 0.5) * (images - mean)
        padded = functional.pad(images, (pad_right, pad_right, pad_down, pad_down))
        # Not grid_sample, which has no deterministic gradient on CUDA.
        shifted = padded.gather(2, from_row.expand(-1, images.shape[1], -1, padded.shape[3]))
        shifted = shifted.gather(3, from_column.expand(-1, images.shape[1], height, -1))
        changed.append(shifted.masked_fill(hidden, 0.5))
    return changed


def _uniform(count: int, low: int, high: int, device: torch.device) -> Tensor:
    """Return whole numbers [count, 1] between `low` and `high`, both included."""
    return torch.randint(low, high + 1, (count, 1), device=device)
