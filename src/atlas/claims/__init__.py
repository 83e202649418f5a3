"""Claims about the models and their verdicts."""
