"""Disentanglement: mutual information of each dimension of the code with factors measured in the image itself."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr
from torch import Tensor

from atlas.metrics.intervals import bootstrap_counts, percentile_interval
from atlas.metrics.likelihood import ACTIVE

BINS = 20
Array = NDArray[np.float64]


def stroke_factors(images: Tensor) -> Tensor:
    """Slant, stroke width, height and width of the stroke in images [N, 1, H, W] in [0, 1], as [N, 4].

    From the ink's moments m_rc (r down, c right, about its center): slant m11 / m20, how many pixels the stroke moves
    right per pixel down; height sqrt(12 m20) and width sqrt(12 (m02 - m11^2 / m20)) after the slant is taken out, in
    pixels: the sides of an even rectangle with these moments. Stroke width is 2 * ink / outline in pixels, the outline
    being the sum of the gradient's length: a long stroke of width w and length l has ink w l and outline 2 l.

    Raises:
        ValueError: if the images have more than one channel.
    """
    if images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(f"factors: needs images of one channel; found {list(images.shape)}")
    ink = images[:, 0].double()
    # An empty image has no slant; it must not divide by zero either.
    total = ink.sum((1, 2)).clamp(min=1e-9)
    rows, columns = (torch.arange(size, dtype=torch.float64, device=ink.device) for size in ink.shape[1:])
    down = rows[None, :, None] - ((ink.sum(2) @ rows) / total)[:, None, None]
    right = columns[None, None, :] - ((ink.sum(1) @ columns) / total)[:, None, None]
    m20, m11, m02 = ((ink * product).sum((1, 2)) / total for product in (down**2, down * right, right**2))
    m20 = m20.clamp(min=1e-9)
    padded = torch.nn.functional.pad(ink, (1, 1, 1, 1))
    outline = torch.hypot(padded.diff(dim=1)[:, :, :-1], padded.diff(dim=2)[:, :-1]).sum((1, 2)).clamp(min=1e-9)
    upright = (m02 - m11**2 / m20).clamp(min=0)
    return torch.stack([m11 / m20, 2 * total / outline, (12 * m20).sqrt(), (12 * upright).sqrt()], 1)


def mutual_information_gap(codes: Tensor, factors: Tensor, resamples: int = 100) -> tuple[float, float, float]:
    """Mutual information gap of codes [N, d] against factors [N, F], and the ends of its interval.

    For each factor, what its most informed dimension knows of it less what the next one knows, over the factor's
    entropy; the mean over factors, in [0, 1] (Chen et al. 2018). The codes are means, so a dimension that varies by
    less than `ACTIVE`, which the posterior's noise drowns, counts as knowing nothing. The interval is as wide as the
    bootstrap's, about the number itself: images drawn twice add information to every cell.

    Raises:
        ValueError: if a code has fewer than two dimensions, or there are too few codes (see `joint_cells`).
    """
    if codes.shape[1] < 2:
        raise ValueError(f"mutual information gap: needs codes of at least 2 dimensions; found {codes.shape[1]}")
    cells = joint_cells(codes, factors, BINS)
    active = (codes.double().var(0) > ACTIVE).cpu().numpy()[:, None]

    def gap(counts: NDArray[np.floating]) -> float:
        information, entropies = mutual_information(cells, BINS, counts)
        second, first = np.sort(active * information, axis=0)[-2:]
        return float(((first - second) / entropies.clip(min=1e-9)).mean())

    value = gap(np.ones(len(codes)))
    resampled = np.array([gap(counts) for counts in bootstrap_counts(len(codes))[:resamples]])
    low, high = percentile_interval(resampled - resampled.mean() + value)
    return value, min(low, value), max(high, value)


def joint_cells(codes: Tensor, factors: Tensor, bins: int) -> NDArray[np.int64]:
    """Cell of each image in the joint histogram of each dimension and factor, [N, d, F]; codes [N, d], factors [N, F].

    A histogram has `bins` by `bins` cells, of equally many images each way; all cells are numbered in one row.

    Raises:
        ValueError: if there are fewer images than 2 * bins, or not as many codes as factors.
    """
    if len(codes) != len(factors) or len(codes) < 2 * bins:
        raise ValueError(f"information: needs at least {2 * bins} codes, as many factors; found {len(codes)}")
    cells = _binned(codes, bins)[:, :, None] * bins + _binned(factors, bins)[:, None]
    return (cells + bins**2 * torch.arange(cells[0].numel()).view_as(cells[0])).numpy()


def mutual_information(cells: NDArray[np.int64], bins: int, counts: NDArray[np.floating]) -> tuple[Array, Array]:
    """Mutual information in nats of each dimension with each factor, [d, F], and each factor's entropy, [F].

    Args:
        cells: [N, d, F] of `joint_cells`; counts: how often each image counts, [N].
    """
    pairs = cells[0].size
    histogram = np.bincount(cells.ravel(), np.repeat(counts, pairs), pairs * bins**2)
    joint = histogram.reshape(*cells.shape[1:], bins, bins) / counts.sum()
    entropies = entr(joint.sum(2)).sum(2)
    return entr(joint.sum(3)).sum(2) + entropies - entr(joint).sum((2, 3)), entropies[0]


def _binned(values: Tensor, bins: int) -> Tensor:
    """Return the bin of each value among those of its column, [N, K] int64 on the host; equal values share a bin."""
    columns = values.double().cpu().T.contiguous()
    inner = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1]
    return torch.searchsorted(torch.quantile(columns, inner, dim=1).T.contiguous(), columns, right=True).T
