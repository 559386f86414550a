"""What is done to a model: merging, and running a whole recipe."""
