"""Models: one file a loss function."""
