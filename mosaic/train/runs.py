"""The run of a network, and runs that can be compared with it: on its data, with its schedule, boundary and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from mosaic.errors import UsageError
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.score import ScoreModel
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.run.score import Score, name_of
from mosaic.train.checkpoint import DESCRIPTION, Checkpoint, load_checkpoint
from mosaic.train.config import NetworkConfig
from mosaic.train.score import score

__all__ = ["NetworkRuns", "network_runs", "runs_of_training"]


@dataclass(frozen=True)
class NetworkRuns:
    """What the run of a network is, and what runs beside it share with it.

    Attributes
    ----------
    score : str
        Name of its score model.
    score_options : mapping
        Options of that.
    settings : mapping
        `dataset`, `dataset_options`, `schedule` and `schedule_options`, as settings of a run.
    labels : str
        The setting `labels`: random for a network that must be given classes, else none.
    padding : str or None
        What its convolutions see beyond the border; None where that is not known.
    receptive_field : int or None
        Side of the window that a pixel of its output depends on; None for the whole image, or where it is not known.
    scales : str or None
        Locality scales, of a machine that stands in for a network.
    model : ScoreModel or None
        The score model, with its data; None where the names say all.
    is_object : bool
        Whether only `model` says what it is, not the names.
    """

    score: str
    score_options: Mapping[str, Any]
    settings: Mapping[str, Any]
    labels: str = "none"
    padding: str | None = None
    receptive_field: int | None = None
    scales: str | None = None
    model: ScoreModel | None = field(default=None, repr=False)
    is_object: bool = False

    def own(self, *, score_options: Mapping[str, Any] | None = None, **settings: Any) -> RunConfig:
        """Configure the run of the network itself; arguments as for `beside`."""
        options = {**self.score_options, **(score_options or {})}
        return self.beside(score=self.score, score_options=options, scales=self.scales, **settings)

    def beside(
        self,
        *,
        labels: str | None = None,
        dataset: str | None = None,
        dataset_options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> RunConfig:
        """Configure a run that can be compared with the network.

        Parameters
        ----------
        labels : str, optional
            As for a run; by default the network's.
        dataset, dataset_options : optional
            Another training set, and its options; or options that go over the network's.
        **settings
            More fields of `RunConfig`.
        """
        shared = dict(self.settings)
        options = {**(shared.pop("dataset_options") if dataset is None else {}), **(dataset_options or {})}
        named = {"dataset": dataset or shared["dataset"], "dataset_options": options, "labels": labels or self.labels}
        return RunConfig(**{**shared, **named, **settings})

    def boundary_for(self, score: str) -> dict[str, str]:
        """Give the options by which a score model's boundary is the network's padding, where both have one."""
        has_boundary = "boundary" in registry().get("score", score).Options.model_fields
        return {"boundary": self.padding} if self.padding is not None and has_boundary else {}


def runs_of_training(trained: NetworkConfig, folder: Path | str) -> NetworkRuns:
    """Give the runs of a network whose checkpoint is, or will be, in `folder`; `trained` has no default left open."""
    return NetworkRuns(
        score=registry().checkpoint_score(),
        score_options={"checkpoint": str(folder)},
        settings={
            "dataset": trained.dataset,
            "dataset_options": trained.dataset_options,
            "schedule": trained.schedule,
            "schedule_options": trained.schedule_options,
        },
        labels="random" if trained.network_options.get("class_conditional", False) else "none",
        padding=trained.network_options.get("padding"),
    )


def network_runs(
    network: str | PathLike[str] | Checkpoint | Score,
    access: DataAccess,
    *,
    dataset: str | DataSet | None = None,
    dataset_options: Mapping[str, Any] | None = None,
) -> NetworkRuns:
    """Give the runs of a network, however it is given.

    Parameters
    ----------
    network : path, Checkpoint or Score
        Folder of a checkpoint, or of another network that `mosaic.score` knows; or what that gives.
    access, dataset, dataset_options
        The training set of a network whose folder does not say it.

    Raises
    ------
    UsageError, PluginError, DataError
        If it is not a network, or its data cannot be read.
    """
    if isinstance(network, Score):
        return _runs_of_score(network)
    if isinstance(network, str) and network in registry().names("score"):
        raise UsageError(
            f"'{network}' is a score model, not a folder; from Python, give mosaic.score('{network}', ...)."
        )
    folder = Path(fspath(network)).expanduser()
    if (folder / DESCRIPTION).is_file() or not folder.is_dir():
        checkpoint = network if isinstance(network, Checkpoint) else load_checkpoint(folder)
        runs = runs_of_training(checkpoint.config, folder)
        return replace(runs, receptive_field=checkpoint.receptive_field())
    if isinstance(dataset, DataSet):
        given = score(folder, dataset)
    else:
        root, download = access.root, access.download
        given = score(folder, dataset, dataset_options=dataset_options, data_dir=root, download=download)
    return replace(_runs_of_score(given), is_object=False)


def _runs_of_score(score: Score) -> NetworkRuns:
    """What a checkpoint says of its network is known of its score, too."""
    model = score.model
    runs = NetworkRuns(
        score=name_of(model),
        score_options=model.options.model_dump(mode="json"),
        settings={name: value for name, value in score.settings().items() if name != "scales"},
        scales=score.scales,
        model=model,
        is_object=True,
    )
    if model.name != registry().checkpoint_score():
        return runs
    checkpoint = load_checkpoint(model.options.checkpoint)
    trained = runs_of_training(checkpoint.config, checkpoint.folder)
    field = checkpoint.receptive_field()
    return replace(runs, labels=trained.labels, padding=trained.padding, receptive_field=field)
