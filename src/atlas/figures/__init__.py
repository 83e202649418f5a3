"""Figures of one trained run."""
