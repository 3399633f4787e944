"""Which windows predict networks best: an experiment of mosaic's own."""
