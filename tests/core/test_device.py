"""Device configuration from the environment."""

import pytest
import torch

from atlas.core.device import DeviceConfig, device_config
from atlas.core.files import AtlasError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ATLAS_THREADS", "ATLAS_PRECISION", "ATLAS_GRAPH", "ATLAS_DETERMINISTIC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ATLAS_DEVICE", "cpu")


@pytest.mark.parametrize("name", ["ATLAS_GRAPH", "ATLAS_DETERMINISTIC"])
def test_the_switches_of_cuda_change_nothing_on_the_cpu(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "0")
    assert device_config() == DeviceConfig(torch.device("cpu"), device_config().bfloat16)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ATLAS_GRAPH", "off", "ATLAS_GRAPH: found 'off'; allowed: 0, 1"),
        ("ATLAS_DETERMINISTIC", "", "ATLAS_DETERMINISTIC: found ''; allowed: 0, 1"),
        ("ATLAS_DEVICE", "gpu", "ATLAS_DEVICE: found 'gpu', which cannot be used here .*; try cpu"),
        ("ATLAS_DEVICE", "mps", "ATLAS_DEVICE: found 'mps', which cannot be used here .allowed: auto, cpu, cuda"),
        ("ATLAS_DEVICE", "meta", "ATLAS_DEVICE: found 'meta', which cannot be used here .allowed: auto, cpu, cuda"),
        ("ATLAS_DEVICE", "cuda:99", "ATLAS_DEVICE: found 'cuda:99', which cannot be used here .*; try cpu"),
        ("ATLAS_THREADS", "0", "ATLAS_THREADS: found '0'; allowed: a number of threads, 1 or more"),
        ("ATLAS_THREADS", "two", "ATLAS_THREADS: found 'two'; allowed: a number of threads, 1 or more"),
        ("ATLAS_PRECISION", "half", "ATLAS_PRECISION: found 'half'; allowed: auto, float32, bfloat16"),
    ],
)
def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(AtlasError, match=message) as error:
        device_config()
    assert "\n" not in str(error.value)


def test_precision_and_threads_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_THREADS", "1")
    for precision, bfloat16 in (("float32", False), ("bfloat16", True)):
        monkeypatch.setenv("ATLAS_PRECISION", precision)
        config = device_config()
        assert config.bfloat16 == bfloat16 and str(config) == f"CPU, 1 threads, {precision}"
        with config.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if bfloat16 else torch.float32)
