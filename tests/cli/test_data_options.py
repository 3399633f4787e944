"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result
from command_results import refused

from mosaic_cli.data_options import data_dir, download, memory


@click.command()
@data_dir
@download
@memory
def print_options(**given: object) -> None:
    click.echo(json.dumps(given, default=str))


def test_memory_comes_from_the_flag_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def given(*arguments: str) -> dict[str, object]:
        return dict(json.loads(CliRunner().invoke(print_options, arguments).stdout))

    assert given() == {"data_dir": None, "download": False, "memory": None}
    monkeypatch.setenv("MOSAIC_MEMORY", "3G")
    assert given("--data-dir", "a", "--download") == {"data_dir": "a", "download": True, "memory": "3G"}
    assert given("--memory", "500M")["memory"] == "500M"


@pytest.mark.parametrize("command", [("run", "--dry-run"), ("reproduce", "fig3", "--dry-run")])
def test_memory_of_no_size_is_refused(
    invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MOSAIC_MEMORY", "much")
    refused(invoke(*command), 2, "--memory", "'much'")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run", "--out", ""), "--out"),
        (("run", "--data-dir", ""), "--data-dir"),
        (("run", "--config", ""), "--config"),
        (("leaderboard", "--checkpoint", "net", "--out", ""), "--out"),
        (("plot", ""), "FILE"),
        (("report", ""), "FILE"),
    ],
)
def test_an_empty_path_is_not_the_current_folder(
    invoke: Callable[..., Result], arguments: tuple[str, ...], named: str
) -> None:
    refused(invoke(*arguments), 2, named)
