"""Locality scales: look-up by noise-to-signal ratio, presets, lists, numbers and files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import mosaic
from mosaic.interfaces.sampler import levels_at, uniform_times
from mosaic.run.config import RunConfig
from mosaic.run.settings import layered
from mosaic.sampling.scales import (
    PAPER_SCALES,
    SOFT_SCALES,
    ScaleSchedule,
    coarse_to_fine,
    preset_boundary,
    preset_names,
    preset_scales,
    resolve_scales,
)


def rising(steps: int, schedule: str = "cosine") -> list[mosaic.Level]:
    return levels_at(mosaic.registry().get("schedule", schedule)(), uniform_times(steps))[::-1]


def test_there_are_ten_paper_presets_of_twenty_odd_scales() -> None:
    assert len(PAPER_SCALES) == 10
    assert all(len(scales) == 20 and all(k % 2 == 1 for k in scales) for scales in PAPER_SCALES.values())


def test_the_preset_of_square_patches_has_a_size_for_each_level_of_edm() -> None:
    table = preset_scales("niedoba/cifar10-square")
    assert list(table.scales)[::-1] == [32] * 7 + [23, 15, 11, 7, 5] + [3] * 6  # from sigma 80 to 0.002
    schedule = mosaic.registry().make("schedule", "edm", {})
    assert table.ratios == pytest.approx([schedule.level(i / 17).noise for i in range(18)], rel=1e-12)


@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("paper/")])
def test_a_preset_gives_back_its_own_list_on_its_own_schedule(name: str) -> None:
    assert resolve_scales(name, rising(20)) == PAPER_SCALES[name.removeprefix("paper/")]


@pytest.mark.parametrize("name", SOFT_SCALES)
def test_soft_windows_have_presets_of_ours(name: str) -> None:
    scales = preset_scales(f"soft-els/{name}").scales
    assert len(scales) == 20
    assert list(scales) == sorted(scales)  # windows grow with the noise
    assert resolve_scales(f"soft-els/{name}", rising(20), True) == pytest.approx(SOFT_SCALES[name])


def test_every_preset_of_networks_belongs_to_a_boundary() -> None:
    boundaries = {name: preset_boundary(name) for name in preset_names()}
    circular = {name for name in boundaries if "circular" in name}
    assert circular == {"paper/mnist-resnet-circular", "paper/cifar10-resnet-circular"}
    assert {name for name, boundary in boundaries.items() if boundary == "valid"} == circular
    assert {name for name, boundary in boundaries.items() if boundary is None} == {"niedoba/cifar10-square"}
    assert boundaries["soft-els/fashion-resnet-zeros"] == "zeros"


def test_another_schedule_or_step_count_takes_the_entry_nearest_in_log_ratio() -> None:
    table = PAPER_SCALES["mnist-resnet-zeros"]
    ratios = [math.tan(math.pi / 2 / 1.008 * i / 20) for i in range(1, 21)]
    for schedule, steps in (("linear", 7), ("edm", 31), ("flow", 20), ("cosine", 100)):
        levels = rising(steps, schedule)
        expected = [
            table[min(range(20), key=lambda i: abs(math.log(ratios[i]) - math.log(level.noise / level.signal)))]
            for level in levels
        ]
        assert list(resolve_scales("paper/mnist-resnet-zeros", levels)) == expected
    # THEORY: at t = 0.05 the linear schedule's s / a is .249, the cosine one's .078: not the same entry.
    lowest = rising(20, "linear")[0]
    assert lowest.ratio == pytest.approx(0.249, abs=5e-4)
    assert resolve_scales("paper/mnist-resnet-zeros", [lowest]) == (table[2],)


def test_one_number_serves_all_steps_and_a_list_must_have_one_entry_a_step() -> None:
    assert resolve_scales("7", rising(3)) == (7, 7, 7)
    assert resolve_scales("3, 5,9", rising(3)) == (3, 5, 9)
    with pytest.raises(mosaic.UsageError, match=r"`scales`.*\b2\b.*\b3\b"):
        resolve_scales("3,5", rising(3))


@pytest.mark.parametrize("spec", ["0", "-3", "3,3,-6", "99999"])
def test_scales_that_are_not_positive_or_too_large_are_refused_by_value(spec: str) -> None:
    with pytest.raises(mosaic.UsageError, match=rf"(?<![\d-]){spec.split(',')[-1]}\b"):
        resolve_scales(spec, rising(3))


def test_an_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(mosaic.UsageError, match=r"'paper/mnist-resnet-zero'.*'paper/mnist-resnet-zeros'"):
        resolve_scales("paper/mnist-resnet-zero", rising(20))


@pytest.mark.parametrize("spec", ["²", "+-3", "3,", "3,x", "1" * 5000, "nan", "inf"])
def test_what_is_no_list_of_numbers_is_refused(spec: str) -> None:
    with pytest.raises(mosaic.UsageError, match=spec[:2].replace("+", r"\+")):
        resolve_scales(spec, rising(2))


def test_json_and_netcdf_files_are_looked_up_by_ratio(tmp_path: Path) -> None:
    levels = rising(4)
    document = {"scales": [3, 5, 7, 9], "noise_to_signal": [level.ratio for level in levels]}
    (tmp_path / "scales.json").write_text(json.dumps(document))
    table = xr.Dataset(
        {"scale": ("step", [3, 5, 7, 9])},
        coords={"signal": ("step", [x.signal for x in levels]), "noise": ("step", [x.noise for x in levels])},
    )
    table.to_netcdf(tmp_path / "scales.nc")
    for name in ("scales.json", "scales.nc"):
        assert resolve_scales(str(tmp_path / name), levels) == (3, 5, 7, 9)
        assert resolve_scales(str(tmp_path / name), [levels[2], levels[0]]) == (7, 3)


def test_scales_of_a_stored_run_can_be_used_again(tiny: mosaic.DataSet, tmp_path: Path) -> None:
    with mosaic.run(dataset=tiny, steps=4, samples=1, scales="3,3,5,5", out=tmp_path / "a.nc"):
        pass
    assert resolve_scales(str(tmp_path / "a.nc"), rising(4)) == (3, 3, 5, 5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"scales": [3], "noise_to_signal": [1, 2]}',
        '{"scales": [3], "noise_to_signal": [-1]}',
        '{"scales": [0], "noise_to_signal": [1]}',
        '{"scales": [], "noise_to_signal": []}',
        '{"scales": [Infinity], "noise_to_signal": [1]}',
        '{"scales": [3], "noise_to_signal": [NaN]}',
        '{"scales": [99999999999999999999999], "noise_to_signal": [1]}',
        '{"scales": ["3"], "noise_to_signal": [1]}',
        '{"scales": [true], "noise_to_signal": [1]}',
        "null",
        '{"scales":' * 50_000,
    ],
)
def test_an_unusable_scales_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(mosaic.UsageError):
        resolve_scales(str(tmp_path / "bad.json"), rising(3))


def test_the_default_goes_from_half_the_image_at_noise_to_three_at_data() -> None:
    times = [i / 20 for i in range(1, 21)]
    scales = coarse_to_fine(32, times, rising(20)).scales
    assert scales[0] == 3
    assert scales[-1] in (15, 17)
    assert list(scales) == sorted(scales)
    assert coarse_to_fine(1, [1.0], rising(1)).scales == (1,)


def test_a_level_between_two_entries_takes_the_nearer_in_log_ratio_and_the_lower_of_two_as_near() -> None:
    table = ScaleSchedule((3, 5, 9), (0.25, 1.0, 4.0))
    for ratio, k in ((1e-6, 3), (0.5, 3), (0.51, 5), (1.0, 5), (1.99, 5), (2.0, 5), (2.01, 9), (1e6, 9)):
        assert table.at(mosaic.Level(0.5, 0.5 * ratio)) == k, ratio
    assert ScaleSchedule((7,)).at(mosaic.Level(1e-3, 1.0)) == 7


@pytest.mark.parametrize(
    ("scales", "ratios", "named"),
    [
        ((3, 5), (1.0,), "2.*1"),
        ((3, 5), (), "2.*0"),
        ((3,), (0.0,), r"0\.0"),
        ((3,), (math.inf,), "inf"),
        ((3,), (math.nan,), "nan"),
        ((3, -4), (1.0, 2.0), "-4"),
        ((3, math.nan), (1.0, 2.0), "nan"),
        (3, (), "scales"),
        ("35", [1.0, 2.0], "scales"),
        ([3, 5], "ab", "ratios"),
    ],
)
def test_a_table_that_cannot_be_looked_up_is_refused_by_value(scales: Any, ratios: Any, named: str) -> None:
    with pytest.raises(mosaic.UsageError, match=named):
        ScaleSchedule(scales, ratios)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.1, 2.5), (0.01, 2.5), (4.0, 40.0), (9.0, 40.0), (0.2, 5.0), (math.sqrt(0.1 * 0.2), math.sqrt(2.5 * 5.0))],
)
def test_continuous_scales_are_interpolated_in_the_logarithms(ratio: float, expected: float) -> None:
    table = ScaleSchedule((40, 2.5, 5), (4.0, 0.1, 0.2))
    assert table.at(mosaic.Level(1.0, ratio), continuous=True) == pytest.approx(expected)
    assert table.at(mosaic.Level(1.0, ratio)) in (40, 2.5, 5)


def test_a_continuous_scale_at_an_entry_is_the_entry() -> None:
    assert resolve_scales("paper/mnist-resnet-zeros", rising(20), True) == PAPER_SCALES["mnist-resnet-zeros"]


def test_whole_numbers_are_integers() -> None:
    assert [type(scale) for scale in ScaleSchedule((3.0, 3.5), (1.0, 2.0)).scales] == [int, float]
    assert resolve_scales("3.0,5", rising(2)) == (3, 5)
    assert json.dumps(resolve_scales("3.0,5.5", rising(2))) == "[3, 5.5]"


def test_a_table_may_be_given_as_lists_or_arrays() -> None:
    table = ScaleSchedule((3, 5), (0.1, 1.0))
    assert ScaleSchedule([3, 5], [0.1, 1]) == ScaleSchedule(np.array([3, 5]), np.array([0.1, 1])) == table  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scaled() -> xr.Dataset:
    settings = {"dataset_options": {"limit": 9}, "samples": 1, "save": "none", "progress": None}
    return mosaic.run("ls", "digits", **settings, steps=4, scales=[3, 3, 5, 7])


def forms(run: xr.Dataset) -> list[Any]:
    """What holds the scales of a run, in any order."""
    scale, ratios = run["scale"], (run["noise"] / run["signal"]).values.tolist()
    return [
        run,
        run[["scale", "signal", "noise"]].reset_coords(),
        ScaleSchedule((3, 3, 5, 7), tuple(reversed(ratios))),
        scale,
        scale.isel(step=[2, 0, 1, 3]),
        run.swap_dims(step="time")["scale"],
        scale.drop_vars("signal"),
        scale.drop_vars(["signal", "noise"]),
        scale.drop_vars(["signal", "noise", "time"]),
        scale.to_series(),
        scale.to_series().sort_values(),
        [3.0, 3.0, 5.0, 7.0],
        np.array([3, 3, 5, 7]),
    ]


def test_scales_of_a_run_are_its_own_in_whatever_order(scaled: xr.Dataset) -> None:
    levels = rising(4)
    for given in forms(scaled):
        text = layered(RunConfig, {"scales": given}).scales
        assert isinstance(text, str)
        assert resolve_scales(text, levels) == (3, 3, 5, 7)
    again = mosaic.run("ls", "digits", dataset_options={"limit": 9}, samples=1, steps=4, scales=scaled["scale"])
    assert again["scale"].values.tolist() == scaled["scale"].values.tolist() == [7, 5, 3, 3]
    assert again.attrs["scales"] == scaled.attrs["scales"]
    by_hand = mosaic.score("ls", "digits", dataset_options={"limit": 9}, scales=scaled)
    assert resolve_scales(str(by_hand.scales), levels) == (3, 3, 5, 7)


def test_scales_of_objects_are_looked_up_by_noise(scaled: xr.Dataset) -> None:
    text = layered(RunConfig, {"scales": scaled}).scales
    expected = [ScaleSchedule((3, 3, 5, 7), tuple(level.ratio for level in rising(4))).at(each) for each in rising(9)]
    assert list(resolve_scales(str(text), rising(9))) == expected
    assert layered(RunConfig, {"scales": ScaleSchedule((9,))}).scales == "9"
    assert layered(RunConfig, {"scales": scaled["scale"][0]}).scales == "7"


def test_an_object_that_does_not_say_the_order_of_its_scales_is_refused(scaled: xr.Dataset) -> None:
    bare = scaled["scale"].reset_coords(drop=True).drop_vars(["step", "time"])
    for odd in (bare, scaled.drop_vars("scale"), scaled.isel(step=0), scaled["state"], {3, 5}):
        with pytest.raises(mosaic.UsageError, match="scales"):
            layered(RunConfig, {"scales": odd})
    for text in ("{", '{"scales": [3]}', '{"scales": [3], "noise_to_signal": ["1"]}'):
        with pytest.raises(mosaic.UsageError, match="scales"):
            resolve_scales(text, rising(3))
