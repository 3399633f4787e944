"""A plugin: an entry point, and its status after loading."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint

__all__ = ["CORE", "Plugin", "disabled_names", "distribution_of", "unmatched_names"]

CORE = "mosaic-diffusion"


@dataclass
class Plugin:
    """One entry point and its status after loading.

    Attributes
    ----------
    key : str
        `distribution:entry`.
    status : str
        `active`, `broken` or `disabled`.
    error, remedy : str
        What is wrong, and what a user can do about it; empty unless broken.
    provides : list[str]
        What it registered, as `kind:name`.
    seconds : float
        How long its import took.
    """

    key: str
    distribution: str
    version: str
    status: str = "active"
    error: str = ""
    remedy: str = ""
    provides: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def broken(self, error: str, remedy: str = "") -> None:
        """Record what is wrong and the remedy (by default: fix the code); leaving the plugin out is always offered."""
        self.status, self.error, self.provides = "broken", error, []
        remedy = remedy or f"fix or uninstall {self.distribution}"
        self.remedy = f"{remedy}; MOSAIC_DISABLE_PLUGINS={self.key} leaves it out"

    def failed(self, error: BaseException) -> None:
        """Record an error of the plugin's own code."""
        lacking = error.name if isinstance(error, ModuleNotFoundError) else None
        remedy = f"install what provides the Python module '{lacking}'" if lacking else ""
        self.broken(f"{type(error).__name__}: {error}", remedy)


def distribution_of(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point belongs to."""
    return (entry.dist.name, entry.dist.version) if entry.dist is not None else ("unknown", "")


def disabled_names() -> set[str]:
    """Keys, distributions and entry names that `MOSAIC_DISABLE_PLUGINS=a,b` leaves out."""
    return {name.strip() for name in os.environ.get("MOSAIC_DISABLE_PLUGINS", "").split(",") if name.strip()}


def unmatched_names(plugins: Iterable[Plugin]) -> list[str]:
    """Names in `MOSAIC_DISABLE_PLUGINS` that are neither key, distribution nor entry name of any of the plugins."""
    known = {name for plugin in plugins for name in (plugin.key, *plugin.key.split(":"))}
    return sorted(disabled_names() - known)
