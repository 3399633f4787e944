"""`mosaic doctor`: is this installation sound?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from mosaic.errors import ExitCode
from mosaic_cli.data_options import data_dir
from mosaic_cli.terminal import End, Terminal, in_flags, print_json, say, standard

__all__ = ["command"]

SLOW = 1.0  # seconds of a plugin's import that are worth mentioning


@click.command("doctor")
@data_dir
@standard
def command(terminal: Terminal, as_json: bool, data_dir: Path | None) -> None:
    """Check the installation: versions, device, data sets found, plugins, and ELS against brute force (2 s)."""
    from mosaic.bench.doctor import examine
    from mosaic.registry.commands import command_plugins
    from mosaic.registry.data import data_access
    from mosaic_cli.main import COMMANDS

    report = examine(data_access(data_dir, download=False))
    states = report["datasets"].items()
    report["datasets"] = {name: in_flags(state) for name, state in states}
    report["plugins"] += [asdict(plugin) for plugin in command_plugins(COMMANDS)]
    if as_json:
        print_json(report)
    else:
        say("versions: " + ", ".join(f"{name} {number}" for name, number in report["versions"].items()))
        say("device: " + ", ".join(f"{key} {value}" for key, value in report["device"].items()))
        say(f"data folder: {report['data_dir'] or 'the default of each data set (MOSAIC_DATA is not set)'}")
        for name, state in report["datasets"].items():
            say(f"data set {name}: {state}")
        say(f"compiled engine: {report['compiled_engine']}")
        for plugin in report["plugins"]:
            slow = f", but its import takes {plugin['seconds']:.1f} s" if plugin["seconds"] > SLOW else ""
            wrong = f": {plugin['error']} ({plugin['remedy']})" if plugin["error"] else ""
            say(f"plugin {plugin['key']}: {plugin['status']}{slow}{wrong}")
        check = report["self_check"]
        say(
            f"self-check: {'passed' if check['ok'] else 'FAILED'}, {check['cases']} cases of ELS against brute force, "
            f"largest error {check['largest_error']:.1e} (tolerance {check['tolerance']:.0e}) in float64, "
            f"{check['largest_error_float32']:.1e} (tolerance {check['tolerance_float32']:.0e}) in float32"
        )
    raise End(int(ExitCode.OK if report["healthy"] else ExitCode.FAILURE))
