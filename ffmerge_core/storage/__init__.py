"""How a model is kept: the folders of transformers and timm read, our own written."""
