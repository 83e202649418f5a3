"""Figures of the latent space: maps, walks along its dimensions and between its points, the scatter of codes."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from atlas.figures.context import Album, dimension
from atlas.core.latent import map_axes, map_codes, pca
from atlas.show import figures

LARGE = 64
"""Dimensions from which on two of them say next to nothing."""
SHOWN = 5.0
"""The scatter's axes run from minus to plus this, where the prior keeps codes near zero; as in the seed."""


def maps(album: Album) -> None:
    """Draw the map over two dimensions, of each label and of all together."""
    model, axes = album.model, album.axes
    side, quantile = album.settings.map_steps, album.settings.map_quantile
    free = model.has_prior or album.codes is None
    seen = None if free or album.codes is None else album.codes[:, axes]
    first, second = map_axes(side, quantile, seen)
    # What the map does not walk along stays where the prior, or else the codes, have their centre.
    centre = torch.zeros(model.latent_dim) if free or album.codes is None else album.codes.mean(0)
    codes = centre.repeat(side * side, 1)
    codes[:, axes] = map_codes(first, second, len(axes))
    pictures = [album.decode(codes, label).reshape(side, side, *model.shape) for label in album.labels]
    where = "at equal steps of probability of N(0, 1)" if seen is None else "over the region that the codes occupy"
    rest = "" if model.latent_dim <= 2 else f", the other dimensions {'zero' if seen is None else 'at their means'}"
    what = f"Map of {album.axes_in_words}"
    names = album.axis_names
    if model.conditional:
        path, title = album.add(
            "maps.png", f"{what}: every label", f"for each label a grid of decoded images, {where}{rest}"
        )
        figures.latent_maps(path, np.stack(pictures), album.classes, title, names)
    for label, picture in zip(album.labels, pictures, strict=True):
        path, title = album.add(
            f"map_{label}.png" if model.conditional else "map.png",
            f"{what}: label {album.classes[label]}" if model.conditional else what,
            f"{side} by {side} images decoded from codes {where}{rest}; {names[0]} rises to the right"
            + (f", {names[1]} upwards" if names[1] else ""),
        )
        figures.latent_map(path, picture, first.numpy(), second.numpy(), title, names)


def plane(album: Album) -> None:
    """Draw the map of a large code over the plane in which the codes of test images vary most."""
    codes = album.codes
    if codes is None or album.model.latent_dim < LARGE:
        return
    side, quantile = album.settings.map_steps, album.settings.map_quantile
    centre, directions, share = pca(codes, 2)
    first, second = map_axes(side, quantile, (codes - centre) @ directions)
    shown = centre + map_codes(first, second, 2) @ directions.T
    pictures = [album.decode(shown, label).reshape(side, side, *album.model.shape) for label in album.labels]
    path, title = album.add(
        "plane.png",
        f"Map of the plane in which {album.model.latent_dim}-dimensional codes vary most",
        f"{side} by {side} images decoded from the plane of the two largest principal components of test codes, which "
        f"hold {share:.0%} of their variance, over the region that the codes occupy",
    )
    names = ("1st component", "2nd component")
    if album.model.conditional:
        figures.latent_maps(path, np.stack(pictures), album.classes, title, names)
    else:
        figures.latent_map(path, pictures[0], first.numpy(), second.numpy(), title, names)


def traversals(album: Album) -> None:
    """Draw one image's code, a row a dimension, with that dimension walked from one end of its range to the other."""
    model, settings = album.model, album.settings
    first = torch.zeros(1, dtype=torch.long)
    label = int(album.test.labels[0])
    codes = album.draws(1) if album.codes is None else album.codes_of(first)
    walked = album.order[: settings.traversals]
    steps, quantile = settings.traversal_steps, settings.map_quantile
    values = _ranges(album, walked)
    grid = codes[0].repeat(len(walked), steps, 1)
    for row, axis in enumerate(walked):
        grid[row, :, axis] = values[row]
    images = album.decode(grid, label)
    names = [dimension(axis) for axis in walked]
    if album.rates is not None:
        names = [f"{name} · {album.rates[axis]:.1f} nats" for name, axis in zip(names, walked, strict=True)]
    prior = model.has_prior
    of = f"label {album.classes[label]}" if model.conditional else ""
    start = "a code drawn from N(0, I)" if album.codes is None else f"the code of a test image ({album.classes[label]})"
    if album.rates is not None:
        ordered = ", highest rate first"
    else:
        ordered = "" if album.codes is None else ", largest variance first"
    shown = "every dimension" if len(walked) == model.latent_dim else f"{len(walked)} of {model.latent_dim} dimensions"
    path, title = album.add(
        "traversals.png",
        f"Walks along {shown}{ordered}" + (f", {of}" if of and album.codes is None else ""),
        f"each row is {start} with one dimension moved from left to right and all others kept"
        + (", the row named by the dimension" + ("" if album.rates is None else " and its mean rate")),
    )
    reach = f"quantiles {quantile:g} to {1 - quantile:g} of " + ("N(0, 1)" if prior else "the codes of test images")
    heads = [f"{value:.2f}".replace("-", "−") for value in values[0].tolist()] if prior else []
    figures.strips(path, images, names, title, f"{start}, one dimension at a time over the {reach}", heads)


