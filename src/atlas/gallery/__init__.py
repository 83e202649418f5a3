"""The static HTML gallery."""
