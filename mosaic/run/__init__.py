"""A run: from its configuration, resolved and checked, to a stored trajectory."""
