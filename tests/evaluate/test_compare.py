"""Comparison of runs: values, what is refused, what is left out."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from reports import Reports

import mosaic
from mosaic.evaluate.compare import open_comparison
from mosaic.interfaces.data_source import DataAccess
from mosaic.storage.files import write_netcdf
from mosaic.storage.trajectory import training_set_of


@pytest.fixture
def runs(tiny_file: Path) -> dict[str, xr.Dataset]:
    data = {"dataset": "file", "dataset_options": {"path": str(tiny_file)}}
    first = mosaic.run("els", **data, samples=5, steps=6, labels="random", scales="3", out="els.nc")
    data |= {"steps": 4, "init": "els.nc", "schedule": "linear"}
    return {"els": first, "ls": mosaic.run("ls", **data, scales="3"), "is": mosaic.run("is", **data)}


@pytest.fixture
def data(tiny_file: Path) -> mosaic.DataSet:
    """The training set of the runs, with their names of classes."""
    return mosaic.score("is", "file", dataset_options={"path": str(tiny_file)}).model.dataset


def test_values_are_those_of_the_metrics(runs: dict[str, xr.Dataset], tiny: mosaic.DataSet) -> None:
    actual = mosaic.compare(runs["els"], runs["ls"], runs["is"], dataset=tiny)
    images = {name: run["image"].values.reshape(5, -1).astype(float) for name, run in runs.items()}
    for role, name in (("run", "els"), ("baseline", "is")):
        expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(images[name], images["ls"], strict=True)]
        assert actual["pearson_r"].sel(compared=role).values == pytest.approx(expected, abs=1e-9)
        assert float(actual["pearson_r_median"].sel(compared=role)) == pytest.approx(np.median(expected))
        mse = ((images[name] - images["ls"]) ** 2).mean(1)
        assert actual["mse"].sel(compared=role).values == pytest.approx(mse)
    gain = actual["mse"].sel(compared="run") - actual["mse"].sel(compared="baseline")
    assert float(actual["mse_gain"]) == pytest.approx(float(gain.median()))
    assert float(actual["mse_gain_low"]) <= float(actual["mse_gain"]) <= float(actual["mse_gain_high"])
    training = tiny.images.numpy().reshape(12, -1).astype(float)
    for role, name in (("run", "els"), ("reference", "ls"), ("baseline", "is")):
        table = np.sqrt(((images[name][:, None] - training) ** 2).sum(2))
        assert actual["nearest_train"].sel(role=role).values == pytest.approx(table.min(1), abs=1e-6)
        assert actual["nearest_train_index"].sel(role=role).values.tolist() == table.argmin(1).tolist()
    assert actual["sample"].values.tolist() == list(range(5))
    assert actual["label"].values.tolist() == runs["els"]["label"].values.tolist()


def test_paths_are_opened_and_closed(runs: dict[str, xr.Dataset]) -> None:
    options: dict[str, Any] = {"metrics": "mse", "progress": False}
    actual = mosaic.compare("els.nc", runs["ls"], **options)
    assert actual.equals(mosaic.compare(runs["els"], runs["ls"], **options))
    with pytest.raises(mosaic.DataError, match="nowhere"):
        mosaic.compare("nowhere.nc", "els.nc", **options)


def test_progress_counts_the_images_that_each_metric_judges(runs: dict[str, xr.Dataset], tiny: mosaic.DataSet) -> None:
    reports = Reports()
    metrics = ("mse", "nearest_train")  # the second judges the reference as well
    mosaic.compare(runs["els"], runs["ls"], runs["is"], metrics=metrics, dataset=tiny, progress=reports)
    assert [done for done, *_ in reports] == pytest.approx([0, 5, 10, 15, 20, 25])
    assert {(total, unit) for _, total, unit, _ in reports} == {(25, "image")}
    judged = {"mse": ("run", "baseline"), "nearest_train": ("run", "reference", "baseline")}
    expected = [f"{metric} of the {role}" for metric, roles in judged.items() for role in roles]
    assert [note for *_, note in reports[:-1]] == expected


def test_images_are_not_clamped(runs: dict[str, xr.Dataset]) -> None:
    reference = runs["ls"].copy(deep=True)
    reference["image"] = reference["image"] + 3
    actual = mosaic.compare(runs["els"], reference, metrics={"pearson_r", "mse"}, progress=None)
    plain = mosaic.compare(runs["els"], runs["ls"], metrics=("mse", "pearson_r"))
    assert (actual["mse"].values > 4).all()
    assert actual["pearson_r"].values == pytest.approx(plain["pearson_r"].values, abs=1e-6)


def test_a_run_agrees_with_itself(runs: dict[str, xr.Dataset], tiny: mosaic.DataSet) -> None:
    actual = mosaic.compare(runs["els"], runs["els"], dataset=tiny)
    assert actual["pearson_r"].values == pytest.approx(1)
    assert actual["mse"].values.tolist() == [[0.0] * 5]
    assert "mse_gain" not in actual
    assert actual["memorized_share"].dims == ("role",)


def test_what_needs_a_training_set_is_left_out_without_one(runs: dict[str, xr.Dataset]) -> None:
    with pytest.warns(mosaic.MosaicWarning, match="nearest_train, memorized"):
        actual = mosaic.compare(runs["els"], runs["ls"])
    assert {"pearson_r", "r2", "R2", "cosine", "mse"} <= set(actual)
    assert not {"nearest_train", "memorized", "local_consistency", "nearest_train_index"} & set(actual)


def test_a_metric_that_is_named_is_not_left_out(runs: dict[str, xr.Dataset]) -> None:
    with pytest.raises(mosaic.UsageError, match=r"memorized.*`dataset`"):
        mosaic.compare(runs["els"], runs["ls"], metrics=("mse", "memorized"))


def test_axes_go_by_their_names_and_a_selected_sample_is_a_run(runs: dict[str, xr.Dataset]) -> None:
    metrics = ("mse", "pearson_r")
    expected = mosaic.compare(runs["els"], runs["ls"], metrics=metrics)
    turned = runs["ls"].transpose("width", "step", "height", "sample", "channel")
    xr.testing.assert_equal(mosaic.compare(runs["els"], turned, metrics=metrics), expected)
    single = mosaic.compare(runs["els"].isel(sample=1), runs["ls"].isel(sample=1), metrics=metrics)
    np.testing.assert_array_equal(single["mse"], expected["mse"].isel(sample=[1]))
    backwards = runs["ls"].isel(step=slice(None, None, -1))
    xr.testing.assert_equal(mosaic.compare(runs["els"], backwards, metrics=metrics), expected)
    with pytest.raises(mosaic.DataError):
        mosaic.compare(runs["els"], runs["ls"].isel(step=slice(1, None)), metrics=metrics)
    with pytest.raises(mosaic.DataError, match=r"reference.*state"):
        mosaic.compare(runs["els"], runs["ls"].drop_vars("state"), metrics=metrics)


def test_options_reach_their_metric(runs: dict[str, xr.Dataset], tiny: mosaic.DataSet) -> None:
    wide = {"local_consistency": {"tolerance": 9.0}}
    actual = mosaic.compare(runs["els"], runs["ls"], metrics=("local_consistency",), options=wide, dataset=tiny)
    assert actual["local_consistency"].values == pytest.approx(1)
    resolved = json.loads(actual.attrs["metric_options"])["local_consistency"]
    assert resolved == {"k": 3, "boundary": "zeros", "tolerance": 9.0}
    with pytest.raises(mosaic.UsageError, match="'k'"):
        mosaic.compare(runs["els"], runs["ls"], metrics=("mse",), options={"mse": {"k": 3}})
    with pytest.raises(mosaic.UsageError, match=r"'local_consistency'"):
        mosaic.compare(runs["els"], runs["ls"], metrics=("mse",), options=wide)
    with pytest.raises(mosaic.PluginError, match=r"'pearson'.*'pearson_r'"):
        mosaic.compare(runs["els"], runs["ls"], metrics=("pearson",))


def test_another_training_set_than_the_runs_is_refused(runs: dict[str, xr.Dataset], tiny: mosaic.DataSet) -> None:
    for images in (torch.zeros(3, 1, 4, 4), -tiny.images):
        other = mosaic.DataSet("other", images)
        with pytest.raises(mosaic.DataError, match=r"'other'.*'file'"):
            mosaic.compare(runs["els"], runs["ls"], dataset=other)
        for verb in ("nearest_train", "mosaic_map"):
            with pytest.raises(mosaic.DataError, match=r"'other'.*'file'"):
                getattr(runs["els"].mosaic, verb)(dataset=other)
        with pytest.raises(mosaic.DataError, match=r"'other'.*'file'"):
            runs["els"].mosaic.measure("memorized", other)
    cut = [runs[name].isel(width=slice(3)) for name in ("els", "ls")]
    with pytest.raises(mosaic.UsageError, match=r"\(5, 1, 6, 3\).*\(1, 6, 5\)"):
        mosaic.compare(*cut, dataset=tiny)


def test_runs_made_on_different_training_sets_are_noted(runs: dict[str, xr.Dataset]) -> None:
    other = runs["ls"].assign_attrs(dataset_fingerprint=json.dumps("0" * 64))
    with pytest.warns(mosaic.MosaicWarning, match="training sets"):
        mosaic.compare(runs["els"], other, metrics="mse")


def test_a_single_name_is_a_metric_and_what_would_not_be_used_is_refused(runs: dict[str, xr.Dataset]) -> None:
    pair = runs["els"], runs["ls"]
    xr.testing.assert_equal(mosaic.compare(*pair, metrics="mse"), mosaic.compare(*pair, metrics=["mse"]))
    xr.testing.assert_equal(mosaic.compare(*pair, metrics="r2, mse"), mosaic.compare(*pair, metrics=["r2", "mse"]))
    for nothing in ([], "", ","):
        with pytest.raises(mosaic.UsageError, match="`metrics`"):
            mosaic.compare(*pair, metrics=nothing)
    for name, metrics in (("msee", ["mse", "r2"]), ("memorized", ["mse"])):
        with pytest.raises(mosaic.UsageError, match=rf"'{name}'.*mse"):
            mosaic.compare(*pair, metrics=metrics, options={name: {}})


def test_runs_from_other_noise_are_refused(runs: dict[str, xr.Dataset], tiny_file: Path) -> None:
    data = {"dataset": "file", "dataset_options": {"path": str(tiny_file)}, "scales": "3", "steps": 2}
    other = mosaic.run("els", **data, samples=5, seed=1, labels="random")
    with pytest.raises(mosaic.UsageError, match=r"reference.*\b5 of 5\b.*`init`"):
        mosaic.compare(runs["els"], other)
    with pytest.raises(mosaic.UsageError, match="baseline"):
        mosaic.compare(runs["els"], runs["ls"], other)
    changed = runs["ls"].copy(deep=True)
    changed["state"][2, 0] += 1e-3
    with pytest.raises(mosaic.UsageError, match=r"reference.*\b1 of 5\b.*`init`"):
        mosaic.compare(runs["els"], changed)


def test_other_labels_and_other_shapes_are_refused(runs: dict[str, xr.Dataset]) -> None:
    changed = runs["ls"].copy(deep=True)
    changed["label"][3] = (changed["label"][3] + 1) % 3
    with pytest.raises(mosaic.UsageError, match=r"reference.*`init`"):
        mosaic.compare(runs["els"], changed)
    with pytest.raises(mosaic.UsageError, match=r"\(4, 1, 6, 5\).*\(5, 1, 6, 5\)"):
        mosaic.compare(runs["els"], runs["ls"].isel(sample=slice(4)))


def test_a_stored_comparison_names_what_was_compared(runs: dict[str, xr.Dataset]) -> None:
    write_netcdf(mosaic.compare(runs["els"], runs["ls"], metrics=("pearson_r",)), Path("c.nc"))
    with open_comparison(Path("c.nc")) as stored:
        assert stored["pearson_r"].sizes == {"compared": 1, "sample": 5}
        made = json.loads(stored.attrs["runs"])
        assert made["reference"]["configuration"]["score"] == "ls"
        assert all(stored[name].attrs["long_name"] for name in stored.data_vars)
    with pytest.raises(mosaic.DataError):
        open_comparison(Path("els.nc"))


def test_the_training_set_is_read_again_and_must_be_the_same(
    runs: dict[str, xr.Dataset], tiny: mosaic.DataSet, tiny_file: Path
) -> None:
    assert torch.equal(training_set_of(runs["els"], DataAccess()).images, tiny.images)
    np.savez(tiny_file, images=-tiny.images[:, 0].numpy(), labels=(torch.arange(12) % 3).numpy())
    with pytest.raises(mosaic.DataError):
        training_set_of(runs["els"], DataAccess())


def test_runs_may_be_sliced_backwards(runs: dict[str, xr.Dataset], tiny: mosaic.DataSet) -> None:
    names = list(runs)[:2]
    whole = mosaic.compare(*(runs[name] for name in names), dataset=tiny)
    back = mosaic.compare(*(runs[name].isel(sample=slice(None, None, -1)) for name in names), dataset=tiny)
    np.testing.assert_array_equal(back["pearson_r"], whole["pearson_r"][:, ::-1])
    turned = runs[names[0]].isel(sample=slice(None, None, -1))
    for metric in ("memorized", "local_consistency"):
        straight = runs[names[0]].mosaic.measure(metric, tiny)
        np.testing.assert_array_equal(turned.mosaic.measure(metric, tiny), straight[::-1])
    with pytest.raises(mosaic.UsageError, match=r"\(\d, 1, 3, 5\)"):
        turned.isel(height=slice(3)).mosaic.nearest_train(tiny)


def test_a_score_is_run_from_the_references_noise_and_labels(runs: dict[str, xr.Dataset], data: mosaic.DataSet) -> None:
    theory = mosaic.score("els", data, schedule="linear", scales=[3, 3, 5, 5, 5, 5], boundary="zeros")
    ideal = mosaic.score("is", data)
    stored = [mosaic.run(each, init="els.nc", steps=6) for each in (theory, ideal)]
    expected = mosaic.compare(stored[0], runs["els"], stored[1], dataset=data)
    for reference in (runs["els"], "els.nc", Path("els.nc")):
        xr.testing.assert_equal(mosaic.compare(theory, reference, ideal), expected)
    assert "memorized" in expected  # the training set is the score's
    xr.testing.assert_equal(mosaic.compare(stored[0], runs["els"], ideal, dataset=data), expected)
    xr.testing.assert_equal(mosaic.compare(theory, runs["els"], stored[1], dataset=data), expected)
    few = mosaic.compare(theory, runs["els"].isel(sample=[3, 1], step=[0, 5]), metrics="mse")
    np.testing.assert_allclose(few["mse"], expected["mse"].sel(compared=["run"])[:, [3, 1]], rtol=1e-5)


def test_a_score_is_run_by_the_references_sampler(data: mosaic.DataSet) -> None:
    options = {"grid": "leading", "clip": 0.5, "eta": 0.5}
    reference = mosaic.run("is", data, steps=5, samples=2, sampler_options=options)
    assert mosaic.compare(mosaic.score("is", data), reference, metrics="mse")["mse"].max() < 1e-10
    uniform = mosaic.run("is", data, steps=5, init=reference)
    assert mosaic.compare(uniform, reference, metrics="mse")["mse"].max() > 0.1  # the sampler matters


def test_its_example_gives_what_it_says() -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(mosaic.compare, "compare", globs={})
    assert doctest.DocTestRunner().run(example) == (0, 3)


def test_a_score_that_cannot_be_compared_is_refused_before_it_is_run(
    runs: dict[str, xr.Dataset], data: mosaic.DataSet, tiny_file: Path
) -> None:
    other = mosaic.run("els", "file", dataset_options={"path": str(tiny_file)}, samples=5, seed=1, steps=1, scales="3")
    theory, reports = mosaic.score("is", data), Reports()
    misuses: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((mosaic.score("is", "digits"), runs["els"]), {}, r"\(1, 6, 5\).*\(1, 8, 8\)"),
        ((runs["els"], theory), {}, "`reference`"),
        ((theory, "is"), {}, "'is'"),
        ((theory, runs["els"], other), {}, "baseline"),
        ((other, runs["els"], theory), {}, "reference"),
        ((theory, runs["els"]), {"metrics": "msee"}, "'msee'"),
        ((theory, runs["els"]), {"metrics": "mse", "options": {"r2": {}}}, "'r2'"),
        ((theory, runs["els"]), {"dataset": mosaic.DataSet("other", data.images)}, "`dataset`"),
        ((theory, runs["els"].isel(step=[1])), {}, "reference.*first step"),
        ((theory, runs["els"].drop_attrs()), {"metrics": "mse"}, "reference.*'configuration'"),
        ((mosaic.score("els", data, scales=[3, 5]), runs["els"]), {}, r"\b2\b.*\b6\b"),
        ((mosaic.score(lambda x, t: x, data), runs["els"]), {}, "labels"),
    ]
    for given, settings, message in misuses:
        with pytest.raises(mosaic.MosaicError, match=message):
            mosaic.compare(*given, **settings, progress=reports)
    assert reports == []


def test_progress_names_the_score_that_is_run(runs: dict[str, xr.Dataset], data: mosaic.DataSet) -> None:
    reports = Reports()
    mosaic.compare(mosaic.score("els", data), runs["els"], runs["is"], metrics="mse", progress=reports)
    units = [unit for _, _, unit, _ in reports]
    assert units == sorted(units, reverse=True)  # first the run, and then the images
    assert {note.partition(",")[0] for _, _, unit, note in reports if unit != "image"} == {"run"}
    assert reports[-1][:3] == (10, 10, "image")
