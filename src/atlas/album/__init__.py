"""The album of a run: what its model has learned, shown on the official test images and on draws from the prior."""
