"""A complete plugin distribution to start from."""

from mosaic.registry.scaffold.write import KINDS, check_name, write_plugin

__all__ = ["KINDS", "check_name", "write_plugin"]
