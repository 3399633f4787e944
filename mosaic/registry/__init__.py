"""Plugins: their hooks and entry points, the registry of names, their commands, and a scaffold for new ones."""
