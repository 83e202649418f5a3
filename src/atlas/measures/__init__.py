"""Functions on tensors that judge a model."""
