"""Along the reverse flow: its noise, and the locality scales."""
