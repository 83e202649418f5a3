"""Data sets: fetched, verified, decoded, split."""
