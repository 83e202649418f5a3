"""Figures of the latent space: maps, traversals of its dimensions, interpolations, the scatter of codes."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from atlas.core.latent import map_axes, map_codes, pca, plane_codes
from atlas.figures.context import RunFigures, dimension_name
from atlas.plotting import charts, sheets
from atlas.plotting.canvas import Array

Axes = tuple[Tensor, Tensor]  # the values of a map along its sides, [n] each

MANY_DIMENSIONS = 64  # from which on two of them say next to nothing


def latent_maps(figures: RunFigures) -> None:
    """Draw the map over two dimensions, of each label and of all together.

    The others of a large code are those of a test image: far from the shell of the prior, zero is no image. Where there
    is no encoder, the map is the plane through three codes drawn from the prior, as in the explorer.
    """
    model = figures.model
    if figures.codes is None and model.latent_dim > 2:
        _map_of_draws(figures)
        return
    names, subject = figures.axis_names, f"Map of {figures.axes_description}"
    directions = torch.eye(model.latent_dim)[:, figures.axes]
    off = 1 - directions.sum(1)
    if figures.codes is None or model.has_prior:
        center, codes, rest = torch.zeros(model.latent_dim), None, "zero"
        alt = "images decoded from codes at equal steps of probability of N(0, 1)"
    else:
        center, codes, rest = figures.codes.mean(0) * off, figures.codes @ directions, "at their mean"
        alt = "images decoded from codes over the region that the codes of test images occupy"
    if figures.codes is not None and model.latent_dim >= MANY_DIMENSIONS:
        center, rest = _code_of_one(figures) * off, "those of a test image"
        subject += ", around a test image"
    alt += "" if model.latent_dim <= 2 else f", the other dimensions {rest}"
    axes, grid = _plane(figures, center, directions, codes)
    _draw_maps(figures, subject, alt, axes, grid, names)


def _map_of_draws(figures: RunFigures) -> None:
    alt = (
        "images decoded from the plane through three codes drawn from N(0, I), which lie at the lower left, the lower "
        "right and the upper left"
    )
    steps = torch.linspace(0, 1, figures.fitting(figures.settings.map_steps))
    axes = steps, steps.flip(0)
    grid = plane_codes(figures.prior_codes(3), map_codes(*axes, 2))
    _draw_maps(figures, "Map between three codes drawn from N(0, I)", alt, axes, grid, ("2nd draw", "3rd draw"))


def _draw_maps(figures: RunFigures, subject: str, alt: str, axes: Axes, grid: Tensor, names: tuple[str, str]) -> None:
    """Draw the codes of a map [n * n, d] with every label in one figure, and of a conditional model each in its own."""
    file, which = ("maps.png", f": {figures.every_label}") if figures.model.conditional else ("map.png", "")
    maps = _draw_plane(figures, file, subject + which, alt, axes, grid, names)
    first, second = (values.numpy() for values in axes)
    for label, images in zip(figures.labels, maps, strict=True) if figures.model.conditional else ():
        path, title = figures.add(f"map_{label}.png", f"{subject}: label {figures.names[label]}", alt)
        sheets.latent_map(path, images, first, second, title, names)


def pca_map(figures: RunFigures) -> None:
    """Draw the map of a large code over the plane of the two largest principal components of test codes."""
    codes, dimensions = figures.codes, figures.model.latent_dim
    if codes is None or dimensions < MANY_DIMENSIONS:
        return
    mean, components, share = pca(codes, 2)
    title = f"Map of the plane in which {dimensions}-dimensional codes vary most, around a test image"
    alt = (
        "images decoded from a test image's code, moved along the two principal components that hold "
        f"{share:.0%} of the codes' variance"
    )
    names = ("1st component", "2nd component")
    residual = _code_of_one(figures) - mean
    center = mean + residual - components @ (components.T @ residual)
    axes, grid = _plane(figures, center, components, (codes - mean) @ components)
    _draw_plane(figures, "plane.png", title, alt, axes, grid, names)


def _code_of_one(figures: RunFigures) -> Tensor:
    """Return the code [d] of the test image whose style is transferred first."""
    return figures.codes_of(figures.style_sources[:1])[0]


def _plane(figures: RunFigures, center: Tensor, directions: Tensor, codes: Tensor | None) -> tuple[Axes, Tensor]:
    """Return the axes of a map and its codes [n * n, d], center [d] + directions [d, 2].

    The axes cover codes [N, 2] in the plane, or the prior where these are None.
    """
    side = figures.fitting(figures.settings.map_steps)
    axes = map_axes(side, figures.settings.map_quantile, codes)
    return axes, center + map_codes(*axes, directions.shape[1]) @ directions.T


def _draw_plane(
    figures: RunFigures, file: str, title: str, alt: str, axes: Axes, grid: Tensor, names: tuple[str, str]
) -> Array:
    """Draw and return the maps [L, n, n, C, H, W] of codes [n * n, d]."""
    first, second = (values.numpy() for values in axes)
    codes = grid.unflatten(0, (len(second), len(first)))
    maps = np.stack([figures.decode(codes, label) for label in figures.labels])
    path, title = figures.add(file, title, alt)
    if figures.model.conditional:
        sheets.latent_maps(path, maps, first, second, figures.shown_names, title, names)
    else:
        sheets.latent_map(path, maps[0], first, second, title, names)
    return maps


def traversals(figures: RunFigures) -> None:
    """Draw one image's code, a row a dimension, with that dimension moved from one end of its range to the other."""
    model, rates, settings = figures.model, figures.rates, figures.settings
    axes = figures.order[: settings.traversals]
    steps, label = figures.fitting(settings.traversal_steps), int(figures.test.labels[0])
    (name,) = figures.names_of(torch.tensor([0]))
    if figures.codes is None:
        code, start, order = figures.prior_codes(1)[0], "a code drawn from N(0, I)", ""
        suffix = f", label {name}" if model.conditional else ""
    else:
        code, start, order = (
            figures.codes[0],
            "the code of a test image" + (f" ({name})" if name else ""),
            ", largest variance first",
        )
        suffix = ""
    # Over quantiles of N(0, 1); without a prior, of the codes of the test images.
    codes = None if model.has_prior else figures.codes
    grid = code.repeat(len(axes), steps, 1)
    for row, axis in enumerate(axes):
        values = None if codes is None else codes[:, [axis]]
        grid[row, :, axis], _ = map_axes(steps, settings.map_quantile, values)
    names = [dimension_name(axis) + ("" if rates is None else f" · {rates[axis]:.1f} nats") for axis in axes]
    which = "every dimension" if len(axes) == model.latent_dim else f"{len(axes)} of {model.latent_dim} dimensions"
    title = f"Traversals of {which}{order if rates is None else ', highest rate first'}{suffix}"
    alt = f"each row is {start} with one dimension, named at its left, moved and all others kept"
    path, title = figures.add("traversals.png", title, alt)
    span = f"{settings.map_quantile:g} to {1 - settings.map_quantile:g}"
    source = "N(0, 1)" if model.has_prior else "the codes of test images"
    below = f"{start}, one dimension at a time over the quantiles {span} of {source}"
    columns = [f"{value:.2f}".replace("-", "−") for value in grid[0, :, axes[0]].tolist()] if model.has_prior else []
    sheets.image_rows(path, figures.decode(grid, label), names, title, below, columns)


