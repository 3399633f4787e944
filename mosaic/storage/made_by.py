"""What a result was made by: versions, digests of code, command, device, plugins."""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from mosaic.containers.access import open_container
from mosaic.device import device_name
from mosaic.errors import DataError
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.options import Options
from mosaic.registry.hooks import KINDS
from mosaic.registry.loading import registry
from mosaic.registry.plugin import CORE
from mosaic.storage.files import as_attribute
from mosaic.storage.schema import JSON_ATTRIBUTES, decoded

__all__ = [
    "RECORDED",
    "code_changed",
    "code_digest",
    "command_line",
    "core_digest",
    "made_by",
    "record",
    "stored_code",
    "versions_of",
]

# Rooms and files of the core that compute nothing that is stored; pictures of reproductions neither.
IDLE = (
    "bench/",
    "testing/",
    "registry/scaffold/",
    "view/colours.py",
    "view/comparison.py",
    "view/entropy.py",
    "view/figure.py",
    "view/generalization.py",
    "view/images.py",
    "view/leaderboard.py",
    "view/plot.py",
    "view/probe.py",
    "view/provenance.py",
    "view/report/",
    "view/scales.py",
    "view/sources.py",
    "view/summary.py",
    "reproduction/attention/picture.py",
    "reproduction/circular/picture.py",
    "reproduction/gaussian/picture.py",
    "reproduction/paper/pictures.py",
    "reproduction/training/picture.py",
    "reproduction/transition/picture.py",
    "reproduction/windows/picture.py",
)

# Root attributes that say how a stored result was made; results that use it record them.
RECORDED = (
    "configuration",
    "dataset_fingerprint",
    "score_fingerprint",
    "network_fingerprint",
    "versions",
    "engine",
    "created",
    "mosaic_version",
    "code",
    "plugins",
    "device",
)


def made_by(device: torch.device | None = None, dataset: DataSet | None = None) -> dict[str, str]:
    """Root attributes that tell by what, when, on what and from which data a result is made.

    `storage/schema.py` describes them. Those of a device or a training set are there if it is given.
    """
    active = {plugin.key: plugin.version for plugin in registry().plugins if plugin.status == "active"}
    attributes = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        # Attributes are UTF-8, which names of files need not be.
        "command_line": os.fsencode(shlex.join(command_line())).decode(errors="backslashreplace"),
        "plugins": ", ".join(f"{key} {number}" for key, number in active.items()),
        "mosaic_version": version(CORE),
        "code": core_digest(),
        "torch_version": torch.__version__,
        "python_version": platform.python_version(),
        "threads": str(torch.get_num_threads()),
    }
    if device is not None:
        attributes["device"] = device_name(device)
    if dataset is not None:
        attributes |= {
            "dataset_size": str(len(dataset)),
            "dataset_source": dataset.origin,
            "dataset_range": as_attribute(dataset.range),
            "dataset_classes": as_attribute(dataset.classes),
        }
    commit = _git_commit()
    return {**attributes, "git_commit": commit} if commit else attributes


def command_line() -> list[str]:
    """The command that this process was started by, without the folder of the program."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else []


def record(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Take from the root attributes of a stored result how it was made; results that use it record this.

    Raises
    ------
    DataError
        If an attribute is not what the schema says.
    """
    known = {key: attributes[key] for key in RECORDED if key in attributes}
    try:
        return {key: decoded(key, value) if key in JSON_ATTRIBUTES else str(value) for key, value in known.items()}
    except ValueError as error:
        raise DataError(f"A result cannot be used ({error}); copy the attributes of the stored one.") from None


def code_changed(code: object) -> bool:
    """Tell whether a result with this `code` was made by other code of mosaic than runs now.

    Versions and configuration are compared when a result is used again. A change of the code alone does not make it
    another result, but the code of today may give other numbers.
    """
    return code != core_digest()


def stored_code(file: Path) -> object:
    """Read the digest of the code that made a stored file."""
    with open_container(file) as stored:
        return stored.attrs.get("code")


def code_digest(cls: type) -> str:
    """First digits of the SHA-256 of the file that a class is written in; empty where there is none."""
    try:
        file = inspect.getsourcefile(cls)
    except (TypeError, OSError):
        file = None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else ""


@cache
def core_digest() -> str:
    """First digits of the SHA-256 of the modules of the core and built-in plugins that can change stored numbers."""
    digest = hashlib.sha256()
    for package in ("mosaic", "mosaic_plugins"):
        spec = find_spec(package)
        for folder in map(Path, (spec.submodule_search_locations or []) if spec is not None else []):
            for file in sorted(file for kind in ("*.py", "*.cpp") for file in folder.rglob(kind)):
                place = file.relative_to(folder).as_posix()
                if package != "mosaic" or not place.startswith(IDLE):
                    digest.update(f"{package}/{place}".encode() + file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def versions_of(config: Options, beside: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """Versions of torch and of the distributions whose plugins a configuration names; digests of others' code.

    Parameters
    ----------
    beside : iterable of (str, str)
        Kinds and names of other plugins that are used, such as the network in a checkpoint (`Traits.plugins`).
    """
    plugins = registry()
    named = {kind: (kind, name) for kind in KINDS if (name := getattr(config, kind, None))}
    named |= {f"{kind} {name}": (kind, name) for kind, name in beside}  # there may be several of a kind
    owners = {key: plugins.owner(kind, name).partition(":")[0] for key, (kind, name) in named.items()}
    versions = {p.distribution: p.version for p in plugins.plugins if p.distribution in owners.values()}
    for key, owner in owners.items():
        if owner not in ("", CORE) and owner in versions:  # a plugin under development changes under the same version
            versions[f"{owner} {key}"] = code_digest(plugins.get(*named[key]))
    return {**versions, "torch": torch.__version__}


@cache
def _git_commit() -> str:
    """Commit of the checkout this package runs from; empty if it is not a checkout."""
    (root,) = Path(__file__).resolve().parents[2:3]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
