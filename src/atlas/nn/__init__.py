"""Networks, and losses in nats per image. Neither knows the other, files or settings."""
