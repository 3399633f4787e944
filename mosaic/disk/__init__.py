"""The disk: files written whole or not at all, folders held by one process, and why something cannot be written."""
