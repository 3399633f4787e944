"""How a check of the conformance suite is held to a plugin that is right, and to one that is wrong in just that."""

from __future__ import annotations

from typing import Any

import pytest

import mosaic
import mosaic.testing
from mosaic.testing.case import Failed


class Undescribed(mosaic.Options):
    """Options of which `size` has no description."""

    size: int = 3


def assert_passes(kind: str, plugin: type[Any], **settings: Any) -> None:
    """Hold that a plugin meets every check of its kind that applies."""
    for check in mosaic.testing.checks_of(kind, plugin, **settings):
        assert check() in ("passed", "does not apply")


def check_of(kind: str, plugin: type[Any], name: str, **settings: Any) -> mosaic.testing.Check:
    """Give the check of this name."""
    (check,) = [check for check in mosaic.testing.checks_of(kind, plugin, **settings) if check.name == name]
    return check


def assert_caught(kind: str, plugin: type[Any], name: str, message: str = "", **settings: Any) -> None:
    """Hold that a plugin fails the check of this name, by what it checks and not by a crash; `message` is searched."""
    with pytest.raises(mosaic.testing.NotConforming, match=rf"^{name}: .*{message}") as caught:
        check_of(kind, plugin, name, **settings)()
    assert isinstance(caught.value.__cause__, Failed)
