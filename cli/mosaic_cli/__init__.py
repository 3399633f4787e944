"""The `mosaic` command line: it composes, and computes nothing."""
