"""Drawing kit of figures, animations and gallery."""
