"""One file a family member."""
