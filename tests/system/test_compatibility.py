"""What others rely on: the changelog lists the public names, and runs of the first schema stay readable."""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import Result

import mosaic

ROOT = Path(__file__).parents[2]
FIRST = ROOT / "tests" / "stored" / "first-schema.nc"


def test_the_changelog_lists_the_public_names() -> None:
    latest = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1]
    output = re.search(r"- Public API, `mosaic\.__all__`: (.*?)\.\n", latest, re.DOTALL)
    assert output is not None
    assert set(re.findall(r"`(\w+)`", output[1])) == set(mosaic.__all__), "a public name came or went; say so there"


@pytest.mark.parametrize("name", mosaic.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(mosaic, name)
    assert name in dir(mosaic)
    if inspect.isclass(value) or callable(value):
        assert inspect.getdoc(value)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A run that the first version wrote: no provenance yet, labels 3 and 7."""
    return Path(shutil.copy(FIRST, tmp_path / "first.nc"))


def test_a_run_of_the_first_schema_is_read(first: Path) -> None:
    with mosaic.open(first) as run, xr.open_dataset(first) as plain:
        assert run.attrs["schema"] == "mosaic-trajectory/1"
        assert dict(run.sizes) == {"sample": 2, "step": 4, "channel": 1, "height": 8, "width": 8}
        assert run["label"].values.tolist() == [3, 7]
        np.testing.assert_array_equal(run["image"], plain["denoised"].isel(step=-1))
        assert run.mosaic.nearest_train().sizes["sample"] == 2
        assert run.mosaic.to_images().max() <= 1
        with pytest.raises(mosaic.DataError):
            run.mosaic.sources()


def test_a_run_of_the_first_schema_serves_every_command(invoke: Callable[..., Result], first: Path) -> None:
    for arguments in (
        ("inspect", first),
        ("plot", first),
        ("plot", first, "images"),
        ("plot", first, "scales"),
        ("report", first),
        ("run", "--init", first, "--scales", first, "--steps", 4, "--out", "again.nc"),
        ("compare", first, "again.nc", "--metrics", "pearson_r"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 0, (arguments, result.stderr)
    with mosaic.open(first) as stored, mosaic.open("again.nc") as again:
        np.testing.assert_allclose(again["image"], stored["image"], rtol=0, atol=1e-3)