def _ranges(album: Album, walked: list[int]) -> Tensor:
    """Values [rows, steps] that each dimension walked along takes."""
    steps, quantile = album.settings.traversal_steps, album.settings.map_quantile
    if album.model.has_prior or album.codes is None:
        return map_axes(steps, quantile)[0].expand(len(walked), steps)
    return torch.stack([map_axes(steps, quantile, album.codes[:, [axis]])[0] for axis in walked])


def interpolations(album: Album) -> None:
    """Draw what lies between two test images, or between two prior codes where images have no codes at hand."""
    rows, steps = album.settings.interpolations, album.settings.interpolation_steps
    shares = torch.linspace(0, 1, steps)
    conditional = album.model.conditional
    if album.codes is None:
        starts, ends = album.draws(2 * rows).chunk(2)
        labels = torch.arange(rows) % len(album.classes)
        images = album.decode(spherical(starts, ends, shares), labels[:, None].expand(rows, steps))
        path, title = album.add(
            "interpolations.png",
            "Between two codes drawn from N(0, I), on a great circle",
            "each row goes from the image of one prior code to that of another along the sphere (spherical "
            "interpolation)" + (", both with the label at the left" if conditional else ""),
        )
        names = [album.classes[label] for label in labels.tolist()] if conditional else [""] * rows
        figures.strips(path, images, names, title, "spherical interpolation: no step leaves the shell of the prior")
        return
    first, last = pairs(album.test.labels.cpu(), rows, conditional)
    starts, ends = album.codes_of(first), album.codes_of(last)
    labels = album.test.labels[first].cpu()
    images = album.decode(straight(starts, ends, shares), labels[:, None].expand(len(first), steps))
    names = album.names_of(first)
    if not conditional:
        names = [f"{one} – {other}" for one, other in zip(names, album.names_of(last), strict=True)]
    path, title = album.add(
        "interpolations.png",
        "Between two test images" + (" of one label" if conditional else ""),
        "each row shows a test image, then images decoded along the straight line from its code to that of the test "
        "image at the other end" + (", all with the label at the left" if conditional else ""),
    )
    heads = ["original", "decoded", *[""] * (steps - 2), "decoded", "original"]
    below = "straight interpolation between the codes of the originals at both ends"
    figures.strips(path, images, names, title, below, heads, album.images(first), album.images(last))


def pairs(labels: Tensor, count: int, same: bool) -> tuple[Tensor, Tensor]:
    """Return the places [count] of pairs of images, the first that come: of the same label, or of two labels.

    Args:
        labels: [N], of all images.
    """
    places = [torch.nonzero(labels == label).flatten() for label in labels.unique()]

    def nth(label: int, turn: int) -> Tensor:
        place = places[label % len(places)]
        return place[turn % len(place)]

    kinds = len(places)
    if same:
        picked = [(nth(row, 2 * (row // kinds)), nth(row, 2 * (row // kinds) + 1)) for row in range(count)]
    else:
        # Class 0 to 1, 2 to 3, and so on; the turn of each is how often the classes were gone through.
        picked = [(nth(2 * row, 2 * row // kinds), nth(2 * row + 1, (2 * row + 1) // kinds)) for row in range(count)]
    first, last = zip(*picked, strict=True)
    return torch.stack(first), torch.stack(last)


def straight(starts: Tensor, ends: Tensor, shares: Tensor) -> Tensor:
    """Return codes [N, steps, d] on the straight lines from `starts` [N, d] to `ends` [N, d] at `shares` [steps]."""
    return torch.lerp(starts[:, None], ends[:, None], shares[None, :, None])


def spherical(starts: Tensor, ends: Tensor, shares: Tensor) -> Tensor:
    """Return codes [N, steps, d] on the great circles from `starts` [N, d] to `ends` [N, d] at `shares` [steps].

    Shoemake 1985: sin((1 - t) w) / sin w and sin(t w) / sin w of the two, w the angle between them. In many dimensions
    draws from N(0, I) lie near a sphere, and the middle of a straight line between two far inside it (White 2016).
    """
    cosine = functional.cosine_similarity(starts, ends).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.acos()[:, None, None]
    there = shares[None, :, None]
    return ((1 - there) * angle).sin() / angle.sin() * starts[:, None] + (there * angle).sin() / angle.sin() * ends[
        :, None
    ]


def scatter(album: Album) -> None:
    """Draw the codes of test images over two dimensions, coloured by class."""
    assert album.codes is not None
    count = min(album.settings.scatter, len(album.test))
    codes, labels = album.codes[:count, album.axes], album.test.labels[:count]
    # A code of one dimension lies on a line.
    codes = functional.pad(codes, (0, 2 - len(album.axes)))
    path, title = album.add(
        "codes.png",
        f"Codes of test images: {album.axes_in_words}",
        f"scatter of {count} codes, coloured and marked by class as the legend says",
    )
    limits = SHOWN if album.model.has_prior else None
    figures.latent_scatter(path, codes.numpy(), labels.cpu().numpy(), album.classes, title, limits, album.axis_names)
