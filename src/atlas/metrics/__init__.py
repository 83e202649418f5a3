"""Metrics of one trained run."""
