"""What every command shares: flags, verbosity, errors as a sentence with an exit code, documents and tables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from command_results import refused

import mosaic
from mosaic.run import job
from mosaic_cli.main import cli
from mosaic_cli.terminal import Terminal, in_flags, print_json, print_table, standard

Invoke = Callable[..., Result]


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


def ending_in(error: BaseException | None) -> click.Command:
    """A command that notes a setting, and ends in an error or well."""

    @click.command()
    @standard
    def command(terminal: Terminal, as_json: bool) -> None:
        terminal.note("see `steps`")
        if error is not None:
            raise error
        click.echo(json.dumps([as_json, terminal.verbose]))

    return command


@pytest.mark.parametrize(
    ("error", "code", "values"),
    [
        (mosaic.UsageError("`samples` is 0"), 2, ["--samples", "0"]),
        (mosaic.PluginError("no 'x'"), 3, ["'x'"]),
        (mosaic.DataError("no 'y'"), 4, ["'y'"]),
        (mosaic.MosaicError("not 'z'"), 1, ["'z'"]),
        (ZeroDivisionError("by 'w'"), 1, ["ZeroDivisionError", "'w'"]),
        (KeyboardInterrupt(), 130, []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_error_is_a_sentence_with_its_exit_code_and_a_traceback_on_request(
    error: BaseException, code: int, values: list[str]
) -> None:
    refused(CliRunner().invoke(ending_in(error), []), code, *values)
    verbose = CliRunner().invoke(ending_in(error), ["-v"])
    assert verbose.exit_code == code
    assert ("Traceback" in verbose.stderr) == isinstance(error, Exception)


def test_notes_go_to_stderr_unless_quiet() -> None:
    result = CliRunner().invoke(ending_in(None), ["--json"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "[true, false]\n", "see --steps\n")
    result = CliRunner().invoke(ending_in(None), ["-q", "-v"])
    assert (result.stdout, result.stderr) == ("[false, true]\n", "")


def test_a_failure_inside_names_itself_and_shows_where_on_request(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("the cat ate it")

    monkeypatch.setattr(job, "run_batch", broken)
    refused(invoke("run", "-q"), 1, "RuntimeError: the cat ate it")
    assert "Traceback" in invoke("run", "-q", "-v", "--overwrite", "--out", "b.nc").stderr


def test_numbers_that_json_cannot_hold_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [1.5, math.inf, (-math.inf, "NaN", True)]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None, [None, "NaN", True]]}


def test_a_table_keeps_each_row_on_a_line_and_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "VALUE"), [("els", "[red]0.5[/red] [0.1, 0.9]"), ("x" * 150, "y" * 150)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "VALUE"],
        ["els", "[red]0.5[/red]", "[0.1,", "0.9]"],
        ["x" * 150, "y" * 150],
    ]
    assert len({line.index(cell) for line, cell in zip(lines, ("VALUE", "[red]", "y"), strict=True)}) == 1
