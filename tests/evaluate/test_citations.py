"""What to cite for a result: its plugins' references, each once, found in all that a result is made of."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import mosaic
from mosaic.registry.hooks import KINDS

SHORT = {"samples": 2, "steps": 2, "progress": False}


def keys(entries: list[str]) -> list[str]:
    """The BibTeX keys, of entries whose braces are balanced."""
    for entry in entries:
        assert entry.count("{") == entry.count("}")
    found = [re.match(r"@(?:inproceedings|article|misc|techreport|software)\{([a-z0-9]+),\n", each) for each in entries]
    assert all(found)
    return [each[1] for each in found if each]


def test_the_example_runs() -> None:
    (found,) = doctest.DocTestFinder(recurse=False).find(mosaic.cite, "example", globs={})
    assert doctest.DocTestRunner().run(found) == (0, 3)


def test_a_run_names_its_theory_sampler_schedule_data_and_software_once() -> None:
    options = {"gaussian-mixture": "wang2024unreasonable", "smoothed": "scarvelis2023closed"}
    for score, key in options.items():
        mosaic.run(score, "digits", sampler="heun", schedule="flow", out=f"{score}.nc", **SHORT)
        cited = keys(mosaic.cite(f"{score}.nc"))
        assert len(cited) == len(set(cited))
        software = {"mosaic", "paszke2019pytorch", "hoyer2017xarray"}
        assert set(cited) == {key, "alpaydin1998optical", "karras2022elucidating", "lipman2023flow"} | software


def test_a_comparison_names_what_its_runs_used() -> None:
    theory = mosaic.run("gaussian", "digits", **SHORT)
    other = mosaic.run("els", "digits", init=theory, steps=2, progress=False)
    mosaic.compare(
        theory, other, metrics="memorized,mse", progress=False, dataset=theory.mosaic.training_set()
    ).to_netcdf("c.nc")
    assert {"wang2024unreasonable", "kamb2025analytic", "yoon2023diffusion"} <= set(keys(mosaic.cite("c.nc")))


def test_a_checkpoint_and_a_run_of_it_name_the_network(tiny: mosaic.DataSet) -> None:
    options = {"channels": 4, "blocks": 1}
    mosaic.train("unet", tiny, out="net", epochs=1, network_options={"channels": "2"}, progress=False)
    mosaic.train("resnet", tiny, out="other", epochs=1, network_options=options, progress=False)
    assert "ronneberger2015unet" in keys(mosaic.cite("net"))
    mosaic.run("network", tiny, score_options={"checkpoint": "other"}, out="run.nc", **SHORT)
    assert "kamb2025analytic" in keys(mosaic.cite("run.nc"))
    Path("other").rename("moved")
    assert "ronneberger2015unet" not in keys(mosaic.cite("run.nc"))


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(mosaic.DataError, match="none"):
        mosaic.cite("none.nc")


@pytest.mark.parametrize("kind", KINDS)
def test_references_of_built_in_plugins_are_entries(kind: str) -> None:
    known = mosaic.registry()
    by_key: dict[str, str] = {}
    for name in known.names(kind):
        for entry in known.get(kind, name).references:
            (key,) = keys([entry])
            assert by_key.setdefault(key, entry) == entry
    assert by_key
