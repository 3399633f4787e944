"""`result.mosaic.plot`: one door to the pictures of runs, comparisons, calibrations and leaderboards."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable, texts_of
from matplotlib.figure import Figure

import mosaic
import mosaic.view.accessor
from mosaic.storage.schema import CALIBRATION_SCHEMA, LEADERBOARD_SCHEMA
from mosaic.view.plot import NEEDS, PICTURED, Plots, kinds_of


@pytest.fixture
def run(tiny: mosaic.DataSet) -> xr.Dataset:
    return mosaic.run("els", tiny, steps=3, samples=2, scales="3", save="provenance,entropy", save_steps="all")


def calibration(name: str = "mine") -> xr.Dataset:
    variables = {"best": (("sample", "step"), [[5, 3], [7, 3]])}
    variables |= {end: ("step", [6, 3]) for end in ("scale", "scale_q25", "scale_q75")}
    coordinates = {"k": [3, 5, 6, 7], "time": ("step", [1.0, 0.5])}
    return xr.Dataset(variables, coordinates, {"title": name, "schema": CALIBRATION_SCHEMA})


def board(name: str = "mine", scores: tuple[str, ...] = ("els", "network", "is")) -> xr.Dataset:
    values = {"final_pearson_r": (("score", "sample"), np.ones((3, 1)))}
    values |= {
        f"final_pearson_r_{end}": ("score", np.array([0.9, np.nan, 0.5]) + more)
        for end, more in (("median", 0.0), ("low", -0.1), ("high", 0.1))
    }
    values |= {
        **{f"step_pearson_r_{end}": (("score", "step"), np.ones((3, 2))) for end in ("median", "low", "high")},
        "seconds_per_step": ("score", [0.1, 0.01, 1.0]),
    }
    coordinates = {"score": list(scores), "time": ("step", [1.0, 0.5])}
    return xr.Dataset(values, coordinates, {"title": name, "schema": LEADERBOARD_SCHEMA})


def test_every_kind_of_a_result_is_a_figure(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    other = mosaic.run("ls", tiny, steps=2, scales="3", init=run)
    for result in (run, mosaic.compare(run, other, metrics="mse"), calibration(), board()):
        plot = result.mosaic.plot
        assert dir(plot) == sorted(NEEDS[result.attrs["schema"]])
        assert ", ".join(kinds_of(result)) in repr(plot)
        for kind in dir(plot):
            arguments = {"dataset": tiny} if kind == "provenance" else {}
            assert isinstance(getattr(plot, kind)(**arguments), Figure)
    methods = {name for name in vars(Plots) if not name.startswith("_")}
    assert methods == {kind for kinds in NEEDS.values() for kind in kinds}
    assert set(NEEDS) == set(PICTURED)


def test_samples_are_a_number_or_several(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    single, several = (run.mosaic.plot.flow(samples).get_figheight() for samples in (1, [0, 1]))
    assert several > single
    assert "sample 1\n" in run.mosaic.plot.provenance((1,), dataset=tiny).axes[0].get_title() + "\n"
    with pytest.raises(mosaic.UsageError, match=r"\b2\b.*\b1\b"):
        run.mosaic.plot.entropy([0, 2])
    with pytest.raises(mosaic.UsageError, match="`samples`"):
        run.mosaic.plot.flow("0")
    assert len(run.mosaic.plot.images(limit=1).axes) == 1
    for draw in (run.mosaic.plot.flow, run.mosaic.plot.entropy):
        assert draw(columns=1).axes
        with pytest.raises(mosaic.UsageError, match="`columns`"):
            draw(columns=0)
    with pytest.raises(mosaic.UsageError, match="`limit`"):
        run.mosaic.plot.images(limit=0)


def test_what_a_result_does_not_hold_is_not_offered_and_refused_with_what_it_has(run: xr.Dataset) -> None:
    ideal = mosaic.run("is", "digits", steps=2, samples=1, save="none")
    for result, lacking in (
        (run.drop_vars("source_image"), ["provenance", "sources"]),
        (run.drop_vars("entropy"), ["entropy"]),
        (ideal, ["provenance", "entropy", "scales", "sources", "agreement"]),
        (calibration(), ["flow", "images", "agreement"]),
        (board(), ["scales"]),
    ):
        for kind in lacking:
            assert kind not in dir(result.mosaic.plot)
            with pytest.raises(mosaic.DataError, match=", ".join(kinds_of(result))):
                getattr(result.mosaic.plot, kind)()
    assert "entropy" in dir(run.rename(entropy="n_eff").mosaic.plot)
    nothing = xr.Dataset({"a": 1}).mosaic.plot
    assert dir(nothing) == []
    with pytest.raises(mosaic.DataError, match="'schema'"):
        nothing.flow()


def test_what_a_picture_needs_is_enough_and_each_part_of_it_is_needed(run: xr.Dataset, tiny: mosaic.DataSet) -> None:
    comparison = mosaic.compare(run, run, metrics="mse")
    for result in (run, run.rename(entropy="n_eff"), comparison, calibration(), board()):
        for kind, needs in NEEDS[result.attrs["schema"]].items():
            arguments = {"dataset": tiny} if kind == "provenance" else {}
            needed = needs(result) if callable(needs) else needs
            kept = result.drop_vars(set(result.variables) - set(needed))
            assert isinstance(getattr(kept.mosaic.plot, kind)(**arguments), Figure)
            for name in needed:
                lacking = result.drop_vars(name).mosaic.plot
                assert kind not in dir(lacking)
                with pytest.raises(mosaic.DataError):
                    getattr(lacking, kind)(**arguments)


def test_the_training_set_is_read_again_or_given(tiny: mosaic.DataSet, run: xr.Dataset) -> None:
    digits = mosaic.run("els", "digits", steps=2, samples=1)
    assert digits.mosaic.plot.provenance().axes
    with pytest.raises(mosaic.DataError, match=r"run\.mosaic\.plot\.provenance"):
        run.mosaic.plot.provenance()
    with pytest.raises(mosaic.DataError, match="'tiny'"):
        digits.mosaic.plot.provenance(0, tiny)


def test_long_names_of_calibrations_and_leaderboards_are_readable() -> None:
    name = "by the network at /a/very/long/path-to-a-folder" * 3
    check_readable(calibration(name).mosaic.plot.scales())
    check_readable(board(name, ("a-very-long-name-of-a-score-model" * 2, "network", "is")).mosaic.plot.agreement())


def test_a_run_of_files_is_called_by_their_name(tiny_file: object) -> None:
    run = mosaic.run("els", "file", dataset_options={"path": str(tiny_file)}, steps=2, samples=1, scales="3")
    assert "els on tiny.npz" in texts_of(run.mosaic.plot.flow())
    assert mosaic.run("is", "digits", steps=2, samples=1).mosaic.plot.flow().get_suptitle() == "is on digits"


def test_a_picture_that_there_is_none_of_is_named_with_those_that_there_are(tiny: mosaic.DataSet) -> None:
    plot = mosaic.run("els", tiny, steps=2, samples=1, scales="3").mosaic.plot
    with pytest.raises(AttributeError, match=r"'provenence'.*'provenance'.*flow, images"):
        plot.provenence()
    assert not hasattr(plot, "nothing")
