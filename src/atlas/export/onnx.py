"""ONNX export of trained networks: a browser, or anything else, runs them without this code and without PyTorch."""

import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from atlas.core.model import Model

NETWORKS = {"decoder": "decode", "encoder": "encode"}
"""Networks that are exported, and the model's method that each of them is."""
MAX_ERROR = 6e-5
"""How far 16-bit weights may move an output from PyTorch's; the rest up to 1e-4 is for another machine's arithmetic."""
MIN_SIZES = (1 << 10, 1 << 14, 1 << 18)
"""Weights of a tensor from which it is stored in 16 bits; the first that keeps to `MAX_ERROR` is taken."""


class _Network(nn.Module):
    def __init__(self, model: Model, method: str) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return getattr(self.model, self.method)(inputs, labels)


def export_network(model: Model, network: str) -> bytes:
    """Return a network of a model as one ONNX file, its weights inside; the same model gives the same bytes.

        decoder   codes float32 [N, d], labels int64 [N]            ->  images float32 [N, C, H, W] in [0, 1]
        encoder   images float32 [N, C, H, W], labels int64 [N]     ->  codes float32 [N, d]

    N is free. Labels are an input of every network; that of an unconditional model ignores them.
    """
    codes, images = torch.zeros(2, model.latent_dim), torch.zeros(2, *model.shape)
    inputs, names = (codes, ("codes", "images")) if network == "decoder" else (images, ("images", "codes"))
    return _export(_Network(model, NETWORKS[network]), inputs, [names[0], "labels"], [names[1]])


def export_discriminator(model: Model) -> bytes:
    """Return a model's discriminator as one ONNX file, or nothing where the model has none.

        images float32 [N, C, H, W] in [0, 1], labels int64 [N]  ->  logits float32 [N], features float32 [N, F]

    The logit is large where the image looks real; the features are those of layer l, in which a VAE/GAN measures
    reconstructions.
    """
    if not isinstance(getattr(model, "discriminator", None), nn.Module):
        return b""
    network = _Network(model, "discriminator")
    return _export(network, torch.zeros(2, *model.shape), ["images", "labels"], ["logits", "features"])


def _export(network: nn.Module, inputs: Tensor, input_names: list[str], output_names: list[str]) -> bytes:
    """Return a network of inputs [2, ...] and two labels as ONNX, free in the number of both."""
    batch = torch.export.Dim("batch")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # That both inputs share their free dimension is meant.
        warnings.filterwarnings("ignore", message=r"(?s).*will not be used, since it shares")
        program = torch.onnx.export(
            network.eval(),
            (inputs, torch.zeros(2, dtype=torch.int64)),
            input_names=input_names,
            output_names=output_names,
            dynamic_shapes=({0: batch}, {0: batch}),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    graph = proto.graph
    # The exporter notes where in which file each node came from, which differs between machines.
    for part in (proto, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return proto.SerializeToString(deterministic=True)


def quantize_weights(network: bytes, min_size: int) -> bytes:
    """Return an ONNX file whose tensors of `min_size` weights or more are int16, with a scale for each row of axis 0.

    A Cast and a Mul bring them back to float32, which a runtime does once, when it loads the network. The error of a
    weight is at most 1/65534 of the largest in its row: smaller than that of float16, which has 11 bits for all sizes.
    """
    proto = onnx.load_from_string(network)
    nodes: list[onnx.NodeProto] = []
    for tensor in list(proto.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < min_size:
            continue
        weights = onnx.numpy_helper.to_array(tensor)
        largest = np.abs(weights).max(tuple(range(1, weights.ndim)), keepdims=True)
        scale = np.where(largest > 0, largest / np.float32(32767), np.float32(1))
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array((weights / scale).round().astype(np.int16), f"{name}_int16"))
        proto.graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}_scale"))
        nodes += [
            onnx.helper.make_node("Cast", [f"{name}_int16"], [f"{name}_float"], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]),
        ]
    nodes += proto.graph.node
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto.SerializeToString(deterministic=True)


def run_network(network: bytes, inputs: Tensor, labels: Tensor) -> np.ndarray:
    """Return the output of an ONNX file, as ONNX Runtime computes it on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    # The exporter drops an input that a network ignores.
    names = [node.name for node in session.get_inputs()]
    return session.run(None, {name: (labels if name == "labels" else inputs).numpy() for name in names})[0]


@torch.no_grad()
def export_small(model: Model, network: str, inputs: Tensor, labels: Tensor) -> bytes:
    """Return `export_network` with as many weights quantized as keep its outputs for `inputs` within `MAX_ERROR`.

    Args:
        inputs: codes [N, d] for the decoder, images [N, C, H, W] for the encoder; labels: [N].
    """
    exact = export_network(model, network)
    outputs = getattr(model, NETWORKS[network])(inputs, labels).numpy()
    for min_size in MIN_SIZES:
        small = quantize_weights(exact, min_size)
        if np.abs(run_network(small, inputs, labels) - outputs).max() <= MAX_ERROR:
            return small
    return exact
