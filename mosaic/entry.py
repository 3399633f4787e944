"""What becomes of an entry point, and whether it suits the version of the core that is installed."""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, version
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "CORE",
    "Plugin",
    "code_digest",
    "core_digest",
    "disabled_names",
    "distribution_of",
    "stated_requirement",
    "suits_core",
    "unmatched_names",
]

CORE = "mosaic-diffusion"
IDLE = ("report", "scaffold", "testing")  # packages of the core that compute nothing that is stored


@dataclass
class Plugin:
    """One entry point and what became of it.

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
        """Note what is wrong, and what can be done: by default mending the code; always going without."""
        self.status, self.error, self.provides = "broken", error, []
        remedy = remedy or f"mend or uninstall {self.distribution}"
        self.remedy = f"{remedy}; MOSAIC_DISABLE_PLUGINS={self.key} leaves it out"

    def failed(self, error: BaseException) -> None:
        """Note an error of the plugin's own code."""
        lacking = error.name if isinstance(error, ModuleNotFoundError) else None
        remedy = f"install what provides the Python module '{lacking}'" if lacking else ""
        self.broken(f"{type(error).__name__}: {error}", remedy)


def stated_requirement(entry: EntryPoint) -> str | None:
    """Read the `requires_mosaic` of a module that cannot be imported, where it is written out at its top level."""
    try:
        spec = find_spec(entry.module)
        tree = ast.parse(Path(spec.origin).read_bytes()) if spec is not None and spec.origin else None
    except (Exception, SystemExit):  # packages above it are imported, and may fail
        return None
    for line in tree.body if tree is not None else []:
        named = [target.id for target in getattr(line, "targets", []) if isinstance(target, ast.Name)]
        if "requires_mosaic" in named and isinstance(value := getattr(line, "value", None), ast.Constant):
            return str(value.value)
    return None


def suits_core(wanted: object, plugin: Plugin) -> bool:
    """Tell if a `requires_mosaic`, such as ">=2,<3" or None, holds of the version installed.

    If not, the plugin is noted as broken.
    """
    if wanted is None:
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        holds = SpecifierSet(str(wanted)).contains(version(CORE), prereleases=True)
    except InvalidSpecifier:
        plugin.broken(f"its requires_mosaic is '{wanted}', which is no version range such as '>=1,<2'")
        return False
    if not holds:
        plugin.broken(
            f"it needs {CORE} {wanted}, but {version(CORE)} is installed",
            f"pip install '{CORE}{wanted}', or another version of {plugin.distribution}",
        )
    return holds


def code_digest(cls: type) -> str:
    """First digits of the SHA-256 of the file that a class is written in; empty where there is none."""
    try:
        file = inspect.getsourcefile(cls)
    except (TypeError, OSError):
        file = None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else ""


@cache
def core_digest() -> str:
    """First digits of the SHA-256 of those modules of the core and its own plugins that numbers may rest on."""
    digest = hashlib.sha256()
    for package in ("mosaic", "mosaic_plugins"):
        spec = find_spec(package)
        for folder in map(Path, (spec.submodule_search_locations or []) if spec is not None else []):
            for file in sorted(file for kind in ("*.py", "*.cpp") for file in folder.rglob(kind)):
                place = file.relative_to(folder)
                if place.parts[0] not in IDLE and not place.stem.endswith("picture"):
                    digest.update(f"{package}/{place.as_posix()}".encode() + file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


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
