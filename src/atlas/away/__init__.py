"""The runs' stages on a machine without DVC, and what comes home from there."""
