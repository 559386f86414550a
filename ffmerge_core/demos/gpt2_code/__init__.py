"""A small GPT-2 that writes Python, trained on the standard library's own source."""
