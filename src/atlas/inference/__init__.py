"""Use of trained runs: `atlas.load` and images of one's own."""
