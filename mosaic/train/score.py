"""Whatever a user has, a name, an object, a function or a network, as a score at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from mosaic.registry.data import data_access, load_dataset
from mosaic.registry.loading import registry
from mosaic.run.config import RunConfig
from mosaic.run.configuration import as_text
from mosaic.run.score import Score
from mosaic.run.settings import refuse_unused
from mosaic.sampling.scales import Scales
from mosaic.train.checkpoint import DESCRIPTION, Checkpoint, load_checkpoint

__all__ = ["score"]

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
        A registered name; a checkpoint or its folder; what a score plugin knows, such as a diffusers pipeline or its
        folder; a score model; or a function or network of the user's own, `f(x, time)`, by the convention that
        `options` say.
    dataset : str or DataSet, optional
        Training set; by default the one that a checkpoint was trained on, else digits. A score model has its own.
    schedule : str or NoiseSchedule, optional
        Whose times t are meant; by default the one that a network was trained with, else cosine. Two scores that
        are compared at a time t need one schedule: schedule=other.schedule.
    scales : str, int, list, ScaleSchedule, xarray.DataArray or xarray.Dataset, optional
        Locality scales of a local machine, as the setting `scales` of a run.
    dataset_options : mapping, optional
        Options of a data set that is given by its name.
    data_dir, download
        Where data files lie (default: the environment variable MOSAIC_DATA), and whether to download them.
    **options
        Options of a score model that is given by its name, such as boundary="zeros". Of a function f(x, time) of
        x = a x_0 + s eps, by default of eps at t:

        - `prediction`: what it gives. "eps"; "x0"; "v" = a eps - s x_0; "score", grad log p; or "flow" = eps - x_0,
          of x = (1 - s) x_0 + s eps, with noise at s = 1 (turn sign and time of a flow from noise to data).
        - `time`: what it is told. "t" of the schedule, noise at 1 (of a flow, s); "sigma" = s / a, of
          x = x_0 + sigma eps; "timestep", 0 to `timesteps` - 1, a number that is not rounded, of x with
          a^2 + s^2 = 1; or "level", the `mosaic.Level`. All but the level one number a sample, (B,).
        - `preconditioning="edm"`: it is the raw network F of EDM, with `sigma_data`.
        - `labels=True`: its third argument is the classes (B,), -1 for none.

    Returns
    -------
    Score
        With `denoise`, `eps`, `score`, `attribute`, `posterior`, `jacobian` and `as_denoiser`; `mosaic.run` takes it.

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
    what, name, options = _recognised(what, options)
    # Options are checked before the data are read, which can take long.
    parsed: Options = Convention.parse(options, "score") if name is None else registry().parse("score", name, options)
    if isinstance(parsed, Convention):
        used = {"timesteps": parsed.time == "timestep", "sigma_data": parsed.preconditioning == "edm"}
        idle = {key: options.get(key) for key, is_used in used.items() if not is_used}
        refuse_unused(idle, "`timesteps` are for time=timestep, `sigma_data` is for preconditioning=edm")
    if dataset is None and "checkpoint" in options and name == registry().checkpoint_score():
        trained = load_checkpoint(options["checkpoint"]).config
        dataset, dataset_options = trained.dataset, {**trained.dataset_options, **(dataset_options or {})}
    if isinstance(dataset, DataSet):
        unused = {"dataset_options": dataset_options, "data_dir": data_dir, "download": download}
        refuse_unused(unused, "the data set is not a name")
    else:
        dataset = load_dataset(dataset or "digits", dataset_options or {}, data_access(data_dir, download))
    model = _of_object(what, dataset) if name is None else registry().get("score", name)(parsed, dataset)
    if model is None:
        function, convention = cast(Callable[..., Any], what), cast(Convention, parsed)
        model = FunctionModel(function, dataset, _schedule(schedule), convention)
    elif name is None:
        refuse_unused(options, f"`what` is taken for a '{model.name}', which says all of itself")
    return _at_hand(model, schedule, scales)


def _recognised(what: ScoreSource, options: Mapping[str, Any]) -> tuple[ScoreSource, str | None, dict[str, Any]]:
    """Give what is given, its registered name and options; no name for what score models are asked for, by a `Path`."""
    if isinstance(what, Checkpoint):
        return what, registry().checkpoint_score(), {"checkpoint": what.folder, **options}
    if not isinstance(what, (str, PathLike)) or (isinstance(what, str) and what in registry().names("score")):
        return what, what if isinstance(what, str) else None, dict(options)
    path = Path(what).expanduser()
    if (path / DESCRIPTION).is_file():
        return path, registry().checkpoint_score(), {"checkpoint": path, **options}
    # An unknown name is refused with those that there are.
    return path, what if isinstance(what, str) and not path.exists() else None, dict(options)


def _of_object(what: object, dataset: DataSet) -> ScoreModel | None:
    """Ask the registered score models whether they know an object, or a path."""
    kinds = {name: registry().get("score", name) for name in registry().names("score")}
    models = (kind.of_object(what, dataset) for kind in kinds.values())
    model = next((model for model in models if model is not None), None)
    if model is None and isinstance(what, Path):
        asked = ", ".join(name for name, kind in kinds.items() if "of_object" in vars(kind))
        raise UsageError(
            f"'{what}' is not the folder of a checkpoint ({DESCRIPTION}), nor one that a score model recognises "
            f"({asked or 'none does'})."
        )
    return model


def _at_hand(model: ScoreModel, schedule: str | NoiseSchedule | None, scales: Scales | None) -> Score:
    of_model = model.schedule if isinstance(model, FunctionModel) else model.traits.schedule()
    own = of_model if schedule is None else None
    if scales is not None and not model.traits.has_scale:
        refuse_unused({"scales": str(scales)}, "this score has no locality scale")
    return Score(model, _schedule(schedule) if own is None else own, as_text(RunConfig, "scales", scales))


def _schedule(schedule: str | NoiseSchedule | None) -> NoiseSchedule:
    if isinstance(schedule, NoiseSchedule):
        return schedule
    made: NoiseSchedule = registry().make("schedule", schedule or "cosine", {})
    return made
