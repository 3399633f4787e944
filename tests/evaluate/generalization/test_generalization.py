"""Losses of training and held-out images: against oracles, limits and closed forms; and the job that keeps them."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from reports import Reports
from torch import Tensor

import mosaic
from mosaic.evaluate.statistics import difference_of_means, interval_of
from mosaic.sampling.noise import noise_of
from mosaic.storage.job import ConfigMismatch
from mosaic.storage.schema import ATTRIBUTES, GENERALIZATION_SCHEMA, TABLES

QUIET: dict[str, Any] = {"progress": False, "times": [0.1, 0.6], "samples": 4}
TRAINING, HELD_OUT = torch.arange(8), torch.arange(8, 12)
Array = NDArray[np.float64]


def measured(scores: Any, dataset: mosaic.DataSet | None = None, **more: Any) -> xr.Dataset:
    return mosaic.generalization(scores, dataset, **{**QUIET, **more})


@pytest.fixture
def halves(tiny: mosaic.DataSet) -> tuple[mosaic.DataSet, mosaic.DataSet]:
    """Eight training images, and four others."""
    return tiny.select(TRAINING), tiny.select(HELD_OUT)


def recomputed(
    result: xr.Dataset, sets: Mapping[str, mosaic.DataSet], denoise: Callable[[Array, Any, int], Array]
) -> Array:
    """Losses (set, time, sample) in float64, from what the result says of images and noise."""
    losses = np.empty((len(sets), result.sizes["time"], result.sizes["sample"]))
    for row, (name, dataset) in enumerate(sets.items()):
        for column in range(result.sizes["time"]):
            at = result.isel(time=column)
            for n in range(result.sizes["sample"]):
                place = int(at["index"].sel(set=name)[n])
                clean = dataset.images[place].double().numpy()
                eps = noise_of([int(at["seed"].sel(set=name)[n])], dataset.shape)[0].double().numpy()
                x = float(at["signal"]) * clean + float(at["noise"]) * eps
                losses[row, column, n] = np.square(denoise(x, at, place) - clean).mean()
    return losses


@pytest.mark.parametrize("machine", ["is", "els"])
def test_losses_are_those_of_the_oracle(machine: str, halves: tuple[mosaic.DataSet, mosaic.DataSet]) -> None:
    training, others = halves
    images, boundary = training.images.double().numpy(), None if machine == "is" else "zeros"
    scores = {"own": mosaic.score(machine, training, scales=None if machine == "is" else 3)}
    result = measured(scores, held_out=others, leave_one_out=True)

    def denoise(x: Array, at: Any, place: int) -> Array:
        return oracle.denoise(machine, boundary, x, images, float(at["signal"]), float(at["noise"]), 3)

    expected = recomputed(result, {"training": training, "held_out": others}, denoise)
    np.testing.assert_allclose(result["loss"].values[0, :2], expected, rtol=2e-4, atol=1e-9)

    def without(x: Array, at: Any, place: int) -> Array:
        rest = np.delete(images, place, 0)
        return oracle.denoise(machine, boundary, x, rest, float(at["signal"]), float(at["noise"]), 3)

    left_out = recomputed(result, {"training": training}, without)[0]
    np.testing.assert_allclose(result["loss"].sel(set="left_out").values[0], left_out, rtol=2e-4, atol=1e-9)


def test_references_need_no_score(halves: tuple[mosaic.DataSet, mosaic.DataSet]) -> None:
    training, others = halves
    result = measured("is", training, held_out=others, leave_one_out=True)
    sets, images = {"training": training, "held_out": others}, training.images.double().numpy()
    noisy = recomputed(result, sets, lambda x, at, place: x / float(at["signal"]))
    np.testing.assert_allclose(result["reference_loss"].sel(reference="x / a").values[:2], noisy, rtol=1e-4)
    mean = recomputed(result, sets, lambda x, at, place: images.mean(0))
    np.testing.assert_allclose(result["reference_loss"].sel(reference="mean image").values[:2], mean, rtol=1e-6)
    rest = recomputed(result, {"training": training}, lambda x, at, place: np.delete(images, place, 0).mean(0))
    left_out = result["reference_loss"].sel(set="left_out")
    np.testing.assert_allclose(left_out.sel(reference="mean image"), rest[0], rtol=1e-6)
    np.testing.assert_allclose(left_out.sel(reference="x / a"), noisy[0], rtol=1e-4)


def test_all_scores_meet_the_same_noise_which_the_number_of_samples_does_not_change(
    halves: tuple[mosaic.DataSet, mosaic.DataSet],
) -> None:
    training, others = halves
    seen: dict[str, list[Tensor]] = {"a": [], "b": []}

    def recording(name: str) -> mosaic.Score:
        def eps(x: Tensor, t: Tensor) -> Tensor:
            seen[name].append(x.clone())
            return torch.zeros_like(x)

        return mosaic.score(eps, training)

    result = measured({name: recording(name) for name in seen}, held_out=others)
    assert len(seen["a"]) == 2
    for first, second in zip(seen["a"], seen["b"], strict=True):
        assert torch.equal(first, second)
    assert len(set(result["seed"].values.ravel().tolist())) == 8  # of every image of both sets
    few = measured("is", training, held_out=others, samples=2)
    for kind in ("training", "held_out"):
        seeds = [
            dict(zip(each["index"].sel(set=kind).values, each["seed"].sel(set=kind).values, strict=True))
            for each in (result, few)
        ]
        assert seeds[1].items() <= seeds[0].items()
    other = measured("is", training, held_out=others, seed=1)
    assert not set(other["seed"].values.ravel().tolist()) & set(result["seed"].values.ravel().tolist())


def test_is_remembers_its_images_and_knows_no_others() -> None:
    options: dict[str, Any] = {"dataset_options": {"limit": 300}, "times": [0.1, 0.2], "samples": 40}
    result = measured(["is", "gaussian"], "digits", held_out={"skip": 300}, leave_one_out=True, **options)
    ideal = result.sel(score="is")
    assert (ideal["loss_mean"].sel(set="training") < 1e-4).all()
    assert (ideal["loss_mean"].sel(set="held_out") > 0.05).all()
    assert (ideal["gap_low"] > 0.05).all()
    # Without its own image, IS does no better than at images that it has never seen.
    assert (ideal["loss_low"].sel(set="left_out") < ideal["loss_high"].sel(set="held_out")).all()
    assert (ideal["loss_low"].sel(set="held_out") < ideal["loss_high"].sel(set="left_out")).all()
    assert (result["gap_low"].sel(score="gaussian") < 0).all()
    assert result["loss"].sel(score="gaussian", set="left_out").isnull().all()
    held = json.loads(result.attrs["configuration"])["held_out_options"]
    assert (held["skip"], held["limit"]) == (300, 300)
    classes = [np.bincount(result["label"].sel(set=kind), minlength=10) for kind in ("training", "held_out")]
    assert [counts.tolist() for counts in classes] == [[4] * 10] * 2


def test_the_gaussian_loses_the_trace_of_its_posterior_covariance() -> None:
    """Of training images it is exact but for the noise's draw; held-out ones are of the true covariance."""
    generator = torch.Generator().manual_seed(0)
    factor = torch.tensor([[1.0, 0, 0, 0], [0.8, 0.3, 0, 0], [0.2, 0.1, 0.5, 0], [-0.4, 0.2, 0.3, 0.2]]).double()
    drawn = torch.randn(3000, 4, generator=generator, dtype=torch.float64) @ factor.T
    training, others = (
        mosaic.DataSet("normal", part.reshape(-1, 1, 2, 2), range=(-9.0, 9.0)) for part in (drawn[:1500], drawn[1500:])
    )
    result = measured("gaussian", training, held_out=others, samples=500, times=[0.2, 0.5, 0.8])
    centred = drawn[:1500] - drawn[:1500].mean(0)
    fitted, true = centred.T @ centred / 1500, factor @ factor.T
    for column, t in enumerate(result["time"].values):
        a, s = float(result["signal"][column]), float(result["noise"][column])
        wiener = a * fitted @ torch.linalg.inv(a**2 * fitted + s**2 * torch.eye(4).double())
        bias = torch.eye(4).double() - a * wiener
        for kind, covariance in (("training", fitted), ("held_out", true)):
            expected = float((bias @ covariance @ bias.T + s**2 * wiener @ wiener.T).trace()) / 4
            losses = result["loss"].sel(set=kind, time=t).values.ravel()
            assert abs(losses.mean() - expected) < 4 * losses.std() / 500**0.5, (t, kind)


