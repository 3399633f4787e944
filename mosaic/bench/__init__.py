"""Measurements of this installation: speed of engines and training, and the doctor."""
