"""Benchmarks: how fast the trainer is beside a plain PyTorch loop of the same model; `make bench`."""
