"""Measurements of this installation: the speed of engines and training, and `mosaic doctor`."""
