"""Calibration of locality scales by a trained network."""
