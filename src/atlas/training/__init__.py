"""Training: the one loop, its optimizers, checkpoints and snapshots."""
