"""What a model does on data: features, similarity, alignment."""
