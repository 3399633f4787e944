"""What the paper's machine for circular networks computes: an experiment of mosaic's own."""
