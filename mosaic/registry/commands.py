"""Commands that other distributions add to the command line, through the entry-point group `mosaic.commands`."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mosaic.errors import PluginError
from mosaic.registry.plugin import Plugin, disabled_names, distribution_of

__all__ = ["command_plugins", "foreign_commands", "load_command"]

COMMANDS = "mosaic.commands"


def _entries() -> list[EntryPoint]:
    return sorted(entry_points(group=COMMANDS), key=lambda entry: (distribution_of(entry)[0], entry.name))


def _is_disabled(entry: EntryPoint) -> bool:
    distribution, _ = distribution_of(entry)
    return bool(disabled_names() & {f"{distribution}:{entry.name}", distribution, entry.name})


def foreign_commands(built_in: Collection[str]) -> dict[str, EntryPoint]:
    """Commands of other distributions, by name, from the group `mosaic.commands`; none of them is loaded.

    A name that is built in, or that an earlier distribution in the alphabet has, is not given.
    """
    commands: dict[str, EntryPoint] = {}
    for entry in _entries():
        if entry.name not in built_in and not _is_disabled(entry):
            commands.setdefault(entry.name, entry)
    return commands


def command_plugins(built_in: Collection[str]) -> list[Plugin]:
    """List every entry point of the group `mosaic.commands` with its status; loads the commands to find out."""
    rows, chosen = [], foreign_commands(built_in)
    for entry in _entries():
        distribution, number = distribution_of(entry)
        plugin = Plugin(f"{distribution}:{entry.name}", distribution, number, provides=[f"command:{entry.name}"])
        rows.append(plugin)
        if _is_disabled(entry):
            plugin.status = "disabled"
        elif entry.name in built_in:
            plugin.broken(f"the command '{entry.name}' is built in", "its authors must give it another name")
        elif distribution_of(chosen[entry.name])[0] != distribution:
            owner = distribution_of(chosen[entry.name])[0]
            plugin.broken(f"the command '{entry.name}' is already provided by {owner}", "leave out one of the two")
        else:
            try:
                load_command(entry)
            except PluginError as error:
                plugin.broken(str(error))
        if plugin.status == "disabled":
            plugin.provides = []
    return rows


def load_command(entry: EntryPoint) -> Any:
    """Import a command of another distribution.

    Raises
    ------
    PluginError
        If that fails, or it is not a click command.
    """
    owner = distribution_of(entry)[0]
    try:
        command = entry.load()
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise PluginError(f"The command '{entry.name}' of {owner} fails: {reason}.") from None
    if not (callable(getattr(command, "main", None)) and hasattr(command, "params")):
        raise PluginError(f"The command '{entry.name}' of {owner} is {command!r}, not a click command.")
    return command
