"""Export to ONNX and the latent explorer."""
