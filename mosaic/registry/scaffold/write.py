"""Write a distribution with a plugin of any kind, which installs and passes its tests as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from packaging.version import Version

from mosaic.disk.atomic import replacing, writing
from mosaic.errors import UsageError
from mosaic.registry.loading import registry

__all__ = ["KINDS", "check_name", "write_plugin"]

OWN = ("cli", "data", "diffusion", "plugins")  # their modules or distributions would have names of mosaic's own
KINDS = ("score", "schedule", "dataset", "metric", "network")


def check_name(name: str) -> None:
    """Refuse a name that cannot be a distribution's and, with `_` for `-`, a module's.

    Raises
    ------
    UsageError
        With what is allowed.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(
            f"'{name}' cannot be a plugin's name; use small letters, digits and single hyphens, such as my-score."
        )
    if name in OWN:
        raise UsageError(f"'{name}' cannot be a plugin's name: mosaic itself has that one; choose another.")
    if iskeyword(name) or iskeyword(name.capitalize()):
        raise UsageError(f"'{name}' cannot be a plugin's name: it is a word of Python; choose another.")
    package = find_spec(name) if name.isidentifier() else None
    if package is not None and package.origin is not None:  # a folder without code has no origin
        raise UsageError(
            f"'{name}' cannot be a plugin's name: its folder could be imported in place of the package; choose another."
        )


def write_plugin(name: str, kind: str, folder: Path) -> list[Path]:
    """Write the distribution `mosaic-NAME` into a new folder, whole or not at all.

    Parameters
    ----------
    name : str
        Name of the plugin, as on the command line.
    kind : str
        One of `KINDS`.
    folder : Path
        Must not exist yet.

    Returns
    -------
    list of Path
        The files, relative to the folder.

    Raises
    ------
    UsageError
        If the name or the kind cannot be used, or the folder exists, appears meanwhile or cannot be written.
    """
    check_name(name)
    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'; kinds: {', '.join(KINDS)}.")
    if name in registry().names(kind):
        raise UsageError(
            f"There is a {kind} '{name}' already, from {registry().owner(kind, name)}; choose another name."
        )
    with writing(folder):
        if folder.exists():
            raise UsageError(f"'{folder}' exists already; remove it, or choose another name.")
        folder.parent.mkdir(parents=True, exist_ok=True)
    module = "mosaic_" + name.replace("-", "_")
    templates = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": "README.md.j2",
        f"{module}/__init__.py": f"{kind}.py.j2",
        f"{module}/py.typed": None,
        f"tests/test_{module}.py": "test.py.j2",
        ".github/workflows/test.yml": "test.yml.j2",
    }
    fields = _fields(name, kind, module)
    with replacing(folder, overwrite=False) as temporary:
        for page, template in templates.items():
            path = temporary / page
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("" if template is None else _rendered(template, fields), encoding="utf-8")
    return [Path(page) for page in templates]


def _fields(name: str, kind: str, module: str) -> dict[str, str]:
    """What the templates are filled with."""
    core = Version(version("mosaic-diffusion"))
    return {
        "name": name,
        "kind": kind,
        "module": module,
        "title": "".join(part.capitalize() for part in name.split("-")),
        "core": core.public,
        "next_core": f"{core.major}.{core.minor + 1}" if core.major == 0 else f"{core.major + 1}",
    }


def _rendered(template: str, fields: Mapping[str, str]) -> str:
    """Fill in a template of `templates/`."""
    import jinja2

    text = files("mosaic.registry.scaffold").joinpath("templates", template).read_text(encoding="utf-8")
    return (
        jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        .from_string(text)
        .render(fields)
    )