def interpolations(figures: RunFigures) -> None:
    """Draw what lies between two test images, or between two prior codes where there is no encoder."""
    rows, steps = figures.settings.interpolations, figures.fitting(figures.settings.interpolation_steps)
    weights = torch.linspace(0, 1, steps)
    conditional = figures.model.conditional
    originals: list[Array] = []
    columns: list[str] = []
    if figures.codes is None:
        starts, ends = figures.prior_codes(2 * rows).chunk(2)
        codes = spherical(starts, ends, weights)
        labels = torch.tensor(figures.labels)[torch.arange(rows) % len(figures.labels)]
        names = [figures.names[label] for label in labels.tolist()] if conditional else [""] * rows
        title = "Between two codes drawn from N(0, I), on a great circle"
        alt = "each row goes from the image of one prior code to that of another along the sphere"
        below = "spherical interpolation: no step leaves the shell of the prior"
    else:
        # Of the labels that are shown; where no image has one, of all.
        shown = figures.places if (figures.places >= 0).any() else torch.zeros_like(figures.places)
        first, last = pairs(shown, rows, conditional)
        codes = linear(figures.codes_of(first), figures.codes_of(last), weights)
        labels = figures.labels_of(first).cpu()
        names = figures.names_of(first)
        if not conditional and figures.shown:
            names = [f"{start} – {end}" for start, end in zip(names, figures.names_of(last), strict=True)]
        title = "Between two test images" + (" of one label" if conditional else "")
        alt = "each row shows images decoded along the straight line between the codes of the test images at its ends"
        below = "linear interpolation between the codes of the originals at both ends"
        columns = ["original", "decoded", *[""] * (steps - 2), "decoded", "original"]
        originals = [figures.images(first), figures.images(last)]
    alt += ", with the label at its left" if conditional else ""
    path, title = figures.add("interpolations.png", title, alt)
    images = figures.decode(codes, labels[:, None].expand(rows, steps))
    sheets.image_rows(path, images, names, title, below, columns, *originals)


