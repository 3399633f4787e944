"""Messages of the core name settings; the command line writes them as flags."""

from __future__ import annotations

import click
import pytest

from mosaic_cli.main import cli
from mosaic_cli.terminal import in_flags


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`out` must end in .nc", "--out must end in .nc"),
        ("raise `batch_size`", "raise --batch-size"),
        ("give `score.boundary=zeros`", "give -o score.boundary=zeros"),
        ("`mosaic run` does", "`mosaic run` does"),
        ("`nothing_of_ours`", "`nothing_of_ours`"),
        ("none", "none"),
    ],
)
def test_settings_become_flags(message: str, shown: str) -> None:
    assert in_flags(message) == shown


def test_the_flags_are_those_of_the_command_that_runs() -> None:
    command = cli.get_command(click.Context(cli), "train")
    assert command is not None
    with click.Context(command, info_name="train"):
        assert in_flags("`save_every`") == "--save-every"
