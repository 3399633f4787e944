"""Exact posteriors over training images and windows: the sums of the four machines, and the engines."""
