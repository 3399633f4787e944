"""What more training, and more images, do to a network: an experiment of mosaic's own."""
