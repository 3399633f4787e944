"""A distribution of Python modules and entry points, laid out in a folder as pip would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

VERSION = "1.2"


def lay_out(folder: Path, name: str, files: Mapping[str, str], entries: Mapping[str, Mapping[str, str]]) -> None:
    """Write the distribution NAME 1.2: its modules, and by group its entry points."""
    for file, text in files.items():
        (folder / file).write_text(text)
    info = folder / f"{name}-{VERSION}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n")
    lines = []
    for group, modules in entries.items():
        lines += [f"[{group}]", *(f"{key} = {module}" for key, module in modules.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
