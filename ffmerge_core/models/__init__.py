"""What a model is: families, FF sublayers, proof, structure."""
