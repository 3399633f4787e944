"""Commands of other distributions: which are offered, what is wrong with the others, and how they are loaded."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from installed_distribution import VERSION, lay_out

import mosaic
from mosaic.registry.commands import command_plugins, foreign_commands, load_command
from mosaic.registry.plugin import Plugin

MODULE = """\
import click

@click.command()
def greet():
    click.echo("hello")

number = 3
"""


@pytest.fixture(autouse=True)
def _distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two distributions, of which each has a command `greet`."""
    site = tmp_path / "site"
    site.mkdir()
    wrong = {
        "run": "acme_greeting:greet",
        "number": "acme_greeting:number",
        "lost": "acme_greeting:lost",
        "exits": "acme_exits:greet",
    }
    lay_out(
        site,
        "acme",
        {"acme_greeting.py": MODULE, "acme_exits.py": "raise SystemExit(3)"},
        {"mosaic.commands": {"greet": "acme_greeting:greet", **wrong}},
    )
    lay_out(site, "best", {}, {"mosaic.commands": {"greet": "acme_greeting:greet", "wave": "acme_greeting:greet"}})
    monkeypatch.syspath_prepend(site)


def listed() -> dict[str, Plugin]:
    return {row.key: row for row in command_plugins(["run"]) if row.distribution in ("acme", "best")}


def test_a_name_belongs_to_the_built_in_command_then_to_the_first_distribution() -> None:
    commands = foreign_commands(["run"])
    owners = {name: entry.dist.name for name, entry in commands.items() if entry.dist is not None}
    assert owners == {"greet": "acme", "number": "acme", "lost": "acme", "exits": "acme", "wave": "best"}


def test_a_command_is_loaded_as_it_is() -> None:
    command = load_command(foreign_commands([])["greet"])
    assert isinstance(command, click.Command)
    assert command.name == "greet"


@pytest.mark.parametrize(("name", "value"), [("number", "3"), ("lost", "AttributeError"), ("exits", "SystemExit: 3")])
def test_what_cannot_be_loaded_is_an_error_of_its_distribution(name: str, value: str) -> None:
    with pytest.raises(mosaic.PluginError, match=rf"'{name}'.*\bacme\b.*{value}"):
        load_command(foreign_commands([])[name])


def test_every_entry_point_is_listed_with_what_became_of_it() -> None:
    rows = listed()
    assert {key: row.status for key, row in rows.items()} == {
        "acme:exits": "broken",
        "acme:greet": "active",
        "acme:lost": "broken",
        "acme:number": "broken",
        "acme:run": "broken",
        "best:greet": "broken",
        "best:wave": "active",
    }
    assert rows["best:wave"].provides == ["command:wave"]
    assert rows["best:wave"].version == VERSION
    assert rows["best:greet"].provides == []
    assert "acme" in rows["best:greet"].error
    assert "'run'" in rows["acme:run"].error
    assert "SystemExit: 3" in rows["acme:exits"].error


@pytest.mark.parametrize("name", ["greet", "acme", "acme:greet"])
def test_a_command_is_switched_off_by_key_distribution_or_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_DISABLE_PLUGINS", name)
    row = listed()["acme:greet"]
    assert (row.status, row.provides, row.error) == ("disabled", [], "")
    owner = foreign_commands(["run"]).get("greet")
    assert (owner is None) == (name == "greet")
    assert owner is None or (owner.dist is not None and owner.dist.name == "best")
