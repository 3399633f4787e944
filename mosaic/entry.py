"""What becomes of an entry point, and whether it suits the version of the core that is installed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, version

from mosaic.errors import PluginError

__all__ = ["CORE", "Plugin", "check_core", "disabled_names", "distribution_of"]

CORE = "mosaic-diffusion"


@dataclass
class Plugin:
    """One entry point and what became of it; `seconds` is how long its import took."""

    key: str
    distribution: str
    version: str
    status: str = "active"
    error: str = ""
    provides: list[str] = field(default_factory=list)
    seconds: float = 0.0


def check_core(module: object) -> None:
    """Refuse a module whose `requires_mosaic`, such as ">=2,<3", does not hold of the version installed.

    Raises
    ------
    PluginError
        With both, and how to mend it.
    """
    wanted = getattr(module, "requires_mosaic", None)
    if wanted is None:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        holds = SpecifierSet(str(wanted)).contains(version(CORE), prereleases=True)
    except InvalidSpecifier:
        raise PluginError(f"its requires_mosaic is '{wanted}', which is no version range such as '>=1,<2'") from None
    if not holds:
        raise PluginError(
            f"it needs {CORE} {wanted}, but {version(CORE)} is installed; pip install '{CORE}{wanted}', or another "
            f"version of the plugin"
        )


def distribution_of(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point belongs to."""
    return (entry.dist.name, entry.dist.version) if entry.dist is not None else ("unknown", "")


def disabled_names() -> set[str]:
    """Keys, distributions and entry names that `MOSAIC_DISABLE_PLUGINS=a,b` leaves out."""
    return {name.strip() for name in os.environ.get("MOSAIC_DISABLE_PLUGINS", "").split(",") if name.strip()}
