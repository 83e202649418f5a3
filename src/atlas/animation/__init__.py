"""Animations of a training."""
