"""Which windows predict best: what is kept, resumed and refused, and ratios, tables and curves of made-up errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from drawings import check_readable
from small_reproduction import SMALL

import mosaic
from mosaic.evaluate.statistics import ratio_of_means
from mosaic.reproduction.reproduce import forecast_reproduction
from mosaic.reproduction.study.config import ReproduceConfig
from mosaic.reproduction.study.study import Study
from mosaic.reproduction.windows.search import TIMES
from mosaic.reproduction.windows.variants import BASELINE, VARIANTS
from mosaic.reproduction.windows.windows import Windows, at_an_end, chosen, with_ratios

ROW = "fashion-resnet-zeros"


@pytest.fixture
def few() -> Iterator[None]:
    """Three variants in place of all."""
    every = dict(VARIANTS)
    for name in every.keys() - {BASELINE, "soft, border 0", "hard mixture"}:
        del VARIANTS[name]
    yield
    VARIANTS.clear()  # their order is that of tables
    VARIANTS.update(every)


@pytest.mark.usefixtures("few")
def test_a_row_is_searched_kept_and_resumed(folder: Path) -> None:
    first = mosaic.reproduce("windows", [ROW], out=folder, **SMALL)
    assert first["error"].dims == ("row", "variant", "time", "sample")
    assert first.sizes["sample"] == 3
    for key, variable in first.variables.items():
        assert variable.attrs["long_name"], key
    records = json.loads(first.attrs["records"])
    assert records[f"{ROW}: windows soft, border 0"]["configuration"]["score_options"]["border"] == 0
    assert records[f"{ROW}: windows-network-calibration"]["configuration"]["seed"] == 1

    kept = {path.name: path for path in (folder / "cpu" / ROW).glob("windows-*.nc")}
    assert set(kept) == {
        f"windows-{name}.nc" for name in ("network", "network-calibration", "hard", "soft-border-0", "hard-mixture")
    }
    with xr.open_dataset(kept["windows-hard.nc"]) as stored:
        np.testing.assert_array_equal(stored["error"], first["error"].sel(row=ROW, variant=BASELINE))
    kept["windows-soft-border-0.nc"].unlink()
    target = Windows(Study(ReproduceConfig(**SMALL, rows=ROW), folder / "cpu"))
    steps = {step.name: step.done for step in forecast_reproduction(target)}
    assert [name for name, done in steps.items() if not done] == [f"{ROW}: windows soft, border 0"]
    times = {name: path.stat().st_mtime_ns for name, path in kept.items() if path.exists()}
    again = mosaic.reproduce("windows", [ROW], out=folder, **SMALL)
    xr.testing.assert_equal(again, first)
    assert {name: kept[name].stat().st_mtime_ns for name in times} == times
    with pytest.raises(mosaic.UsageError, match="samples: 3, now 4"):
        mosaic.reproduce("windows", [ROW], out=folder, **{**SMALL, "samples": 4})
    VARIANTS["hard mixture"] = VARIANTS[BASELINE]
    with pytest.raises(mosaic.UsageError, match=r"mixture: 1\.5, now 1"):
        mosaic.reproduce("windows", [ROW], out=folder, **SMALL)


@pytest.fixture
def errors() -> xr.Dataset:
    """Errors of all variants at all times, of two rows of which the second lacks those of borders."""
    rng, names = np.random.default_rng(0), list(VARIANTS)
    error = rng.uniform(0.5, 1.5, (2, len(names), len(TIMES), 8))
    scale = np.full(error.shape[:3], 5.0)
    lacking = [number for number, name in enumerate(names) if VARIANTS[name].zeros_only]
    error[1, lacking] = scale[1, lacking] = np.nan
    tried = np.broadcast_to([3.0, 5.0, 7.0, np.nan], (*scale.shape, 4)).copy()
    dims = ("row", "variant", "time")
    inner = error * rng.uniform(0.9, 1.1, error.shape)
    calibration = np.where(np.isnan(tried), np.nan, rng.uniform(0.5, 1.5, tried.shape))
    calibration[1, lacking] = np.nan
    return xr.Dataset(
        {
            "error": ((*dims, "sample"), error),
            "inner_error": ((*dims, "sample"), inner),
            "scale": (dims, scale),
            "tried": ((*dims, "trial"), tried),
            "calibration_error": ((*dims, "trial"), calibration),
        },
        {"row": [ROW, "mnist-resnet-circular"], "variant": names, "time": list(TIMES)},
    )


def test_ratios_are_of_means_and_their_overall_is_geometric(errors: xr.Dataset) -> None:
    made = with_ratios(errors)
    means = errors["error"].mean("sample")
    expected = (means / means.sel(variant=BASELINE)).drop_vars("variant")
    np.testing.assert_allclose(made["ratio"], expected)
    np.testing.assert_allclose(made["ratio_overall"], np.exp(np.log(expected).mean("time")))
    inner = errors["inner_error"].mean("sample")
    expected = np.exp(np.log((inner / inner.sel(variant=BASELINE)).drop_vars("variant")).mean("time", skipna=False))
    np.testing.assert_allclose(made["inner_ratio_overall"], expected)
    assert made["ratio"].sel(row="mnist-resnet-circular", variant="soft, border 0").isnull().all()
    assert (made["ratio"].sel(variant=BASELINE) == 1).all()
    one = errors["error"].sel(row=ROW, time=TIMES[2])
    interval = ratio_of_means(one.sel(variant="mixture").values, one.sel(variant=BASELINE).values)
    ends = [made[f"ratio{end}"].sel(row=ROW, variant="mixture", time=TIMES[2]).item() for end in ("", "_low", "_high")]
    assert ends == list(interval)


def test_scales_at_an_end_are_named_but_a_single_pixel(errors: xr.Dataset) -> None:
    assert at_an_end(errors.sel(row=ROW)) == {}
    scale, tried = errors["scale"].sel(row=ROW), errors["tried"].sel(row=ROW)
    scale.loc["soft", TIMES[0]] = 7.0
    scale.loc["soft", TIMES[3]] = 3.0
    scale.loc[BASELINE, TIMES[5]] = tried.loc[BASELINE, TIMES[5], 0] = 1.0
    assert at_an_end(errors.sel(row=ROW)) == {"soft": {TIMES[0]: 7.0, TIMES[3]: 3.0}}


def test_the_variant_chosen_has_the_least_error_on_the_calibration_noise_alone(errors: xr.Dataset) -> None:
    errors["calibration_error"].loc[ROW, "tall"] = [1.0, 0.1, 1.0, np.nan]
    errors["calibration_error"].loc[ROW, "wide"] = [0.2, 0.2, 0.2, np.nan]
    errors["error"].loc[ROW, "tall"] = 9.0
    assert chosen(errors).sel(row=ROW).item() == "tall"
    products = {
        name: np.prod([np.nanmin(trials) for trials in errors["calibration_error"].sel(row=row, variant=name).values])
        for row in ["mnist-resnet-circular"]
        for name in VARIANTS
        if not VARIANTS[name].zeros_only
    }
    assert chosen(errors).sel(row="mnist-resnet-circular").item() == min(products, key=lambda name: products[name])


@pytest.fixture
def target() -> Windows:
    return Windows(Study(ReproduceConfig(rows=f"{ROW},mnist-resnet-circular"), Path("root")))


def test_its_summary_has_a_line_for_each_variant_of_a_row(target: Windows, errors: xr.Dataset) -> None:
    errors["scale"].loc[ROW, "soft", TIMES[0]] = 7.0
    made = with_ratios(errors).assign(chosen=chosen(errors))
    lines = target.summary(made)
    own = lines[: lines.index(next(line for line in lines if line.startswith("mnist-resnet-circular")))]
    assert len(own) == 2 + len(VARIANTS) + 2
    best = made.sel(row=ROW, variant=made["chosen"].sel(row=ROW).item())
    assert f"calibration noise: {best['variant'].item()}, {best['ratio_overall'].item():.3f} [" in own[-2]
    assert own[-1].startswith(f"{ROW}, soft: ")
    assert "7 at t = 0.90" in own[-1]
    soft = made.sel(row=ROW, variant="soft")
    (line,) = [line for line in own if line.split()[:2] == ["soft", f"{soft['ratio'].values[0]:.3f}"]]
    assert [float(cell) for cell in line.split()[1:7]] == pytest.approx(soft["ratio"].values, abs=6e-4)
    for name in ("ratio", "inner_ratio"):
        middle, low, high = (soft[f"{name}_overall{end}"].item() for end in ("", "_low", "_high"))
        assert f"{middle:.3f} [{low:.3f}, {high:.3f}]" in line
    assert not any(line.startswith("soft, border") for line in lines[len(own) :])


def test_its_curves_are_the_ratios(target: Windows, errors: xr.Dataset) -> None:
    made = with_ratios(errors)
    figure = target.draw(made)
    assert [axis.get_title() for axis in figure.axes] == ["Fashion ResNet zeros", "MNIST ResNet circular"]
    for axis, row in zip(figure.axes, made["row"].values, strict=True):
        lines = {line.get_label(): line for line in axis.get_lines()}
        assert list(lines) == list(VARIANTS)
        for variant in list(VARIANTS)[1:]:
            np.testing.assert_array_equal(lines[variant].get_ydata(), made["ratio"].sel(row=row, variant=variant))
        looks = {(line.get_color(), line.get_linestyle()) for line in lines.values()}
        assert len(looks) == len(lines)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(VARIANTS)
    check_readable(figure)


def test_no_variant_is_searched_before_the_hard_windows(target: Windows) -> None:
    own = Windows(Study(ReproduceConfig(**SMALL, rows=ROW), Path("root")))
    before = {step.name: step.rests_on.name for step in own.steps() if step.rests_on is not None}
    assert before[f"{ROW}: windows hard"] == f"{ROW}: windows-network"
    assert before[f"{ROW}: windows-network"] == f"{ROW}: windows-network-calibration"
    assert before[f"{ROW}: windows soft"] == before[f"{ROW}: windows hard mixture"] == f"{ROW}: windows hard"
