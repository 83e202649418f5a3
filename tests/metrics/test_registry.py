"""Registry of metrics: complete, and no other names pass."""

from atlas.metrics.registry import METRICS, is_registered


def test_the_registry_is_complete() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name and metric.title and len(metric.description) > 20
        assert metric.better in ("lower", "higher", "") and 0 <= metric.digits <= 6
    assert 8 <= sum(metric.headline for metric in METRICS.values()) <= 12, "a table that fits a page"
    for name in ("nelbo", "kernel_low", "kernel_high", "nll_k", "reconstruction_mse_n", "frechet_floor"):
        assert is_registered(name), name
    for name in ("elbo", "_n", "frechet_n_low", "kernel_", "nelbo_q"):
        assert not is_registered(name), name
