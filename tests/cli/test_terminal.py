"""What every command shares: flags, verbosity, errors as a sentence with an exit code, documents and tables."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from command_results import refused

import mosaic
import mosaic_cli
from mosaic.errors import warn_of
from mosaic.run import job
from mosaic_cli.main import cli
from mosaic_cli.terminal import Terminal, in_flags, print_json, print_table, say, standard

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
    def broken(*_: Any, **__: Any) -> None:
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


HOSTILE = "a\x1b[31mb\x07\u202ec\udcff\r\nError: forged\u2028\x85\x0b\tz"


def test_what_a_terminal_would_obey_is_shown_instead(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    say(HOSTILE, err=True)
    print_table((HOSTILE,), [(HOSTILE,)])
    print_json({HOSTILE: HOSTILE})
    output = capsys.readouterr()
    assert [len(text.splitlines()) for text in (output.out, output.err)] == [1 + 2 + 3, 1]
    for text in (output.out, output.err):
        assert {character for character in text if not character.isprintable()} <= {"\n"}
        assert r"\x1b[31m" in text


@pytest.mark.parametrize("write", [lambda: say("line"), lambda: print_table(("NAME",), [("line",)])])
def test_output_that_cannot_be_written_is_an_error(write: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sys.stdout", Full())
    with pytest.raises(mosaic.MosaicError, match=os.strerror(errno.ENOSPC)):
        write()


def test_a_traceback_shows_what_a_terminal_would_obey() -> None:
    result = CliRunner().invoke(ending_in(ZeroDivisionError(HOSTILE)), ["-v"])
    assert {character for character in result.stderr if not character.isprintable()} <= {"\n"}
    assert "Traceback" in result.stderr


def test_a_narrow_encoding_loses_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    say("caf\u00e9")
    print_table(("NAME",), [("caf\u00e9",)])
    stream.flush()
    lines = stream.buffer.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.strip() for line in lines] == [b"caf\\xe9", b"NAME", b"caf\\xe9"]


@pytest.mark.parametrize("arguments", [("show", HOSTILE), ("list", HOSTILE), ("run", f"--{HOSTILE}"), (HOSTILE,)])
def test_errors_show_nothing_raw_of_what_was_given(arguments: tuple[str, ...]) -> None:
    output = CliRunner().invoke(cli, arguments).output
    assert "\x1b" not in output
    assert r"\x1b" in output


def test_the_command_line_prints_by_one_function() -> None:
    for file in Path(mosaic_cli.__file__).parent.glob("*.py"):
        calls = re.findall(r"click\.echo\(|(?<![\w.])print\(|print_exc|std(?:out|err)\.write", file.read_text())
        assert len(calls) == {"terminal.py": 1, "main.py": 1}.get(file.name, 0), file


def test_a_warning_of_the_core_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    @standard
    def command(terminal: Terminal, as_json: bool) -> None:
        warn_of(["first", "first"])

    assert CliRunner().invoke(command, []).stderr == "Note: first\nNote: first\n"


def test_a_plugin_that_ends_the_program_is_a_broken_plugin() -> None:
    result = CliRunner().invoke(ending_in(SystemExit(0)), [])
    assert result.exit_code == mosaic.ExitCode.PLUGIN
    assert "sys.exit(0)" in result.stderr


def test_an_interrupt_that_a_library_turned_into_another_error_is_an_interrupt() -> None:
    @click.command()
    @standard
    def command(terminal: Terminal, as_json: bool) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("cannot load module more than once per process") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = CliRunner().invoke(command, [])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == mosaic.ExitCode.INTERRUPTED
    assert "ImportError" not in result.stderr
