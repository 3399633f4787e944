"""Generalization: what scores lose at held-out images that they do not at training images."""