def test_means_and_gaps_are_those_of_the_losses(halves: tuple[mosaic.DataSet, mosaic.DataSet]) -> None:
    training, others = halves
    result = measured(["is", "gaussian"], training, held_out=others)
    for row in range(2):
        for column in range(2):
            own, held = result["loss"].values[row, :, column]
            at = result.isel(score=row, time=column)
            assert float(at["gap"]) == pytest.approx(held.mean() - own.mean())
            ends = (float(at["gap_low"]), float(at["gap_high"]))
            assert ends == pytest.approx(difference_of_means(held, own)[1:])
            means = [float(at[f"loss_{end}"].sel(set="held_out")) for end in ("mean", "low", "high")]
            assert means == pytest.approx(interval_of(held, "mean"))
    reference = result["reference_loss"].mean("sample")
    np.testing.assert_allclose(result["reference_loss_mean"], reference)


def test_classes_are_given_if_asked_for_or_needed(
    halves: tuple[mosaic.DataSet, mosaic.DataSet], tmp_path: Path
) -> None:
    training, others = halves
    given = measured("is", training, held_out=others, class_conditional=True, leave_one_out=True)
    images, labels = training.images.double().numpy(), (TRAINING % 3).numpy()

    def denoise(x: Array, at: Any, place: int) -> Array:
        member = labels == labels[place]
        member[place] = False
        return oracle.is_(x, images[member], float(at["signal"]), float(at["noise"]))

    expected = recomputed(given, {"training": training}, denoise)[0]
    np.testing.assert_allclose(given["loss"].sel(set="left_out").values[0], expected, rtol=2e-4)
    assert given["label"].sel(set="training").values.tolist() == labels[given["index"].values[0]].tolist()

    options = {"channels": 4, "blocks": 0, "class_conditional": True}
    folder = tmp_path / "net"
    mosaic.train("resnet", training, network_options=options, epochs=1, out=folder, progress=False)
    told = measured([mosaic.score(folder, training), "is"], held_out=others)
    assert json.loads(told.attrs["configuration"])["class_conditional"]
    np.testing.assert_allclose(told["loss"].sel(score="is"), given["loss"].values[0, :2])

    renamed = mosaic.DataSet("other", others.images, others.labels, ("c", "b", "a"))
    for held_out in (renamed, mosaic.DataSet("other", others.images)):
        with pytest.raises(mosaic.UsageError, match="class"):
            measured("is", training, held_out=held_out, class_conditional=True)
    assert measured("is", training, held_out=mosaic.DataSet("other", others.images))["label"].values[1].max() == -1


