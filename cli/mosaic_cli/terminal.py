"""What every command shares: verbosity, messages on stderr, and errors as one sentence with an exit code."""

from __future__ import annotations

import functools
import json
import math
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO, TypeVar

import click

from mosaic.errors import ExitCode, MosaicError, MosaicWarning, PluginError, of_system
from mosaic.progress import printable
from mosaic.run.config import RunConfig
from mosaic.run.settings import setting_names

__all__ = ["End", "Terminal", "in_flags", "print_json", "print_table", "say", "standard"]

Command = TypeVar("Command", bound=Callable[..., Any])

# Flags of several commands, beside the settings of a run.
COMMON = ("out", "resume", "overwrite", "memory", "data_dir", "download")


class End(SystemExit):
    """The end of a command that it chose itself; any other SystemExit comes from a plugin."""


class Terminal:
    """Messages of a command: on stderr, so that stdout carries data only.

    The core names settings, `batch_size` or `score.engine=compiled`; here they become flags.
    """

    def __init__(self, quiet: bool, verbose: bool) -> None:
        self.quiet, self.verbose = quiet, verbose

    def note(self, message: str) -> None:
        """Say something a user may want to know."""
        if not self.quiet:
            say(in_flags(message), err=True)

    def fail(self, message: str, code: ExitCode) -> NoReturn:
        """Say what went wrong, and end."""
        say(f"Error: {in_flags(message)}", err=True)
        raise End(int(code))


def say(text: object = "", *, err: bool = False) -> None:
    """Print a line; what names, paths and attributes hold of control characters is shown, and does nothing.

    Characters that the terminal's encoding does not have are shown as `\\u00e9`.
    """
    with _output():
        click.echo(_encodable(printable(str(text)), sys.stderr if err else sys.stdout), err=err)


@contextmanager
def _output() -> Iterator[None]:
    """Say that output cannot be written, on a full disk for example; a reader that has gone is click's business."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MosaicError(f"The output of this command cannot be written: {error.strerror or error}.") from None


def _encodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _say_traceback() -> None:
    for line in traceback.format_exc().splitlines():
        say(line, err=True)


def in_flags(message: str, names: Iterable[str] = ()) -> str:
    """Write settings that a message of the core names as flags: those in `names`, of `mosaic run`, and of this command.

    `score.engine=compiled` becomes an option, -o.
    """
    context = click.get_current_context(silent=True)
    options = [] if context is None else [p for p in context.command.params if isinstance(p, click.Option)]
    flags = {name: f"--{name.replace('_', '-')}" for name in (*setting_names(RunConfig), *COMMON, *names)}
    flags |= {option.name: max(option.opts, key=len) for option in options if option.name}
    message = re.sub(r"`(\w+)`", lambda match: flags.get(match[1], match[0]), message)
    return re.sub(r"`([\w-]+\.[\w-]+=[^`]*)`", r"-o \1", message)


def standard(command: Command) -> Command:
    """Give a command --quiet, --verbose and --json, and turn its errors into sentences.

    The command is called with `terminal` and `as_json` besides its own parameters.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="No notes and no progress bar.")
    @click.option("-v", "--verbose", is_flag=True, help="The resolved settings; a traceback with an error.")
    @functools.wraps(command)
    def wrapped(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
        terminal, interrupted = Terminal(quiet, verbose), False

        def interrupt(number: int, frame: Any) -> None:
            nonlocal interrupted
            interrupted = True
            raise KeyboardInterrupt

        try:
            with _notes(terminal), _answering(interrupt):
                return command(*args, terminal=terminal, **kwargs)
        except MosaicError as error:
            if verbose:
                _say_traceback()
            hint = " `mosaic plugins` tells what became of each plugin." if isinstance(error, PluginError) else ""
            terminal.fail(f"{error}{hint}", error.exit_code)
        except KeyboardInterrupt:
            terminal.fail("interrupted.", ExitCode.INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError, End):
            raise
        except SystemExit as error:
            terminal.fail(f"a plugin tried to end the program (sys.exit({error.code!r})).", ExitCode.PLUGIN)
        except Exception as error:
            if interrupted:  # a library that was being imported turned it into an error of its own
                terminal.fail("interrupted.", ExitCode.INTERRUPTED)
            if verbose:
                _say_traceback()
            if isinstance(error, OSError) and error.filename is not None:  # a name too long, in most cases
                terminal.fail(str(of_system(error)), ExitCode.USAGE)
            hint = "" if verbose else " (-v shows where)"
            terminal.fail(f"{type(error).__name__}: {error}{hint}", ExitCode.FAILURE)

    return wrapped  # type: ignore[return-value]


@contextmanager
def _answering(interrupt: Callable[[int, Any], None]) -> Iterator[None]:
    """Answer Ctrl-C in the block as told, where Python's own answer would be given."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def _notes(terminal: Terminal) -> Iterator[None]:
    """Show warnings of the core as notes of the command, each as often as it is given."""

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, MosaicWarning):
            terminal.note(f"Note: {message}")
        else:
            shown(message, category, *rest)

    shown = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always", MosaicWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; numbers that JSON cannot hold (NaN, infinities) become null."""
    for line in json.dumps(_plain(document), indent=2, allow_nan=False).splitlines():
        say(line)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout; on a terminal its last column wraps."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console.width = 400  # a pipe has no width: keep each row on one line
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [[Text(_encodable(printable(cell), sys.stdout)) for cell in row] for row in (header, *rows)]
    for name in shown[0]:
        table.add_column(name, overflow="fold")
    for cells in shown[1:]:
        table.add_row(*cells)
    with _output():
        console.print(table)
