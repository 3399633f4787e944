"""Where a training is kept: the folder of its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic.disk.atomic import is_temporary
from mosaic.disk.lock import LOCK
from mosaic.errors import UsageError
from mosaic.interfaces.options import Options
from mosaic.storage.output import Output
from mosaic.train.checkpoint import DESCRIPTION, LOSS, TRAINING, WEIGHTS, load_checkpoint

__all__ = ["CheckpointOutput"]

FILES = (DESCRIPTION, WEIGHTS, TRAINING, LOSS)


@dataclass(frozen=True)
class CheckpointOutput(Output):
    """Where a checkpoint is kept; its `path` is a folder."""

    def _also(self) -> list[Path]:
        return []

    def check(self, resumable: bool = True) -> None:
        """Refuse a folder that is taken, or is not a checkpoint's; writes nothing.

        Parameters
        ----------
        resumable : bool
            Whether what is to be made is a training, so that one that is there could be continued.

        Raises
        ------
        UsageError
            With what to do about it.
        """
        out = self.path
        if out.exists() and not out.is_dir():
            raise UsageError(f"`out` '{out}' is a file; a checkpoint is a folder.")
        if not out.exists():
            if not out.absolute().parent.is_dir():
                raise UsageError(f"`out` '{out}': there is no folder '{out.parent}'; make it first.")
            return
        ours = {*FILES, *(f".{name}.tmp" for name in FILES), LOCK}  # .tmp: left by a kill of earlier versions
        if any(path.name not in ours and not is_temporary(path) for path in out.iterdir()):
            raise UsageError(f"`out` '{out}' holds other files; choose another folder.")
        if (out / DESCRIPTION).is_file() and not (self.resume or self.overwrite):
            ways = "`resume` to continue it, `overwrite`," if resumable else "`overwrite`"
            raise UsageError(f"'{out}' holds a checkpoint; use {ways} or another `out`.")

    def replaceable(self) -> list[Path]:
        """List the files that may be replaced: with `overwrite` all, else those that are there already."""
        return [path for path in map(self.path.joinpath, FILES) if self.overwrite or path.exists()]

    def kept_settings(self, model: type[Options]) -> dict[str, Any]:
        """Settings of the training that is to be resumed here; empty where there is none.

        Raises
        ------
        DataError
            If its description cannot be read.
        UsageError
            If the network there was not trained here.
        """
        if not (self.resume and (self.path / DESCRIPTION).is_file()):
            return {}
        with self.reading():
            checkpoint = load_checkpoint(self.path)
        if checkpoint.converted is not None:
            raise UsageError(
                f"The network in '{self.path}' was not trained here, so its training cannot be resumed; use another "
                "`out` to train one."
            )
        return checkpoint.config.model_dump(mode="json")
