"""Arrays to pictures, films and pages."""
