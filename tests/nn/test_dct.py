"""The networks around a cosine transform: the transform against scipy's, and what may not be lost on the way."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.fft
import torch
from torch.nn import functional

from atlas.core.files import AtlasError
from atlas.core.model import Model
from atlas.nn.dct import EDGE, Frequencies, to_logits

Build = Callable[..., Model]


def test_frequencies_are_the_cosine_transform(shape: tuple[int, int, int]) -> None:
    """Against scipy's, over channels, rows and columns; in falling order, and all of them give the picture back."""
    frequencies = Frequencies(shape, math.prod(shape))
    pictures = torch.rand(2, *shape)
    coefficients = frequencies.analyse(pictures)
    expected = scipy.fft.dctn(pictures.numpy(), axes=(1, 2, 3), norm="ortho").reshape(2, -1)
    np.testing.assert_allclose(coefficients.detach(), expected[:, frequencies.order], atol=1e-5)
    assert frequencies.order[0] == 0
    torch.testing.assert_close(frequencies.expected, frequencies.expected.sort(descending=True).values)
    torch.testing.assert_close(frequencies.draw(coefficients), pictures, atol=1e-5, rtol=1e-4)
    few = Frequencies(shape, 7)
    kept = functional.pad(coefficients[:, :7], (0, math.prod(shape) - 7))
    torch.testing.assert_close(few.draw(few.analyse(pictures)), frequencies.draw(kept), atol=1e-5, rtol=1e-4)


def test_autocast_leaves_the_frequencies_alone(shape: tuple[int, int, int]) -> None:
    frequencies, pictures = Frequencies(shape, 20), torch.rand(2, *shape)
    exact = frequencies.analyse(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        rough = frequencies.analyse(pictures)
        back = frequencies.draw(rough)
    assert rough.equal(exact) and back.equal(frequencies.draw(exact))


def test_logits_of_pixels_have_no_end() -> None:
    pixels = torch.linspace(-0.2, 1.2, 281, requires_grad=True)
    logits = to_logits(pixels)
    inside = (pixels > EDGE) & (pixels < 1 - EDGE)
    torch.testing.assert_close(logits.sigmoid()[inside], pixels[inside])
    (slopes,) = torch.autograd.grad(logits.sum(), pixels)
    assert logits.isfinite().all() and (logits.diff() > 0).all() and (slopes > 0).all()
    assert logits[0].sigmoid() < 1e-6 and logits[-1].sigmoid() > 1 - 1e-6


def test_a_code_that_no_picture_holds_is_refused(make: Build) -> None:
    with pytest.raises(AtlasError, match=r"latent_dim: found 4000; network 'dct' allows 1 to "):
        make("vae", latent_dim=4000, network="dct")
