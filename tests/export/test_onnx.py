"""ONNX networks against PyTorch, run by ONNX Runtime; weights in 16 bits."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests.conftest import Build

from atlas.core.model import Model, Shape
from atlas.export import onnx as onnx_export
from atlas.export.onnx import (
    MAX_ERROR,
    MIN_SIZES,
    NETWORKS,
    export_discriminator,
    export_network,
    export_small,
    quantize_weights,
    run_network,
)

# A model of each kind of network and of each way to a code.
MODELS: list[tuple[str, Shape, dict[str, Any]]] = [
    ("ae", (1, 16, 16), {}),
    ("cvae", (1, 16, 20), {"network": "mlp", "latent_dim": 1}),
    ("cvae", (3, 16, 16), {"network": "original", "likelihood": "discretized_logistic", "noise": "pixel"}),
    ("vae", (3, 16, 16), {"network": "dct", "latent_dim": 32}),
    ("vae_iaf", (1, 16, 16), {"likelihood": "binarized", "latent_dim": 5}),
    ("ac_vae", (1, 16, 16), {}),
    ("cgan", (3, 16, 16), {}),
    ("cvae_gan", (1, 16, 16), {"dropout": 0.5}),
]


def inputs_of(model: Model, network: str, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if network == "decoder":
        return torch.randn(count, model.latent_dim, generator=generator)
    return torch.rand(count, *model.shape, generator=generator)


@torch.no_grad()
@pytest.mark.parametrize(("name", "image", "changes"), MODELS)
def test_networks_compute_what_pytorch_computes(make: Build, name: str, image: Shape, changes: dict[str, Any]) -> None:
    model = make(name, image, **changes).eval()
    networks = [network for network, method in NETWORKS.items() if model.can(method)]
    assert networks == (["decoder"] if name == "cgan" else ["decoder", "encoder"])
    for network in networks:
        exact = export_network(model, network)
        inputs, labels = inputs_of(model, network, 50), torch.arange(50) % 10
        small = export_small(model, network, inputs, labels)
        for count in (1, 50):
            expected = getattr(model, NETWORKS[network])(inputs[:count], labels[:count]).numpy()
            for content in (exact, small):
                outputs = run_network(content, inputs[:count], labels[:count])
                assert outputs.shape == expected.shape and np.abs(outputs - expected).max() < 1e-4
            assert np.ptp(expected[0]) > 1e-3 or expected[0].size == 1


@torch.no_grad()
@pytest.mark.parametrize("name", ["gan", "cgan", "cvae_gan"])
def test_a_discriminator_gives_its_logits_and_features(make: Build, name: str) -> None:
    model = make(name, (1, 16, 16)).eval()
    discriminator: Any = model.discriminator
    images, labels = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(1)), torch.arange(5)
    session = onnxruntime.InferenceSession(export_discriminator(model), providers=["CPUExecutionProvider"])
    inputs = {"images": images.numpy(), "labels": labels.numpy()}
    outputs = session.run(["logits", "features"], {node.name: inputs[node.name] for node in session.get_inputs()})
    for output, expected in zip(outputs, discriminator(images, labels), strict=True):
        assert output.shape == expected.shape and np.abs(output - expected.numpy()).max() < 1e-4
    assert export_discriminator(make("cvae")) == b""


def test_the_file_is_valid_reproducible_and_names_no_path_of_this_machine(make: Build) -> None:
    content = export_network(make("cvae", latent_dim=3), "decoder")
    for network in (content, quantize_weights(content, 64)):
        onnx.checker.check_model(onnx.load_from_string(network), full_check=True)
    assert content == export_network(make("cvae", latent_dim=3), "decoder")
    assert str(Path(__file__).parents[2]).encode() not in content and b".py" not in content
    with pytest.raises(KeyError, match="'discriminator'"):
        export_network(make("cgan"), "discriminator")


@pytest.mark.parametrize("network", ["decoder", "encoder"])
def test_quantized_weights_halve_the_file(make: Build, network: str) -> None:
    model = make("vae", latent_dim=3).eval()
    inputs, labels = inputs_of(model, network, 50), torch.arange(50)
    exact, small = export_network(model, network), export_small(model, network, inputs, labels)
    assert len(small) < 0.7 * len(exact)
    error = np.abs(run_network(small, inputs, labels) - run_network(exact, inputs, labels)).max()
    assert 0 < error <= 2 * MAX_ERROR


def test_what_16_bits_would_change_stays_exact(make: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("vae", latent_dim=3).eval()
    inputs, labels = inputs_of(model, "decoder", 9), torch.arange(9)
    exact = export_network(model, "decoder")
    largest = max(np.prod(tensor.dims) for tensor in onnx.load_from_string(exact).graph.initializer)
    networks = [quantize_weights(exact, min_size) for min_size in (MIN_SIZES[0], largest)]
    expected = model.decode(inputs, labels).detach().numpy()
    errors = [np.abs(run_network(network, inputs, labels) - expected).max() for network in networks]
    assert errors[1] < errors[0]
    monkeypatch.setattr(onnx_export, "MIN_SIZES", (MIN_SIZES[0], largest))
    monkeypatch.setattr(onnx_export, "MAX_ERROR", errors[1])
    assert export_small(model, "decoder", inputs, labels) == networks[1]
    monkeypatch.setattr(onnx_export, "MAX_ERROR", 0)
    assert export_small(model, "decoder", inputs, labels) == exact


@pytest.mark.parametrize(
    "values", [np.zeros((8, 8)), np.full((8, 8), 2.0**-120), np.arange(64.0).reshape(8, 8) - 9, np.full((1, 64), -3.0)]
)
def test_a_quantized_tensor_is_within_half_a_step_of_its_row(values: np.ndarray) -> None:
    weights = onnx.numpy_helper.from_array(values.astype("<f4"), "weights")
    node = onnx.helper.make_node("Add", ["inputs", "weights"], ["outputs"])
    ends = [onnx.helper.make_tensor_value_info(name, 1, values.shape) for name in ("inputs", "outputs")]
    graph = onnx.helper.make_graph([node], "sum", ends[:1], ends[1:], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    small = quantize_weights(model.SerializeToString(), 64)
    restored = run_network(small, torch.zeros(values.shape), torch.zeros(0))
    assert (np.abs(restored - values) <= np.abs(values).max(1, keepdims=True) / 65534 * 1.001).all()
