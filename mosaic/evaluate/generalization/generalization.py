"""The generalization gap: denoising losses of held-out images beside those of training images.

References: Kadkhodaie, Guth, Simoncelli & Mallat 2024 (arXiv 2310.02557), fig. 1: denoising errors of training and test
images; Kamb & Ganguli 2025, sec. 2, of the ideal score, which memorises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import xarray as xr

import mosaic.view.accessor  # noqa: F401 - every result has `result.mosaic`
from mosaic.device import standard_torch
from mosaic.engine.machine import AnalyticMachine
from mosaic.errors import DataError, UsageError, warn_of
from mosaic.evaluate.generalization.held_out import load_held_out, unseen
from mosaic.evaluate.generalization.losses import losses_of, with_gaps
from mosaic.evaluate.generalization.plan import HELD_OUT, TRAINING, UNIT, GeneralizationPlan, draw_sample
from mosaic.evaluate.subjects import TIMES, Subject, is_network, levels_of, records_of, resolve_subjects
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.options import Options
from mosaic.progress import Progress, reporting, silent
from mosaic.registry.data import data_access
from mosaic.run.score import Score, check_resumable, is_registered
from mosaic.run.settings import refuse_unused
from mosaic.sampling.scales import Scales
from mosaic.storage.job import FileJob, Part
from mosaic.storage.made_by import made_by, versions_of
from mosaic.storage.output import Output, start_job
from mosaic.storage.schema import GENERALIZATION_SCHEMA
from mosaic.train.runs import network_runs

__all__ = ["generalization", "job_of", "prepare_generalization", "start"]


@standard_torch()
def prepare_generalization(
    scores: Subject | Sequence[Any] | Mapping[str, Any],
    dataset: str | DataSet | None,
    held_out: DataSet | Mapping[str, Any],
    access: DataAccess,
    *,
    times: Sequence[float] = TIMES,
    samples: int = 64,
    seed: int = 0,
    scales: Scales | None = None,
    score_options: Mapping[str, Mapping[str, Any]] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    class_conditional: bool = False,
    leave_one_out: bool = False,
    output: Output | None = None,
) -> GeneralizationPlan:
    """Resolve what is asked for; arguments and errors as for `generalization`, and nothing is written."""
    for name, value, least in (("samples", samples, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"`{name}` is {value}; it must be at least {least}.")
    if output is not None:
        output.check()
    subjects = resolve_subjects(
        scores,
        dataset,
        access,
        dataset_options=dataset_options or {},
        scales=scales,
        score_options=score_options or {},
    )
    levels = levels_of(subjects, times)
    training = next(iter(subjects.values())).model.dataset
    others = load_held_out(held_out, training, access)
    places, notes = unseen(others, training)
    count = min(samples, len(training), len(places))
    if count < samples:
        notes.append(f"There are {len(training)} training and {len(places)} held-out images: {count} of each are used.")
    networks = [own for own in subjects.values() if is_network(own)]
    conditional = class_conditional or any(network_runs(own, access).labels != "none" for own in networks)
    if conditional:
        _check_classes(others, training)
    every = torch.arange(len(training), dtype=torch.int64, device="cpu")
    drawn = {
        TRAINING: draw_sample(training, every, count, seed, is_training=True),
        HELD_OUT: draw_sample(others, places, count, seed, is_training=False),
    }
    left_out = _leave_one_out(subjects, training) if leave_one_out else ()
    told = {label for each in drawn.values() for label in each.labels.tolist()} if conditional else {-1}
    for own in subjects.values():
        own_scales = tuple(own.scale_at(level) for level in levels.values())
        notes += own.model.check(tuple(levels.values()), own_scales, tuple(sorted(told)))
    moved = [(name, option) for name, own in subjects.items() for option in own.model.path_options]
    plan = GeneralizationPlan(
        scores=subjects,
        levels=levels,
        held_out=others,
        samples=drawn,
        left_out=left_out,
        configuration={
            "dataset": training.name,
            "dataset_options": dict(training.options),
            "held_out": others.name,
            "held_out_options": dict(others.options),
            "times": list(levels),
            "samples": count,
            "seed": seed,
            "class_conditional": conditional,
            "leave_one_out": leave_one_out,
            "scores": records_of(subjects),
        },
        free=tuple(f"configuration.scores.{name}.score_options.{option}" for name, option in moved),
        output=output,
        notes=tuple(dict.fromkeys((*training.notes, *others.notes, *notes))),
    )
    if output is not None and output.resume:
        for own in subjects.values():
            check_resumable(own.model, [output.path])
    return plan


def _check_classes(held_out: DataSet, training: DataSet) -> None:
    for dataset in (training, held_out):
        if dataset.labels is None:
            raise UsageError(
                f"`class_conditional`: data set '{dataset.name}' has no classes, which the scores are to be given."
            )
    if held_out.classes != training.classes[: len(held_out.classes)]:
        raise UsageError(
            f"The held-out images have the classes {', '.join(held_out.classes)}, the training images "
            f"{', '.join(training.classes)}; classes that scores are given must be the same."
        )


def _leave_one_out(subjects: Mapping[str, Score], training: DataSet) -> tuple[str, ...]:
    """Name the scores that can do without an image: machines of this training set.

    Raises
    ------
    UsageError
        If there are none.
    """
    machines = {name: own.model for name, own in subjects.items() if isinstance(own.model, AnalyticMachine)}
    able = [name for name, model in machines.items() if model.dataset.fingerprint() == training.fingerprint()]
    if not able:
        raise UsageError(
            "`leave_one_out` would not be used: no score compares with the training images, as is, ls and els do; "
            "leave it out."
        )
    return tuple(able)


def _identity(plan: GeneralizationPlan) -> dict[str, Any]:
    """Identity: two that agree in it give the same losses."""
    models = [own.model for own in plan.scores.values()]
    plugins = {("score", model.name) for model in models if is_registered(model)}
    plugins |= {named for model in models for named in model.traits.plugins()}
    dtype = plan.dataset.images.dtype
    return {
        "configuration": plan.configuration,
        "dataset_fingerprint": plan.dataset.fingerprint(),
        "held_out_fingerprint": plan.held_out.fingerprint(),
        "versions": versions_of(Options(), sorted(plugins)),
        "engine": {name: own.model.traits.engine(dtype) for name, own in plan.scores.items()},
    }


def _attributes(plan: GeneralizationPlan) -> dict[str, str]:
    """Root attributes, in addition to the identity."""
    return {
        **made_by(plan.dataset.images.device, plan.dataset),
        "title": f"{', '.join(plan.scores)} on {plan.dataset.name}",
        "held_out_size": str(len(plan.held_out)),
        "held_out_source": plan.held_out.origin,
    }


def _check_whole(plan: GeneralizationPlan, path: Path, result: xr.Dataset) -> None:
    """Refuse a file that does not hold all losses, though its attributes say that it is this one."""
    wanted = (len(plan.scores), len(plan.sets), len(plan.levels), len(plan.samples[TRAINING].index))
    if "loss" not in result or result["loss"].shape != wanted:
        raise DataError(f"'{path}' was changed: it does not hold all losses; use `overwrite`, or another `out`.")


def job_of(plan: GeneralizationPlan, path: Path) -> FileJob:
    """The job whose result is kept at `path`."""
    return FileJob(
        place=path,
        identity=_identity(plan),
        schema=GENERALIZATION_SCHEMA,
        what="a generalization gap",
        parts=[Part(plan.whole_work(batch), partial(losses_of, plan, batch)) for batch in plan.batches],
        unit=UNIT,
        attributes=partial(_attributes, plan),
        complete=with_gaps,
        free=plan.free,
        check=partial(_check_whole, plan, path),
    )


def start(
    plan: GeneralizationPlan, progress: Progress = silent, started: Callable[[Output], object] = lambda output: None
) -> xr.Dataset:
    """Evaluate the losses, and keep them where the plan says; arguments as for `start_job`."""
    return start_job(partial(job_of, plan), plan.output, progress, started)


@checked()
def generalization(
    scores: Subject | Sequence[Any] | Mapping[str, Any],
    dataset: str | DataSet | None = None,
    *,
    held_out: DataSet | Mapping[str, Any],
    times: Sequence[float] = TIMES,
    samples: int = 64,
    seed: int = 0,
    scales: Scales | None = None,
    score_options: Mapping[str, Mapping[str, Any]] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    class_conditional: bool = False,
    leave_one_out: bool = False,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    data_dir: str | PathLike[str] | None = None,
    progress: Progress | bool | None = True,
) -> xr.Dataset:
    """Measure denoising losses of scores at training images and at held-out images, and the gap between them.

    The loss of an image x_0 is |x0hat(a x_0 + s eps) - x_0|^2 per value. All scores meet the same noise eps, which
    depends on `seed`, the image and its set, and is the same at all times.

    Parameters
    ----------
    scores : str, path, Score, ScoreModel or Checkpoint, or a sequence or mapping of them
        As for `mosaic.probe`. A network is evaluated as it runs, with its averaged weights.
    dataset : str or DataSet, optional
        Training set of those given by name or folder; by default that of the others, else digits.
    held_out : DataSet or mapping
        Held-out images; or options of the training set that give them: {"split": "test"} of torchvision's sets,
        {"path": "test.npz"} of a file, or {"skip": 1000}, which leaves out the images of {"limit": 1000}. Those that
        equal a training image are left out, or refused where they are many.
    times : sequence of float
        Times of the schedule.
    samples : int
        How many images of each set, chosen by `seed`, as even over the classes as they allow.
    seed : int
        Of the choice and of the noise.
    scales, score_options, dataset_options
        As for `mosaic.probe`.
    class_conditional : bool
        Whether scores are given the images' classes; they are where a network needs them.
    leave_one_out : bool
        Whether machines such as IS and ELS are also evaluated at each training image without that image among those
        that they compare with. It takes as long as the training images do.
    out : path, optional
        netCDF file to write. Without it nothing is written.
    resume : bool
        Resume what is unfinished there, with the same settings.
    overwrite, data_dir
        As for `run`.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.

    Returns
    -------
    xarray.Dataset
        `loss` (score, set, time, sample), float64, the sets being training and held_out, and with `leave_one_out` also
        left_out: NaN of scores that do not compare. `loss_mean` (score, set, time), `loss_low`, `loss_high`: the mean
        with its 95 % bootstrap interval. `gap` (score, time), `gap_low`, `gap_high`: the mean of held-out images minus
        that of training images, each set resampled by itself. `reference_loss` (reference, set, time, sample) and
        `reference_loss_mean`, of what needs no score: the noisy image divided by a, and the mean training image.
        `index` and `seed` (set, sample) say which images they are, and their noise.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.

    References
    ----------
    Kadkhodaie, Guth, Simoncelli & Mallat 2024 (arXiv 2310.02557).

    Examples
    --------
    >>> import mosaic
    >>> few = {"times": [0.2], "samples": 20, "dataset_options": {"limit": 200}, "progress": False}
    >>> result = mosaic.generalization(["is", "gaussian"], "digits", held_out={"skip": 200}, **few)
    >>> [f"{mean:.3f}" for mean in result.loss_mean.values.ravel()]
    ['0.000', '0.125', '0.042', '0.043']
    """
    if out is None:
        refuse_unused({"resume": resume, "overwrite": overwrite}, "nothing is stored without `out`")
    output = None if out is None else Output(Path(out).expanduser(), resume, overwrite)
    plan = prepare_generalization(
        scores,
        dataset,
        held_out,
        data_access(data_dir, False),
        times=times,
        samples=samples,
        seed=seed,
        scales=scales,
        score_options=score_options,
        dataset_options=dataset_options,
        class_conditional=class_conditional,
        leave_one_out=leave_one_out,
        output=output,
    )
    warn_of(plan.notes)
    with reporting(progress) as report:
        return start(plan, report)
