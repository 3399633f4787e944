"""A training: from its configuration, step by step, to a checkpoint."""
