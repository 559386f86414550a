"""What is kept (the run history) and shown (figures)."""
