"""Latent Atlas: a family of generative models, trained, drawn and measured in the same way."""
