"""Whatever a user has, a name, an object, a function or a network, as a score at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, cast

from mosaic.errors import UsageError
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.function_model import Convention, FunctionModel
from mosaic.interfaces.options import Options
from mosaic.interfaces.schedule import NoiseSchedule
from mosaic.interfaces.score import ScoreModel
from mosaic.registry.data import data_access, data_source, read_source
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.run.configuration import as_text
from mosaic.run.score import Score
from mosaic.run.settings import refuse_unused
from mosaic.sampling.scales import Scales
from mosaic.train.checkpoint import DESCRIPTION, Checkpoint, load_checkpoint

__all__ = ["score"]

PIPELINE = "model_index.json"  # in the folder of a diffusers pipeline

ScoreSource = str | PathLike[str] | ScoreModel | Checkpoint | Callable[..., Any]


@checked()
def score(
    what: ScoreSource,
    dataset: str | DataSet | None = None,
    *,
    schedule: str | NoiseSchedule | None = None,
    scales: Scales | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    data_dir: str | PathLike[str] | None = None,
    download: bool = False,
    **options: Any,
) -> Score:
    """Turn what one has into a score that can be evaluated at any point, and run.

    Parameters
    ----------
    what : str, path, ScoreModel, Checkpoint, torch.nn.Module or callable
        A registered name; the folder of a checkpoint; a diffusers pipeline or its folder; a score model; or a function
        or network of the user's own, `f(x, time)`, by the convention that `options` say.
    dataset : str or DataSet, optional
        Training set; by default the one that a checkpoint was trained on, else digits. A score model has its own.
    schedule : str or NoiseSchedule, optional
        Whose times t are meant; by default the one that a network was trained with, else cosine.
    scales : str, int, list, ScaleSchedule, xarray.DataArray or xarray.Dataset, optional
        Locality scales of a local machine, as the setting `scales` of a run.
    dataset_options : mapping, optional
        Options of a data set that is given by its name.
    data_dir, download
        Where data files lie (default: the environment variable MOSAIC_DATA), and whether to download them.
    **options
        Options of a score model that is given by its name, such as boundary="zeros". Of a function: `prediction`
        ("eps", "x0", "v", "score" or "flow"), `time` ("t", "level", "sigma" or "timestep"), `preconditioning` ("none"
        or "edm"), `timesteps`, `sigma_data` and `labels`, as `mosaic.Convention` describes them.

    Returns
    -------
    Score
        With `denoise`, `eps`, `score`, `attribute`, `posterior` and `as_denoiser`; `mosaic.run` takes it.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.

    Examples
    --------
    >>> import mosaic, torch
    >>> els = mosaic.score("els", "digits")
    >>> els.denoise(torch.randn(2, 1, 8, 8), t=0.5, k=3).shape
    torch.Size([2, 1, 8, 8])
    """
    if isinstance(what, ScoreModel):
        refuse_unused({"dataset_options": dataset_options, "download": download, **options}, "`what` is a score model")
        if dataset is not None and dataset is not what.dataset:
            raise UsageError(f"`what` has a data set of its own, '{what.dataset.name}'; leave `dataset` out.")
        return _at_hand(what, schedule, scales)
    name, options = _named(what, options)
    # Options are checked before the data are read, which can take long.
    parsed: Options = Convention.parse(options, "score") if name is None else registry().parse("score", name, options)
    if name == "network" and dataset is None:
        trained = load_checkpoint(options["checkpoint"]).config
        dataset, dataset_options = trained.dataset, {**trained.dataset_options, **(dataset_options or {})}
    if isinstance(dataset, DataSet):
        unused = {"dataset_options": dataset_options, "data_dir": data_dir, "download": download}
        refuse_unused(unused, "the data set is not a name")
    else:
        source = data_source(dataset or "digits", dataset_options or {}, data_access(data_dir, download))
        dataset, dataset_options = read_source(source), source.options.model_dump(mode="json")
    model = _of_object(what, dataset) if name is None else registry().get("score", name)(parsed, dataset)
    if model is None:
        function, convention = cast(Callable[..., Any], what), cast(Convention, parsed)
        model = FunctionModel(function, dataset, _schedule(schedule), convention)
    elif name is None:
        refuse_unused(options, f"`what` is taken for a '{model.name}', which says all of itself")
    return replace(_at_hand(model, schedule, scales), dataset_options=dataset_options or {})


def _named(what: ScoreSource, options: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Give the registered name of what is given and its options; no name for a function."""
    if isinstance(what, Checkpoint):
        return "network", {"checkpoint": what.folder, **options}
    if not isinstance(what, (str, PathLike)):
        return None, dict(options)
    if isinstance(what, str) and what in registry().names("score"):
        return what, dict(options)
    folder = Path(what).expanduser()
    if (folder / DESCRIPTION).is_file():
        return "network", {"checkpoint": folder, **options}
    if (folder / PIPELINE).is_file():
        return "diffusers", {"pipeline": folder, **options}
    if isinstance(what, str) and not folder.exists():
        return what, dict(options)  # an unknown name is refused with those that there are
    raise UsageError(
        f"'{folder}' is not the folder of a checkpoint ({DESCRIPTION}), nor of a diffusers pipeline ({PIPELINE})."
    )


def _of_object(what: object, dataset: DataSet) -> ScoreModel | None:
    """Ask the registered score models whether they know an object."""
    kinds = (registry().get("score", name) for name in registry().names("score"))
    models = (kind.of_object(what, dataset) for kind in kinds)
    return next((model for model in models if model is not None), None)


def _at_hand(model: ScoreModel, schedule: str | NoiseSchedule | None, scales: Scales | None) -> Score:
    own = model.traits.schedule() if schedule is None else None
    if scales is not None and not model.traits.has_scale:
        refuse_unused({"scales": str(scales)}, "this score has no locality scale")
    return Score(model, _schedule(schedule) if own is None else own, as_text(RunConfig, "scales", scales))


def _schedule(schedule: str | NoiseSchedule | None) -> NoiseSchedule:
    if isinstance(schedule, NoiseSchedule):
        return schedule
    made: NoiseSchedule = registry().make("schedule", schedule or "cosine", {})
    return made