def test_what_is_left_alone_in_its_class_has_no_loss_without_itself(
    halves: tuple[mosaic.DataSet, mosaic.DataSet],
) -> None:
    training = mosaic.DataSet("few", halves[0].images[:4], torch.tensor([0, 0, 0, 1]))
    settings: dict[str, Any] = {"class_conditional": True, "leave_one_out": True}
    held_out = mosaic.DataSet("more", halves[1].images, torch.tensor([0, 0, 1, 1]))
    result = measured("is", training, held_out=held_out, **settings)
    alone = result["loss"].sel(set="left_out", score="is").isnull().all("time")
    assert alone.values.tolist() == [False, False, False, True]
    assert np.isfinite(result["loss_mean"].sel(set="left_out")).all()


def test_a_result_is_stored_as_the_table_says(halves: tuple[mosaic.DataSet, mosaic.DataSet], tmp_path: Path) -> None:
    training, others = halves
    out = tmp_path / "gap.nc"
    result = measured(["is", "els"], training, held_out=others, out=out)
    assert result["score"].values.tolist() == ["is", "els"]
    with mosaic.open_netcdf(out) as stored:
        assert set(stored.attrs) <= set(ATTRIBUTES)
        assert stored.attrs["schema"] == GENERALIZATION_SCHEMA
        for name, variable in stored.variables.items():
            table = TABLES[GENERALIZATION_SCHEMA].get(str(name))
            assert variable.attrs["long_name"], name
            assert table is None or variable.dims == table.dims, name
    xr.testing.assert_equal(result.load(), measured(["is", "els"], training, held_out=others))
    with pytest.raises(mosaic.UsageError, match="exists"):
        measured(["is", "els"], training, held_out=others, out=out)
    assert measured("is", training, held_out=others, out=out, overwrite=True).sizes["score"] == 1


