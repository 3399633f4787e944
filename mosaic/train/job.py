"""Training as a job: its folder, its identity, and what is resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic.device import standard_torch
from mosaic.disk.atomic import flush, remove_temporaries
from mosaic.disk.failures import WriteError, write_error
from mosaic.disk.lock import OutputInUse, locked
from mosaic.progress import Progress, silent
from mosaic.registry.loading import registry
from mosaic.storage.files import reusing
from mosaic.storage.job import Job, State, how_to_resume
from mosaic.train.checkpoint import DESCRIPTION, TRAINING, WEIGHTS, Checkpoint, load_checkpoint
from mosaic.train.config import NetworkConfig
from mosaic.train.plan import TrainPlan, describe_training
from mosaic.train.session import Summary, TrainingSession

__all__ = ["TrainingJob"]


class TrainingJob(Job):
    """A training that is kept as a checkpoint in a folder.

    Parameters
    ----------
    plan : TrainPlan
        What is trained.
    folder : Path
        Of the checkpoint.
    epochs_free : bool
        Whether a training of more or fewer epochs is the same, so that it can be continued.
    max_seconds : float
        Stop, with a checkpoint, after so long; a training that is resumed counts anew.
    save_seconds : float
        Time between two checkpoints: what a kill can lose at most.

    Attributes
    ----------
    summary : Summary or None
        How far the training was after the latest `execute`.
    """

    def __init__(
        self,
        plan: TrainPlan,
        folder: Path,
        *,
        epochs_free: bool = False,
        max_seconds: float = math.inf,
        save_seconds: float = 30.0,
    ) -> None:
        self.plan, self.place = plan, folder
        self.max_seconds, self.save_seconds = max_seconds, save_seconds
        self.identity = {
            "configuration": plan.config.model_dump(mode="json"),
            "convention": plan.network.convention.model_dump(mode="json"),
            "dataset_fingerprint": plan.dataset.fingerprint(),
        }
        self.free = ("configuration.epochs",) if epochs_free else ()
        self.summary: Summary | None = None

    def kept(self) -> list[tuple[State, Mapping[str, Any]]]:
        """Read what is in the folder: done, or in progress while there are steps left."""
        if not (self.place / DESCRIPTION).is_file():  # a kill left a folder without a description
            return []
        with reusing():
            checkpoint = load_checkpoint(self.place)
            convention = checkpoint.convention.model_dump(mode="json")  # of earlier versions it does not tell
            settings = self._with_defaults(checkpoint.config)
            kept = {**checkpoint.description, "configuration": settings, "convention": convention}
            return [(State.IN_PROGRESS if self.steps_left() else State.DONE, kept)]

    def _with_defaults(self, config: NetworkConfig) -> dict[str, Any]:
        """Give all settings of a stored training: one that is newer than the training had what is now the default."""
        settings, network = config.model_dump(mode="json"), self.plan.config.network
        if config.network == network:
            options = registry().parse("network", network, config.network_options)
            settings["network_options"] = options.model_dump(mode="json")
        return settings

    def steps_left(self) -> int:
        """Read how many training steps are still to do."""
        started = all((self.place / name).is_file() for name in (DESCRIPTION, WEIGHTS, TRAINING))
        done = int(load_checkpoint(self.place).progress()["step"]) if started else 0
        return max(0, self.plan.steps - done)

    @standard_torch(tf32=True)
    def execute(self, *, resume: bool = False, overwrite: bool = False, progress: Progress = silent) -> Checkpoint:
        """Train, and keep a checkpoint in the folder.

        `resume` continues the training there, which must agree; `overwrite` replaces it, once there is a first new
        checkpoint.

        Raises
        ------
        ConfigMismatch
            If another training is there.
        OutputInUse
            If another process is training there.
        UsageError
            If the folder cannot be used.
        MosaicError
            If the loss or the weights turn NaN or infinite; the last good checkpoint stays.
        """
        training, description = self.plan.build(), describe_training(self.plan)
        try:
            self.place.mkdir(exist_ok=True)
            flush(self.place.absolute().parent)
        except OSError as error:
            raise write_error(self.place, error) from None
        with locked(self.place, self.place):
            remove_temporaries(self.place)
            there = (self.place / DESCRIPTION).is_file()
            if there and not (resume or overwrite):  # made between the check and now
                raise OutputInUse(f"another training has just started at '{self.place}'; use another `out`.")
            resumes = resume and there
            if resumes:
                self.is_done()  # refuses another training
                kept = load_checkpoint(self.place).description
                description = {**kept, "configuration": {**kept["configuration"], "epochs": self.plan.config.epochs}}
            session = TrainingSession(training, self.place, description, progress)
            try:
                with reusing():
                    session.start(resumes=resumes)
                self.summary = session.run(self.max_seconds, self.save_seconds)
            except WriteError as error:
                if self.place / TRAINING not in session.replaceable:
                    raise
                if session.replaces:
                    raise WriteError(f"{error} The checkpoint that was in '{self.place}' is kept.") from None
                raise WriteError(
                    f"{error} The last checkpoint is kept in '{self.place}'; {how_to_resume(resume)} uses it."
                ) from None
        return load_checkpoint(self.place)
