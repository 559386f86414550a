"""A small vision transformer that reads handwritten digits."""
