"""Real distributions beside the package: the example plugin from its wheel, and what `mosaic new-plugin` writes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from distributions import call_mosaic, install, run_tests

from mosaic.registry.scaffold import KINDS

Invoke = Callable[..., Result]
pytestmark = [pytest.mark.system, pytest.mark.usefixtures("quick_processes")]
EXAMPLE = Path(__file__).parents[1] / "example_plugin"


def mosaic(site: Path, *arguments: object, status: int = 0) -> str:
    """Call the command line with a folder of distributions on the path; gives stdout."""
    done = call_mosaic(site, *arguments)
    assert done.returncode == status, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example plugin is installed."""
    work = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, work / "source")
    install(work / "source", work / "site", work / "wheels")
    return work / "site"


def test_the_example_plugin_is_run_shown_and_compared(example: Path) -> None:
    assert "group" in mosaic(example, "show", "score", "els-dihedral")
    (plugin,) = [p for p in json.loads(mosaic(example, "plugins", "--json")) if p["distribution"] == "mosaic-dihedral"]
    assert (plugin["status"], plugin["version"]) == ("active", "1.0.0")
    options = ("--steps", 4, "--samples", 2)
    mosaic(example, "run", "--score", "els", *options, "--out", "els.nc")
    turning = ("--score", "els-dihedral", "-o", "score.group=rotations")
    mosaic(example, "run", *turning, "--init", "els.nc", "--steps", 4, "--out", "d.nc")
    compared = json.loads(mosaic(example, "compare", "d.nc", "els.nc", "--metrics", "pearson_r", "--json"))
    assert "pearson_r" in json.dumps(compared)
    mosaic(example, "plot", "d.nc", "provenance")
    assert Path("d-provenance.png").exists()
    output = mosaic(example, "run", "--score", "els-dihedral", "--dry-run", *options)
    assert re.search(r"^window comparisons: \d", output, re.MULTILINE)
    # Without the distribution its runs can still be read, but not resumed.
    assert "els-dihedral" in mosaic(Path("nowhere"), "inspect", "d.nc")
    mosaic(Path("nowhere"), "run", "--score", "els-dihedral", status=3)


def test_the_example_plugin_passes_its_own_tests(example: Path) -> None:
    assert " passed" in run_tests(example, example.parent / "source")


def test_new_plugins_of_every_kind_install_and_pass_their_tests_at_once(invoke: Invoke, tmp_path: Path) -> None:
    site = tmp_path / "site"
    for kind in KINDS:
        assert invoke("new-plugin", f"my-{kind}", "--kind", kind).stdout == f"my-{kind}\n"
        source = tmp_path / f"my-{kind}"
        for name in ("pyproject.toml", "README.md", f"mosaic_my_{kind}/py.typed", ".github/workflows/test.yml"):
            assert (source / name).exists()
        install(source, site, tmp_path / f"wheels-{kind}")
    output = run_tests(site, *(tmp_path / f"my-{kind}" for kind in KINDS))
    assert int(output.rpartition(" passed")[0].rsplit(maxsplit=1)[-1]) > 40
    rows = {(row["kind"], row["name"]) for row in json.loads(mosaic(site, "list", "--json"))}
    assert {(kind, f"my-{kind}") for kind in KINDS} <= rows
