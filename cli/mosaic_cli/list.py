"""`mosaic list`: the names there are."""

from __future__ import annotations

import click

from mosaic.errors import UsageError, did_you_mean
from mosaic_cli.terminal import Terminal, print_json, print_table, standard

__all__ = ["command"]


@click.command("list")
@click.argument("kind", required=False)
@standard
def command(terminal: Terminal, as_json: bool, kind: str | None) -> None:
    """List what can be named: KIND is schedule, score, dataset, metric, network, sampler or scales (default: all)."""
    from mosaic.registry.hooks import KINDS
    from mosaic.registry.loading import registry
    from mosaic.sampling.scales import preset_boundary, preset_names, preset_scales

    kinds = [*KINDS, "scales"]
    wanted = kind if kind is None or kind == "scales" else kind.removesuffix("s")
    if wanted is not None and wanted not in kinds:
        raise UsageError(f"There is no kind '{kind}'.{did_you_mean(wanted, kinds)} Kinds: {', '.join(kinds)}.")
    names = registry()
    rows = [
        {
            "kind": each,
            "name": name,
            "provider": names.owner(each, name),
            "summary": summary_of(names.get(each, name)),
        }
        for each in KINDS
        if wanted in (None, each)
        for name in names.names(each)
    ]
    if wanted in (None, "scales"):
        for name in preset_names():
            scales, boundary = " ".join(map(str, preset_scales(name).scales)), preset_boundary(name)
            summary = scales if boundary is None else f"{scales} (boundary {boundary})"
            rows.append({"kind": "scales", "name": name, "provider": "mosaic", "summary": summary})
    if as_json:
        print_json(rows)
    else:
        print_table(("KIND", "NAME", "PROVIDER", "SUMMARY"), [tuple(row.values()) for row in rows])


def summary_of(cls: type) -> str:
    """First line of a class's docstring."""
    return (cls.__doc__ or "").strip().partition("\n")[0]
