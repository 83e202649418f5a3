"""What every stage may depend on."""
