"""The tables of what files hold: whole, and the only place where a stored variable is described."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.storage.schema import ATTRIBUTES, JSON_ATTRIBUTES, TABLES, TRAJECTORY_SCHEMA, described


@pytest.mark.parametrize("schema", TABLES)
def test_every_variable_is_described(schema: str) -> None:
    for name, variable in TABLES[schema].items():
        assert variable.description, name
        assert variable.units, name


def test_a_run_holds_what_the_table_says(tiny: mosaic.DataSet) -> None:
    run = mosaic.run("els", tiny, samples=2, steps=3, scales="3", save="provenance,entropy,n_eff,score")
    table = TABLES[TRAJECTORY_SCHEMA]
    assert len(run.data_vars) > 10
    for name, variable in run.variables.items():
        assert variable.attrs["long_name"] == table[str(name)].description
        assert variable.attrs["units"] == table[str(name)].units
        if table[str(name)].dims:
            assert variable.dims == table[str(name)].dims, name
        if table[str(name)].dtype is not None:
            assert variable.dtype == np.dtype(table[str(name)].dtype), name
    assert set(run.attrs) <= set(ATTRIBUTES)
    for name in JSON_ATTRIBUTES & set(run.attrs):
        json.loads(run.attrs[name])


def test_a_variable_in_no_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        described(xr.Dataset({"invented": ("step", [1.0])}), TRAJECTORY_SCHEMA)


def test_dimensions_other_than_the_tables_are_an_error() -> None:
    described(xr.Dataset({"seed": ("sample", [1])}), TRAJECTORY_SCHEMA)
    with pytest.raises(ValueError, match=r"'seed'.*'step'.*'sample'"):
        described(xr.Dataset({"seed": ("step", [1])}), TRAJECTORY_SCHEMA)


def test_metrics_and_ends_of_intervals_are_described_by_name() -> None:
    schema = next(schema for schema in TABLES if "comparison" in schema)
    actual = described(xr.Dataset({"mse": ("sample", [1.0]), "mse_median": ((), 1.0)}), schema, ("mse",))
    assert "mse" in actual["mse"].attrs["long_name"]
    assert actual["mse_median"].attrs["long_name"] != actual["mse"].attrs["long_name"]
