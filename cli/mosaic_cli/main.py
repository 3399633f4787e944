"""The `mosaic` command group. Commands are imported when called, so that `--help` loads nothing heavy."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any

import click

__all__ = ["cli"]

# name: (module with a click command of the same name, one-line help)
COMMANDS = {
    "run": ("mosaic_cli.run", "Run the reverse flow of a score model and store the trajectory."),
    "train": ("mosaic_cli.train", "Train a network, to run and compare like any score model."),
    "convert": ("mosaic_cli.convert", "Make a checkpoint of a network's weights from elsewhere."),
    "calibrate": ("mosaic_cli.calibrate", "Choose the scales at which a machine agrees best with a trained network."),
    "compare": ("mosaic_cli.compare", "Compare a run with a network's from the same noise, image by image."),
    "leaderboard": ("mosaic_cli.leaderboard", "Rank theories by how well they predict a trained network."),
    "probe": ("mosaic_cli.probe", "Measure locality, eigenbasis, curl and equivariance of scores by their Jacobians."),
    "generalization": ("mosaic_cli.generalization", "Measure denoising losses of training and of held-out images."),
    "reproduce": ("mosaic_cli.reproduce", "Reproduce the paper's tables and figures."),
    "plot": ("mosaic_cli.plot", "Draw a stored run: its flow, images, provenance, entropy, scales or sources."),
    "report": ("mosaic_cli.report", "Make a page about stored runs, in which every pixel can be traced."),
    "inspect": ("mosaic_cli.inspect", "Tell what a stored run holds and where it came from."),
    "cite": ("mosaic_cli.cite", "Print BibTeX of the theories, data and software that a result used."),
    "list": (
        "mosaic_cli.list",
        "List schedules, score models, data sets, metrics, networks, samplers and scale presets.",
    ),
    "show": ("mosaic_cli.show", "Describe one of them, with its options."),
    "new-plugin": ("mosaic_cli.new_plugin", "Write a plugin of your own to start from, with its tests."),
    "plugins": ("mosaic_cli.plugins", "List the plugins and what became of each."),
    "bench": ("mosaic_cli.bench", "Measure how fast the engines are on this machine."),
    "doctor": ("mosaic_cli.doctor", "Check the installation: versions, device, data sets, plugins, numbers."),
}


@cache
def foreign() -> dict[str, EntryPoint]:
    """Commands of other distributions; none of them is imported."""
    from mosaic.registry.commands import foreign_commands

    return foreign_commands(COMMANDS)


def _loaded(entry: EntryPoint) -> click.Command:
    """Import a command of another distribution; if that fails, say so and exit with 3."""
    from mosaic.errors import ExitCode, PluginError
    from mosaic.registry.commands import load_command

    try:
        command: click.Command = load_command(entry)
    except PluginError as error:
        from mosaic_cli.terminal import say

        say(f"Error: {error} `mosaic plugins` lists what is broken.", err=True)
        raise SystemExit(int(ExitCode.PLUGIN)) from None
    return command


class LazyGroup(click.Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of a day's work, then those of other distributions."""
        return [*COMMANDS, *foreign()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module when it is asked for; None where there is no such command."""
        if cmd_name in COMMANDS:
            command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
            return command
        return _loaded(foreign()[cmd_name]) if cmd_name in foreign() else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse an unknown command with the nearest known one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and args[0] not in foreign():
            from mosaic.errors import did_you_mean

            ctx.fail(f"There is no command '{args[0]}'.{did_you_mean(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; errors that it lets through are sentences, and hold nothing that a terminal would obey."""
        from mosaic.errors import MosaicError

        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            from mosaic.progress import printable

            vars(error)["message"] = printable(error.message)  # click declares it final
            raise
        except MosaicError as error:
            from mosaic_cli.terminal import in_flags, say

            say(f"Error: {in_flags(str(error))}", err=True)
            raise SystemExit(int(error.exit_code)) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the one-line helps."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])
        if foreign():
            with formatter.section("Commands of other distributions"):
                rows = [(name, f"from {entry.dist.name}.") for name, entry in foreign().items() if entry.dist]
                formatter.write_dl(rows)


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"mosaic {version('mosaic-diffusion')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def cli(**_: Any) -> None:
    """Analytic score machines for diffusion models: run, store and look at patch mosaics.

    Exit codes: 0 done, 1 failure, 2 usage, 3 plugin broken or missing, 4 data unavailable, 130 interrupted.
    """