def test_what_was_interrupted_is_resumed_to_the_same_losses(
    halves: tuple[mosaic.DataSet, mosaic.DataSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaic.evaluate.generalization.plan.BATCH", 1)
    training, others = halves
    settings: dict[str, Any] = {"held_out": others, "leave_one_out": True, "out": tmp_path / "gap.nc"}

    def interrupted(done: float, total: float, unit: str, note: str = "") -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(["els", "is"], training, **settings, **{"progress": interrupted})
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "gap.nc.parts").glob("part-*.nc")}
    assert len(parts) == 2
    for other in ({"seed": 1}, {"times": [0.3]}, {"held_out": others.select(torch.tensor([0, 1, 3, 2]))}):
        with pytest.raises(ConfigMismatch):
            measured(["els", "is"], training, **{**settings, **other}, resume=True)
    reports = Reports()
    resumed = measured(["els", "is"], training, **settings, **{"resume": True, "progress": reports})
    assert reports[0][0] / reports[0][1] == pytest.approx(0.5)
    shares = [done / total for done, total, *_ in reports]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    monkeypatch.undo()
    whole = measured(["els", "is"], training, **{**settings, "out": None})
    np.testing.assert_allclose(resumed["loss"], whole["loss"], rtol=1e-5)
    again = measured(["els", "is"], training, **settings, resume=True)
    xr.testing.assert_identical(again.load(), resumed.load())


def test_what_cannot_be_told_apart_is_not_resumed(
    halves: tuple[mosaic.DataSet, mosaic.DataSet], tmp_path: Path
) -> None:
    training, others = halves
    generator = torch.Generator().manual_seed(0)

    def random(x: Tensor, t: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=generator)

    settings: dict[str, Any] = {"held_out": others, "out": tmp_path / "gap.nc"}
    measured(mosaic.score(random, training), **settings)
    with pytest.raises(mosaic.UsageError, match="resumed"):
        measured(mosaic.score(random, training), **settings, resume=True)


def test_a_changed_file_is_not_taken_for_the_result(
    halves: tuple[mosaic.DataSet, mosaic.DataSet], tmp_path: Path
) -> None:
    training, others = halves
    settings: dict[str, Any] = {"held_out": others, "out": tmp_path / "gap.nc"}
    measured("is", training, **settings).isel(sample=slice(2)).load().to_netcdf(tmp_path / "less.nc")
    (tmp_path / "less.nc").replace(tmp_path / "gap.nc")
    with pytest.raises(mosaic.DataError, match="changed"):
        measured("is", training, **settings, resume=True)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"samples": 0}, mosaic.UsageError),
        ({"seed": -1}, mosaic.UsageError),
        ({"times": []}, mosaic.UsageError),
        ({"times": [2.0]}, mosaic.UsageError),
        ({"overwrite": True}, mosaic.UsageError),
        ({"resume": True}, mosaic.UsageError),
        ({"scales": 3}, mosaic.UsageError),
        ({"scores": "gaussian", "leave_one_out": True}, mosaic.UsageError),
        ({"held_out": {}}, mosaic.UsageError),
        ({"held_out": {"path": "x.npz"}}, mosaic.UsageError),
        ({"held_out": {"skip": 1797}}, mosaic.DataError),
        ({"dataset_options": {"limit": 3}, "held_out": {"skip": 2}}, mosaic.UsageError),
        ({"held_out": {"limit": 5}}, mosaic.UsageError),  # of the training images
        ({"held_out": mosaic.DataSet("other", torch.zeros(3, 1, 4, 4))}, mosaic.DataError),
        ({"held_out": mosaic.DataSet("other", torch.rand(3, 1, 8, 8), range=(0.0, 1.0))}, mosaic.DataError),
    ],
)
def test_what_cannot_be_evaluated_is_refused(given: dict[str, Any], error: type[mosaic.MosaicError]) -> None:
    settings = {"scores": "is", "dataset": "digits", "held_out": {"skip": 100}, "dataset_options": {"limit": 100}}
    with pytest.raises(error):
        mosaic.generalization(**{**QUIET, **settings, **given})


def test_options_are_no_held_out_images_of_a_set_without_a_name(tiny: mosaic.DataSet) -> None:
    with pytest.raises(mosaic.UsageError, match="'tiny'"):
        measured("is", tiny, held_out={"skip": 3})


def test_what_is_not_finite_is_refused(halves: tuple[mosaic.DataSet, mosaic.DataSet]) -> None:
    training, others = halves

    def broken(x: Tensor, t: Tensor) -> Tensor:
        return x * float("nan")

    with pytest.raises(mosaic.UsageError, match="finite"):
        measured(mosaic.score(broken, training), held_out=others)


def test_the_example_gives_what_it_shows() -> None:
    (found,) = doctest.DocTestFinder(recurse=False).find(mosaic.generalization, "example", globs={})
    assert doctest.DocTestRunner().run(found) == (0, 4)
