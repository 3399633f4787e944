"""A leaderboard of two trainings of one network: what it says of theories, and how well one predicts the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from small_leaderboard import SETTINGS

import mosaic
from mosaic.evaluate.leaderboard.table import best_of_halves

pytestmark = pytest.mark.system  # trains networks
SETTING: dict[str, Any] = {**SETTINGS, "scores": "els,gaussian,is", "samples": 3}
Train = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Train:
    folder, network = tmp_path_factory.mktemp("trainings"), {"channels": 4, "blocks": 1, "padding": "circular"}

    def train(name: str, limit: int = 40, seed: int = 0, **options: Any) -> Path:
        given = {"dataset_options": {"limit": limit}, "network_options": {**network, **options}}
        mosaic.train("resnet", "digits", out=folder / name, epochs=2, seed=seed, progress=False, **given)
        return folder / name

    return train


@pytest.fixture(scope="module")
def networks(trained: Train) -> list[Path]:
    return [trained("a"), trained("b", seed=1)]


@pytest.fixture(scope="module")
def folder(networks: list[Path]) -> Path:
    """A leaderboard of objects, which work in this process."""
    out = networks[0].parent / "board"
    mosaic.leaderboard([mosaic.score(path) for path in networks], out=out, progress=False, **SETTING)
    return out


@pytest.fixture
def table(folder: Path) -> xr.Dataset:
    return xr.load_dataset(folder / "leaderboard.nc")


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel().astype(float), second.ravel().astype(float))[0, 1])


def at_states(network: Path, run: xr.Dataset, steps: list[int]) -> np.ndarray:
    """x0hat (step, sample, ...) of a network at states of a run."""
    score, states = mosaic.score(network), torch.from_numpy(run["state"].values)
    levels = [mosaic.Level(float(run["signal"][step]), float(run["noise"][step])) for step in steps]
    pairs = zip(steps, levels, strict=True)
    return np.stack([score.denoise(states[:, step], level=level).numpy() for step, level in pairs])


def test_final_images_are_compared_with_those_of_each_training(folder: Path, table: xr.Dataset) -> None:
    runs = [mosaic.open(folder / name) for name in ("network.nc", "network-2.nc")]
    assert table["final_pearson_r"].dims == ("score", "training", "sample")
    assert table["score"].values.tolist() == ["network", "els", "gaussian", "is"]
    for name, (training, run) in product(("els", "gaussian", "is"), enumerate(runs)):
        compared = mosaic.compare(mosaic.open(folder / f"{name}.nc"), run, metrics="pearson_r")
        np.testing.assert_array_equal(table["final_pearson_r"].sel(score=name)[training], compared["pearson_r"][0])
    entry = table.sel(score="els")
    assert float(entry["final_mse_median"]) == np.median(entry["final_mse"])
    assert entry["final_mse_low"] < entry["final_mse_median"] < entry["final_mse_high"]


def test_the_networks_own_entry_is_how_another_training_predicts_it(
    folder: Path, table: xr.Dataset, networks: list[Path]
) -> None:
    runs, steps = [mosaic.open(folder / name) for name in ("network.nc", "network-2.nc")], [0, 3, 6]
    entry = table.sel(score="network")
    assert entry["step"].values.tolist() == steps
    for training, sample in product(range(2), range(3)):
        run, other = runs[training], runs[1 - training]
        final = pearson(other["image"].values[sample], run["image"].values[sample])
        assert float(entry["final_pearson_r"][training, sample]) == pytest.approx(final, abs=1e-6)
        here, there = at_states(networks[1 - training], run, steps), at_states(networks[training], other, steps)
        along = [pearson(here[n, sample], run["denoised"].values[sample, step]) for n, step in enumerate(steps)]
        own = [pearson(other["denoised"].values[sample, step], there[n, sample]) for n, step in enumerate(steps)]
        np.testing.assert_allclose(entry["step_pearson_r"][training, :, sample], along, atol=1e-5)
        assert float(entry["along_pearson_r"][training, sample]) == pytest.approx(np.median(along), abs=1e-5)
        assert float(entry["own_pearson_r"][training, sample]) == pytest.approx(np.median(own), abs=1e-5)
    assert entry["own_step_mse"].isnull().all()  # its flow has other steps than the theories'


def test_along_a_theorys_own_flow_each_network_is_evaluated(
    folder: Path, table: xr.Dataset, networks: list[Path]
) -> None:
    run = mosaic.open(folder / "gaussian.nc")
    np.testing.assert_allclose(table["own_time"], run["time"])
    for training, network in enumerate(networks):
        expected = at_states(network, run, [0, 1, 2])
        for step, sample in product(range(3), range(3)):
            r = pearson(run["denoised"].values[sample, step], expected[step, sample])
            actual = table["own_step_pearson_r"].sel(score="gaussian")[training, step, sample]
            assert float(actual) == pytest.approx(r, abs=1e-5)
    np.testing.assert_allclose(table["own_mse"][1:], table["own_step_mse"][1:].median("own_step"))


def test_what_a_theory_adds_is_the_correlation_of_what_a_line_in_els_leaves(folder: Path, table: xr.Dataset) -> None:
    images = {name: mosaic.open(folder / f"{name}.nc")["image"].values for name in ("els", "is", "network-2")}
    for sample in range(3):
        flat = {name: values[sample].ravel().astype(float) for name, values in images.items()}
        lines = np.stack([flat["els"], np.ones_like(flat["els"])], axis=1)
        rests = [flat[name] - lines @ np.linalg.lstsq(lines, flat[name], rcond=None)[0] for name in ("is", "network-2")]
        actual = table["partial_pearson_r"].sel(score="is")[1, sample]
        assert float(actual) == pytest.approx(pearson(*rests), abs=1e-6)
    assert table["partial_pearson_r"].sel(score="els").isnull().all()
    assert table["partial_pearson_r"].sel(score="network").notnull().all()
    assert table.attrs["given"] == "els"


def test_the_lead_is_that_of_the_theory_that_is_best_on_the_other_half(table: xr.Dataset) -> None:
    final = table["final_pearson_r"].sel(score=["els", "gaussian", "is"])
    even, odd = (final[..., start::2].median(("training", "sample")).idxmax("score").item() for start in (0, 1))
    for sample in range(3):
        best = final.sel(score=odd if sample % 2 == 0 else even)
        lead = best[:, sample] - table["final_pearson_r"][..., sample]
        if even == odd:  # it would be compared with itself
            lead = lead.where(lead["score"] != even)
        np.testing.assert_allclose(table["behind"][..., sample], lead.transpose("score", "training"))


def test_a_theory_that_chance_favours_on_half_of_the_samples_is_no_reference_there() -> None:
    final = np.array([[[0.9, 0.1, 0.9, 0.1]], [[0.1, 0.8, 0.1, 0.8]], [[1.0, 1.0, 1.0, 1.0]]])
    assert best_of_halves(final, ["a", "b", "network"], True) == ("a", "b")
    assert best_of_halves(final, ["a", "b", "network"], False) == ("b", "a")
    assert best_of_halves(final[..., :1], ["a", "b", "network"], True) == ("a", None)


def test_what_is_done_is_used_again(folder: Path, networks: list[Path], table: xr.Dataset) -> None:
    seen: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.nc") if path.stem != "leaderboard"}
    again = [mosaic.score(path) for path in networks]
    (folder / "is-own-2.nc").unlink()
    repeated = mosaic.leaderboard(
        again, out=folder, progress=lambda done, total, unit, note: seen.append(note), **SETTING
    )
    assert {note.partition(",")[0] for note in seen} == {"network-2 along other flows"}
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path.name for path in before if before[path] != after[path]} == {"is-own-2.nc"}
    assert repeated["own_pearson_r"].equals(table["own_pearson_r"])


def test_folders_give_the_same_numbers_in_processes_of_their_own(
    networks: list[Path], table: xr.Dataset, tmp_path: Path
) -> None:
    own = mosaic.leaderboard(networks, out=tmp_path, progress=False, **SETTING)
    assert own["training"].values.tolist() == list(map(str, networks))
    for name in ("final_mse", "step_mse", "own_step_mse", "partial_pearson_r", "behind"):
        np.testing.assert_allclose(own[name], table[name], rtol=1e-4, atol=1e-5)
    assert (own["peak_bytes"] > 2**26).all()


def test_what_is_not_another_training_of_the_network_is_refused(
    networks: list[Path], trained: Train, tmp_path: Path
) -> None:
    others = {
        "network_options.channels: 4 and 5": trained("wide", channels=5),
        "training images": trained("fewer", limit=30),
        "padding": trained("zeros", padding="zeros"),
        "the same network": networks[0],
    }
    for difference, other in others.items():
        with pytest.raises(mosaic.UsageError, match=difference):
            mosaic.leaderboard([networks[0], other], out=tmp_path / "board", **SETTING)
    with pytest.raises(mosaic.UsageError, match="network"):
        mosaic.leaderboard([mosaic.score(networks[0]), mosaic.score("is", "digits")], out=tmp_path / "board", **SETTING)
    assert not (tmp_path / "board").exists()
