"""Metrics of a trained model, on the official test images."""
