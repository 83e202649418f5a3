"""Trained networks as ONNX: what runs them elsewhere, such as a browser, needs neither this code nor PyTorch."""

import copy
import logging
import math
import warnings

import onnx
import torch
from torch import Tensor, nn

from atlas.core.model import Model

PARTS = ("decoder", "encoder")

NEAR = 6e-5
"""How far rounded weights may move an output of a part: what is left to 1e-4 is for another machine's arithmetic."""
BITS = range(11, 22)
"""Binary digits below a tensor's typical weight that are tried, the fewest first."""
SMALL, MORE = 0.05, 4
"""A tensor with less than this share of a network's weights keeps so many digits more: they cost next to nothing."""


class _Decoder(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.model.decode(codes, labels)


class _Encoder(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.model.encode(images, labels)


def export(model: Model, part: str) -> bytes:
    """Return `part` of a model as one ONNX file, its weights inside; the same model gives the same bytes.

        decoder   codes float32 [N, d], labels int64 [N]            ->  images float32 [N, C, H, W] in [0, 1]
        encoder   images float32 [N, C, H, W], labels int64 [N]     ->  codes float32 [N, d]

    N is free. Labels are an input of every network, which one that is shown none ignores.

    Raises:
        ValueError: if there is no such part.
    """
    if part not in PARTS:
        raise ValueError(f"part: found {part!r}; allowed: {', '.join(PARTS)}")
    codes, images = torch.zeros(2, model.latent_dim), torch.zeros(2, *model.shape)
    network, first, names = {
        "decoder": (_Decoder, codes, ("codes", "images")),
        "encoder": (_Encoder, images, ("images", "codes")),
    }[part]
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # That both inputs share their free dimension is meant.
            warnings.filterwarnings("ignore", message=r"(?s).*will not be used, since it shares")
            program = torch.onnx.export(
                network(model).eval(),
                (first, torch.zeros(2, dtype=torch.int64)),
                input_names=[names[0], "labels"],
                output_names=[names[1]],
                dynamic_shapes=({0: torch.export.Dim("batch")}, {0: torch.export.Dim("batch")}),
                dynamo=True,
                verbose=False,
            )
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    assert program is not None
    return _without_notes(program.model_proto).SerializeToString(deterministic=True)


def _without_notes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes of where in which file each node came from: they differ between machines."""
    for noted in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    for described in (*proto.graph.input, *proto.graph.output):
        described.ClearField("metadata_props")
    return proto


@torch.no_grad()
def slim(model: Model, part: str, given: Tensor, labels: Tensor) -> Model:
    """Return a copy whose weights are rounded as far as `part`'s outputs for what it is given move by at most `NEAR`.

    Each tensor's weights become multiples of a power of two, so that files compress to half their size. Sums of such
    numbers are such numbers: what the exporter computes beforehand keeps it so. Where more digits than `BITS` would be
    needed, the model itself is returned.

    Args:
        given: codes [N, d] for the decoder, images [N, C, H, W] for the encoder; labels: [N].
    """
    exact = getattr(model, part.removesuffix("r"))(given, labels)
    for bits in BITS:
        rounded = copy.deepcopy(model).eval()
        whole = sum(weights.numel() for weights in rounded.parameters())
        for weights in rounded.parameters():
            kept = bits + (MORE if weights.numel() < SMALL * whole else 0)
            size = float(weights.square().mean().sqrt())
            if size > 0:
                step = 2.0 ** (math.floor(math.log2(size)) - kept)
                # Plus zero: of what is rounded away no sign stays.
                weights.copy_((weights / step).round() * step + 0.0)
        if float((getattr(rounded, part.removesuffix("r"))(given, labels) - exact).abs().max()) <= NEAR:
            return rounded
    return model
