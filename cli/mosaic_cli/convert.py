"""`mosaic convert`: weights from elsewhere become a checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from mosaic.train.config import NetworkConfig
from mosaic_cli.data_options import PATH, data_dir, download
from mosaic_cli.settings import configured, settings
from mosaic_cli.terminal import Terminal, print_json, say, standard

__all__ = ["command"]


@click.command("convert")
@click.argument("file", type=PATH)
@settings(NetworkConfig, without=("network", "dataset", "schedule"))
@click.option("--dataset", metavar="NAME", help="Data set that the network was trained on.  [required]")
@click.option("--network", metavar="NAME", help="Network.  [default: as the weights are recognised]")
@click.option("--schedule", metavar="NAME", help="Noise schedule.  [default: that of the network's family]")
@data_dir
@download
@click.option("--out", type=PATH, help="Folder of the checkpoint.  [default: an unused folder here, named like FILE]")
@click.option("--overwrite", is_flag=True, help="Replace the checkpoint at --out.")
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
    """Make a checkpoint of the weights in FILE, which another program saved; prints its path.

    FILE is safetensors, or what torch.save writes of a state_dict: tensors alone. Nothing in it is ever run, so a whole
    module is refused. Known are the released networks of Kamb & Ganguli, EDM's DDPM++ and the UNet of pytorch-ddpm.
    What weights do not tell, such as -o network.padding=circular, is an option, and is noted where it is assumed.
    """
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
