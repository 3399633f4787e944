"""What a run keeps beside states and means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import mosaic
import mosaic.view.accessor


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=6, samples=3, scales="3", save_steps="all")


def test_a_run_keeps_the_provenance_of_the_final_image_by_default(tiny: mosaic.DataSet) -> None:
    settings = {"steps": 5, "samples": 2, "scales": "3"}
    default = mosaic.run("els", tiny, **settings)
    everything = mosaic.run("els", tiny, save="provenance,entropy,n_eff,score", save_steps="all", **settings)
    nothing = mosaic.run("els", tiny, save="none", **settings)
    np.testing.assert_allclose(default.image, nothing.image, rtol=0, atol=1e-6)
    assert set(nothing.data_vars) == {"state", "denoised", "image"}
    for name in ("image", "row", "column", "weight", "multiplicity"):
        final, every = default[f"candidate_{name}"], everything[f"candidate_{name}"]
        assert final.dims == ("sample", "step", "height", "width")
        np.testing.assert_array_equal(final.isel(step=-1), every.isel(step=-1))
        rest = final.isel(step=slice(-1)).values
        assert (np.isnan(rest) if rest.dtype.kind == "f" else rest == -1).all()
        assert every.attrs["long_name"]
    for name in ("source_image", "source_row", "source_column", "multiplicity"):
        assert default[name].dims == ("sample", "height", "width")
        np.testing.assert_array_equal(default[name], everything[name])
    assert default["source_image"].dtype == np.int32
    assert default["source_row"].dtype == np.int16
    np.testing.assert_allclose(everything["n_eff"], np.exp(everything["entropy"]), rtol=1e-5)
    score = (everything.signal * everything.denoised - everything.state) / everything.noise**2
    np.testing.assert_allclose(everything["score"], score.transpose(*everything["score"].dims), rtol=1e-4, atol=1e-4)


def test_what_was_kept_is_stored_and_resumed(tiny_file: Path, tmp_path: Path) -> None:
    settings = {"dataset_options": {"path": str(tiny_file)}, "steps": 4, "samples": 3, "scales": "3", "batch_size": 2}
    settings |= {"save": "provenance,n_eff", "save_steps": "0,3"}
    stored = mosaic.run("els", "file", out="run.nc", **settings)
    memory = mosaic.run("els", "file", **settings)
    again = mosaic.run("els", "file", out="run.nc", resume=True, **settings)
    for name in ("source_image", "multiplicity", "candidate_image", "candidate_weight", "n_eff"):
        np.testing.assert_array_equal(stored[name], memory[name])
        np.testing.assert_array_equal(stored[name], again[name])
        assert stored[name].dtype == memory[name].dtype
    assert (stored["candidate_image"].isel(step=[1, 2]) == -1).all()
    assert (stored["candidate_image"].isel(step=[0, 3]) >= 0).all()
    assert (stored["source_image"] >= 0).all()
    opened = xr.open_dataset("run.nc")
    assert opened.mosaic.sources().sizes["sample"] == 3
    with pytest.raises(mosaic.UsageError, match="save_steps"):
        mosaic.run("els", "file", out="run.nc", resume=True, **{**settings, "save_steps": "all"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"save": "provenence"}, "`save`.*'provenence'.*'provenance'"),
        ({"save": "none,entropy"}, "`save` 'none,entropy'.*'none'"),
        ({"save_steps": "7"}, r"`save_steps` '7'.*\b0\b.*\b3\b"),
        ({"save_steps": "last,2"}, r"`save_steps` 'last,2'.*\b0\b.*\b3\b"),
        ({"save_steps": "-1"}, r"`save_steps` '-1'.*\b0\b.*\b3\b"),
    ],
)
def test_what_cannot_be_kept_is_refused(tiny: mosaic.DataSet, settings: dict[str, str], message: str) -> None:
    with pytest.raises(mosaic.UsageError, match=message):
        mosaic.run("els", tiny, steps=4, samples=1, scales="3", **settings)


def test_a_callable_keeps_its_score_but_has_no_provenance(tiny: mosaic.DataSet) -> None:
    kept = mosaic.run(lambda x, t: x, tiny, steps=3, samples=1, save="score")
    assert kept["score"].isel(step=-1).notnull().all()
    plain = mosaic.run(lambda x, t: x, tiny, steps=3, samples=1)
    assert "source_image" not in plain
    with pytest.raises(mosaic.UsageError):
        mosaic.run(lambda x, t: x, tiny, steps=3, samples=1, save="entropy")
    with pytest.raises(mosaic.DataError, match="source_image"):
        plain.mosaic.sources()
