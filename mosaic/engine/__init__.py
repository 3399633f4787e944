"""Posteriors over training images and windows, exactly: the sums of the four machines, and what computes them."""
