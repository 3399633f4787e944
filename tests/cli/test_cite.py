"""`mosaic cite` prints BibTeX, or a list of entries."""

from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result


def test_it_prints_what_a_run_used(invoke: Callable[..., Result]) -> None:
    assert invoke("run", "--steps", 2, "--samples", 1, "--out", "a.nc").exit_code == 0
    printed = invoke("cite", "a.nc").stdout
    assert printed.startswith("@inproceedings{kamb2025analytic,\n  title = ")
    assert json.loads(invoke("cite", "a.nc", "--json").stdout) == printed.rstrip("\n").split("\n\n")


def test_what_is_not_there_is_refused(invoke: Callable[..., Result]) -> None:
    result = invoke("cite", "none.nc")
    assert result.exit_code == 4
    assert "none.nc" in result.stderr
