"""Reproductions of the paper's tables and figures: recipes made of training, calibration, runs and comparisons."""
