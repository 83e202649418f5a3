"""Trained networks as ONNX: what runs them elsewhere, such as a browser, needs neither this code nor PyTorch."""

import logging
import warnings

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from atlas.models.base import Model

PARTS = ("decoder", "encoder")

KEPT = 15
"""Bits after the point that a weight keeps of float32's 23: images move by about 1e-5, and files compress to 0.6 of
their size instead of 0.85."""


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

    N is free. Labels are an input of every network, which one that is shown none ignores. Weights are rounded to
    `KEPT` bits.

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
    return _rounded(_without_notes(program.model_proto)).SerializeToString(deterministic=True)


def _without_notes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes of where in which file each node came from: they differ between machines."""
    for noted in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    for described in (*proto.graph.input, *proto.graph.output):
        described.ClearField("metadata_props")
    return proto


def _rounded(proto: onnx.ModelProto) -> onnx.ModelProto:
    dropped = 23 - KEPT
    half, mask = np.uint32(1 << (dropped - 1)), np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    for weights in proto.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT and weights.raw_data:
            # Adding a half carries into the exponent where it must: the bits of a float are in the order of its size.
            weights.raw_data = ((np.frombuffer(weights.raw_data, "<u4") + half) & mask).tobytes()
    return proto
