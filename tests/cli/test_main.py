"""The command group: quick, lazy, and the same promises for every command."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import Result
from command_results import done
from distributions import MOSAIC
from installed_distribution import lay_out

from mosaic_cli.main import COMMANDS, cli, foreign

Invoke = Callable[..., Result]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_are_quick_and_load_no_plugin_and_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom mosaic_cli.main import cli\n"
        f"try: cli({arguments!r})\nexcept SystemExit as e: assert e.code == 0\n"
        "loaded = {'torch', 'numpy', 'xarray', 'pydantic', 'rich', 'pluggy', 'mosaic_plugins'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([*MOSAIC, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.3


def test_the_version_is_the_distributions(invoke: Invoke) -> None:
    assert done(invoke("--version")).stdout == f"mosaic {version('mosaic-diffusion')}\n"


def test_an_unknown_command_is_refused_with_the_nearest(invoke: Invoke) -> None:
    result = invoke("rum")
    assert result.exit_code == 2
    assert "'rum'" in result.stderr
    assert "'run'" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_standard_flags_and_refuses_an_unknown_flag(invoke: Invoke, name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {"--json", "-q", "--quiet", "-v", "--verbose"} <= flags
    result = invoke(name, "--no-such-flag")
    assert result.exit_code == 2
    assert "--no-such-flag" in result.stderr


def test_help_lists_every_command(invoke: Invoke) -> None:
    lines = [line.split() for line in done(invoke("--help")).stdout.splitlines() if line.startswith("  ")]
    assert [cells[0] for cells in lines if cells[0] in COMMANDS] == list(COMMANDS)


MODULE = """\
import click
import mosaic

@click.command()
@click.argument("name")
def greet(name):
    if name == "nobody":
        raise mosaic.DataError("'nobody' cannot be greeted")
    click.echo(f"hello {name}")
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution with a command that works, and a broken command."""
    commands = {"greet": "acme_commands:greet", "broken": "acme_commands:nothing"}
    lay_out(tmp_path, "acme", {"acme_commands.py": MODULE}, {"mosaic.commands": commands})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("mosaic_cli.main.foreign", foreign.__wrapped__)


@pytest.mark.usefixtures("acme")
def test_a_command_of_another_distribution_is_listed_and_runs(invoke: Invoke) -> None:
    assert done(invoke("greet", "world")).stdout == "hello world\n"
    (line,) = [line for line in done(invoke("--help")).stdout.splitlines() if line.split()[:1] == ["greet"]]
    assert "acme" in line


@pytest.mark.usefixtures("acme")
def test_errors_in_and_of_foreign_commands_end_with_their_exit_codes(invoke: Invoke) -> None:
    result = invoke("greet", "nobody")
    assert (result.exit_code, result.stderr) == (4, "Error: 'nobody' cannot be greeted\n")
    result = invoke("broken")
    assert result.exit_code == 3
    assert "'broken'" in result.stderr
    assert "acme" in result.stderr