def pairs(labels: Tensor, count: int, same_label: bool) -> tuple[Tensor, Tensor]:
    """Return the indices [count] of pairs of images, the first that come: of one label, or of two.

    Args:
        labels: [N], of all images; those of negative labels are left out.
    """
    by_class = [torch.nonzero(labels == label).flatten() for label in labels[labels >= 0].unique()]
    classes = len(by_class)

    def images(places: Tensor) -> Tensor:
        """Return the images at places in the order that takes one of each class in turn."""
        turns = [(by_class[place % classes], place // classes) for place in places.tolist()]
        return torch.stack([index[turn % len(index)] for index, turn in turns])

    rows = torch.arange(count)
    first = rows + rows // classes * classes if same_label else 2 * rows
    return images(first), images(first + (classes if same_label else 1))


def linear(starts: Tensor, ends: Tensor, weights: Tensor) -> Tensor:
    """Linear interpolation: codes [N, steps, d] between `starts` and `ends` [N, d] at `weights` [steps] of the end."""
    return torch.lerp(starts[:, None], ends[:, None], weights[None, :, None])


def spherical(starts: Tensor, ends: Tensor, weights: Tensor) -> Tensor:
    """Spherical interpolation: codes [N, steps, d] on the great circles from `starts` to `ends` [N, d].

    Shoemake 1985: sin((1 - t) w) / sin w and sin(t w) / sin w of the two, w the angle between them. In many dimensions
    draws from N(0, I) lie near a sphere, and the middle of a straight line between two far inside it (White 2016).
    """
    cosine = functional.cosine_similarity(starts, ends).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.acos()[:, None, None]
    t = weights[None, :, None]
    return (((1 - t) * angle).sin() * starts[:, None] + (t * angle).sin() * ends[:, None]) / angle.sin()


def latent_scatter(figures: RunFigures) -> None:
    """Draw the codes of test images over two dimensions, colored by class; of a conditional model also of one label."""
    assert figures.codes is not None
    model, settings, places, axes = figures.model, figures.settings, figures.places, figures.axes
    # A code of one dimension lies on a line.
    codes = functional.pad(figures.codes[:, axes], (0, 2 - len(axes))).numpy()
    count = min(settings.scatter, len(codes))
    colors = ", colored and marked by class as the legend says" if figures.shown else ""
    circles = "; the circles hold 39, 86 and 99 % of N(0, I)" if model.has_prior else ""
    path, title = figures.add(
        "codes.png",
        f"Codes of test images: {figures.axes_description}{figures.labels_note}",
        f"scatter of {count} codes{colors}{circles}",
    )
    names, prior = figures.axis_names, model.has_prior
    charts.latent_scatter(
        path, codes[:count], places[:count].numpy(), figures.shown_names, title, None, names, prior
    )  # fmt: skip
    if model.conditional:
        # The label whose style is transferred first.
        label = int(figures.test.labels[figures.style_sources[0]])
        own = (figures.test.labels == label).cpu().numpy()
        path, title = figures.add(
            "codes_label.png",
            f"Codes of test images of label {figures.names[label]}: {figures.axes_description}",
            f"scatter of the codes of the {own.sum()} test images of one label{circles}",
        )
        limit = settings.scatter_limit if prior else None
        charts.latent_scatter(path, codes[own], np.full(own.sum(), -1), [], title, limit, names, prior)
