"""The reverse flow: noise to start from, steps from level to level, and locality scales along it."""
