"""`mosaic show`: one plugin class and its options."""

from __future__ import annotations

import inspect

import click

from mosaic.errors import UsageError, did_you_mean
from mosaic_cli.terminal import Terminal, print_json, print_table, say, standard

__all__ = ["command"]


@click.command("show")
@click.argument("kind", metavar="[KIND]")
@click.argument("name", required=False, metavar="NAME")
@standard
def command(terminal: Terminal, as_json: bool, kind: str, name: str | None) -> None:
    """Describe NAME of a KIND (schedule, score, dataset, metric, network, sampler): what it is, and its options.

    KIND may be left out where a single kind has the name. With --json: the JSON schema of its options. KIND scales
    prints a preset: each scale with its noise-to-signal ratio, with --json as a file that --scales reads.
    """
    from mosaic.interfaces.options import describe_options
    from mosaic.registry.loading import registry

    if name is None:
        kind, name = _kind_of(kind), kind
    if kind in ("scale", "scales"):
        _show_scales(terminal, name, as_json)
        return
    kind = kind.removesuffix("s")
    cls = registry().get(kind, name)
    if as_json:
        print_json(cls.Options.model_json_schema())
        return
    rows = describe_options(cls.Options)
    description = inspect.getdoc(cls) or "(no description)"
    say(f"{kind} {name}, from {registry().owner(kind, name)}")
    for line in ("", *description.splitlines(), "", "Options:" if rows else "No options."):
        say(line)
    if rows:
        header = ("OPTION", "TYPE", "DEFAULT", "BOUNDS", "DESCRIPTION")
        owner = name if kind == "metric" else kind  # several metrics have options in one command
        print_table(
            header,
            [
                (f"{owner}.{row['name']}", row["type"], row["default"], row["bounds"], row["description"])
                for row in rows
            ],
        )


def _kind_of(name: str) -> str:
    """Find the kind that has a name; refuses a name that none or several have."""
    from mosaic.registry.hooks import KINDS
    from mosaic.registry.loading import registry
    from mosaic.sampling.scales import preset_names

    named = {kind: registry().names(kind) for kind in KINDS} | {"scales": preset_names()}
    having = [kind for kind, names in named.items() if name in names]
    if len(having) == 1:
        return having[0]
    if having:
        raise UsageError(
            f"'{name}' is the name of a {' and a '.join(having)}; say which: `mosaic show {having[0]} {name}`."
        )
    if name.removesuffix("s") in KINDS:
        names = named[name.removesuffix("s")]
        raise UsageError(f"'{name}' is a kind; add the name of one. There are: {', '.join(names)}.")
    known = sorted({each for names in named.values() for each in names})
    raise UsageError(f"There is nothing called '{name}'.{did_you_mean(name, known)} `mosaic list` lists what there is.")


def _show_scales(terminal: Terminal, name: str, as_json: bool) -> None:
    from mosaic.sampling.scales import preset_boundary, preset_names, preset_origin, preset_scales

    names, preset = preset_names(), name if "/" in name else f"paper/{name}"
    if preset not in names:
        raise UsageError(f"There is no preset '{name}'.{did_you_mean(name, names)} Presets: {', '.join(names)}.")
    table = preset_scales(preset)
    if as_json:
        print_json({"scales": table.scales, "noise_to_signal": table.ratios})
    else:
        rows = [(f"{ratio:.4g}", str(scale)) for scale, ratio in zip(table.scales, table.ratios, strict=True)]
        print_table(("NOISE / SIGNAL", "SCALE"), rows)
        terminal.note(preset_origin(preset))
        if (boundary := preset_boundary(preset)) is not None:
            terminal.note(f"Made for boundary {boundary}.")
