"""The discrete cosine transform and its networks, against scipy's."""

import math

import numpy as np
import scipy.fft
import torch
from torch.nn import functional

from atlas.nn.dct import DCT, LOGIT_EPS, to_logits


def test_coefficients_are_the_cosine_transform(shape: tuple[int, int, int]) -> None:
    """Against scipy's, over channels, rows and columns; in falling order, and all of them give the picture back."""
    dct = DCT(shape, math.prod(shape))
    pictures = torch.rand(2, *shape)
    coefficients = dct(pictures)
    expected = scipy.fft.dctn(pictures.numpy(), axes=(1, 2, 3), norm="ortho").reshape(2, -1)
    np.testing.assert_allclose(coefficients.detach(), expected[:, dct.order], atol=1e-5)
    assert dct.order[0] == 0
    torch.testing.assert_close(dct.expected, dct.expected.sort(descending=True).values)
    torch.testing.assert_close(dct.inverse(coefficients), pictures, atol=1e-5, rtol=1e-4)
    few = DCT(shape, 7)
    padded = functional.pad(coefficients[:, :7], (0, math.prod(shape) - 7))
    torch.testing.assert_close(few.inverse(few(pictures)), dct.inverse(padded), atol=1e-5, rtol=1e-4)


def test_autocast_leaves_the_transform_in_float32(shape: tuple[int, int, int]) -> None:
    dct, pictures = DCT(shape, 20), torch.rand(2, *shape)
    exact = dct(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        rough = dct(pictures)
        back = dct.inverse(rough)
    assert rough.equal(exact) and back.equal(dct.inverse(exact))


def test_logits_of_pixels_are_finite_and_rise_beyond_0_and_1() -> None:
    pixels = torch.linspace(-0.2, 1.2, 281, requires_grad=True)
    logits = to_logits(pixels)
    inside = (pixels > LOGIT_EPS) & (pixels < 1 - LOGIT_EPS)
    torch.testing.assert_close(logits.sigmoid()[inside], pixels[inside])
    (gradient,) = torch.autograd.grad(logits.sum(), pixels)
    assert logits.isfinite().all() and (logits.diff() > 0).all() and (gradient > 0).all()
    assert logits[0].sigmoid() < 1e-6 and logits[-1].sigmoid() > 1 - 1e-6
