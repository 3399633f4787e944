"""Protocols: what they set, what goes before them, and what is said of networks of another schedule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import Result

import mosaic
from mosaic.evaluate.leaderboard.config import LeaderboardConfig
from mosaic.evaluate.leaderboard.protocol import PROTOCOLS


def test_a_protocol_sets_what_is_not_given() -> None:
    config = LeaderboardConfig(checkpoint="a", protocol="lukoianov2025", samples=4, sampler_options={"eta": 1})
    assert (config.samples, config.steps, config.network_steps) == (4, 10, 10)
    assert config.metrics == "R2_clamped,mse"
    assert config.sampler_options == {"grid": "leading", "clip": 1.0, "eta": 1}
    assert LeaderboardConfig(**config.model_dump(exclude_unset=True)) == config
    assert LeaderboardConfig(checkpoint="a").steps == 20


def test_a_protocol_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mosaic.UsageError, match="lukoianov2025"):
        mosaic.leaderboard("a", out=tmp_path, protocol="lukoianov")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schedule", "options", "remark"),
    [
        ("ddpm-linear", {"discrete": True}, None),
        ("ddpm-linear", {}, "-o schedule.discrete=true`; this one has schedule ddpm-linear, discrete False"),
        ("cosine", {}, "this one has schedule cosine"),
    ],
)
def test_a_network_of_another_schedule_is_named(schedule: str, options: dict[str, bool], remark: str | None) -> None:
    run = mosaic.RunConfig(schedule=schedule, schedule_options=options)
    remarks = PROTOCOLS["lukoianov2025"].remarks("lukoianov2025", run)
    assert len(remarks) == (remark is not None)
    if remark is not None:
        assert remark in remarks[0]


@pytest.mark.system  # in processes of their own
def test_the_means_of_published_tables_are_printed(
    invoke: Callable[..., Result], network: Path, tmp_path: Path
) -> None:
    given = ("--scores", "gaussian", "--samples", 3, "--protocol", "lukoianov2025")
    result = invoke("leaderboard", "--checkpoint", network, "--out", tmp_path, *given)
    assert result.exit_code == 0, result.output
    assert "this one has schedule cosine" in result.stderr
    with xr.open_dataset(tmp_path / "leaderboard.nc") as table:
        values = table["final_R2_clamped"].sel(score="gaussian").values
        assert table.sizes["step"] == 10
    assert f"Means of FINAL R2_clamped over samples: gaussian {np.mean(values):.3f}." in result.stderr
