"""Probes of scores: what their Jacobians and their answers to shifts say of locality, memory and symmetry."""
