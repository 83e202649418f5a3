"""Claims about the models, their verdicts, and the tables of all results."""
