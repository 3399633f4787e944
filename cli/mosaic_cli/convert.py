"""`mosaic convert`: weights from elsewhere become a checkpoint, and a stored run a run in the other container."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from mosaic.progress import progress_bar
from mosaic.train.config import NetworkConfig
from mosaic_cli.data_options import PATH, data_dir, download
from mosaic_cli.settings import configured, settings
from mosaic_cli.terminal import Terminal, print_json, say, standard

__all__ = ["command"]

ENDINGS = (".nc", ".zarr")  # those of mosaic.containers.access, which imports torch


@click.command("convert")
@click.argument("file", type=PATH)
@settings(NetworkConfig, without=("network", "dataset", "schedule"))
@click.option("--dataset", metavar="NAME", help="Data set that the network was trained on.  [required for weights]")
@click.option("--network", metavar="NAME", help="Network.  [default: as the weights are recognised]")
@click.option("--schedule", metavar="NAME", help="Noise schedule.  [default: that of the network's family]")
@data_dir
@download
@click.option(
    "--out",
    type=PATH,
    help="Folder of the checkpoint, or the run's copy.  [default: an unused folder here, or a path, named like FILE]",
)
@click.option("--overwrite", is_flag=True, help="Replace the checkpoint or run at --out.")
@standard
def command(
    terminal: Terminal,
    as_json: bool,
    file: Path,
    options: tuple[str, ...],
    config: Path | None,
    data_dir: Path | None,
    download: bool,
    out: Path | None,
    overwrite: bool,
    **flags: str | None,
) -> None:
    """Make a checkpoint of the weights in FILE, which another program saved, or copy the run in FILE; prints the path.

    A run in a netCDF file (.nc) is copied to a Zarr store (.zarr), and one in a store to a file: the same values and
    attributes.

    A FILE of weights is safetensors, or what torch.save writes of a state_dict: tensors alone. Nothing in it is ever
    run, so a whole module is refused. Known are the released networks of Kamb & Ganguli, EDM's DDPM++ and the UNet of
    pytorch-ddpm. What weights do not tell, such as -o network.padding=circular, is an option, and is noted where it is
    assumed.
    """
    if file.suffix in ENDINGS:
        given = {**flags, "config": config, "data_dir": data_dir, "download": download or None}
        _copy(file.expanduser(), out, overwrite, {**given, "option": options or None}, terminal, as_json)
        return
    checked = configured(NetworkConfig, flags, options, config)  # before anything heavy is imported

    from mosaic.registry.data import data_access
    from mosaic.storage.files import unused_folder
    from mosaic.train.convert import convert_file
    from mosaic.train.output import CheckpointOutput

    folder = unused_folder(file.stem) if out is None else out.expanduser()
    output = CheckpointOutput(folder, overwrite=overwrite)
    checkpoint, notes = convert_file(file.expanduser(), checked, data_access(data_dir, download), output)
    for note in notes:
        terminal.note(f"Note: {note}")
    if as_json:
        print_json({"path": str(folder), **checkpoint.description})
    else:
        say(str(folder))


def _copy(
    file: Path, out: Path | None, overwrite: bool, settings: Mapping[str, object], terminal: Terminal, as_json: bool
) -> None:
    """Copy a run; refuses settings of a network."""
    from mosaic.run.settings import refuse_unused
    from mosaic.storage.convert import copy_run

    refuse_unused({name: value for name, value in settings.items() if value is not None}, f"'{file}' is a stored run")
    target = file.with_suffix(ENDINGS[file.suffix == ENDINGS[0]]) if out is None else out.expanduser()
    with progress_bar(not terminal.quiet) as bar:
        copy_run(file, target, overwrite, bar)
    if as_json:
        print_json({"path": str(target)})
    else:
        say(str(target))
