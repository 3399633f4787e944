"""Probes: what the Jacobians of scores, and their answers to shifts, say of them, at noisy training images.

References: Kadkhodaie, Guth, Simoncelli & Mallat 2024 (eigenbases of denoisers); Kamb & Ganguli 2025, fig. 4a
(receptive fields) and sec. 3 (locality and equivariance).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import xarray as xr

import mosaic.view.accessor  # noqa: F401 - every probe has `probe.mosaic`
from mosaic.errors import UsageError
from mosaic.evaluate.probe.points import ProbePlan, probe_points
from mosaic.evaluate.receptive_field import classes_of
from mosaic.evaluate.subjects import TIMES, Subject, is_network, levels_of, records_of, resolve_subjects
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.data_source import DataAccess
from mosaic.interfaces.dataset import DataSet
from mosaic.progress import Progress, reporting
from mosaic.registry.data import data_access
from mosaic.run.derivative import DIFFERENCE, check_difference, check_memory
from mosaic.run.score import Score
from mosaic.run.settings import refuse_unused
from mosaic.sampling.noise import initial_noise
from mosaic.sampling.scales import Scales
from mosaic.storage.files import as_attribute, write_netcdf
from mosaic.storage.made_by import made_by
from mosaic.storage.output import Output
from mosaic.storage.schema import PROBE_SCHEMA, described
from mosaic.train.runs import network_runs

__all__ = ["probe"]


@checked()
def probe(
    scores: Subject | Sequence[Any] | Mapping[str, Any],
    dataset: str | DataSet | None = None,
    *,
    times: Sequence[float] = TIMES,
    samples: int = 4,
    seed: int = 0,
    modes: int = 8,
    shifts: int = 4,
    scales: Scales | None = None,
    score_options: Mapping[str, Mapping[str, Any]] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    class_conditional: bool = False,
    difference: float = DIFFERENCE,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    data_dir: str | PathLike[str] | None = None,
    progress: Progress | bool | None = True,
) -> xr.Dataset:
    """Measure receptive field, eigenbasis, curl and equivariance of scores, at the same noisy training images.

    Parameters
    ----------
    scores : str, path, Score, ScoreModel or Checkpoint, or a sequence or mapping of them
        Names of score models, folders of networks, or what `mosaic.score` gives; of a mapping, by the names they get.
        Those given by name have the data, schedule and padding (as boundary) of the first network. Each is evaluated
        at its own scale k.
    dataset : str or DataSet, optional
        Training set of those given by name or folder; by default that of the others, else digits.
    times : sequence of float
        Times of the schedule.
    samples : int
        How many training images, the first ones; with the noise of `mosaic.receptive_field`.
    seed : int
        Of the noise and of the shifts.
    modes : int
        How many eigenvalues and eigenvectors are kept, the largest first; 0 for none.
    shifts : int
        How many circular shifts, by up to a quarter of the image.
    scales : optional
        Locality scales, as the setting `scales` of a run, of those that are given by name.
    score_options, dataset_options : mapping, optional
        Options of score models by their names, {"els": {"boundary": "circular"}}, and of a data set given by name.
    class_conditional : bool
        Whether scores are given the images' classes.
    difference : float
        As for `mosaic.Score.jacobian`.
    out : path, optional
        netCDF file to write. Without it nothing is written.
    overwrite, data_dir
        As for `run`.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.

    Returns
    -------
    xarray.Dataset
        Along (score, time, sample), J being a d x0hat / d x: `field` and `field_width`, as `mosaic.receptive_field` has
        them; `eigenvalue` and `eigenvector` (mode) of the symmetric part of J; its `effective_rank` (sum |l|)^2 /
        sum l^2; `trace` of J; `curl` = |J - J^T| / 2 |J|, in [0, 1], 0 of the gradient of a log density;
        `equivariance_error`, the root mean square of x0hat(shifted x) - shifted x0hat(x) over the standard deviation of
        the training set's pixels, and `equivariance_error_interior` of pixels whose windows do not meet the border;
        with two or more scores `similarity`, the cosine of J with the first score's. NaN where J vanishes, or where
        there are no such pixels. `method` (score) says how J was found, `state` (time, sample) is x.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix. A Jacobian of D = C H W values takes 8 D^2
        bytes, and several are held at a time: 64 D^2 bytes (40 MB of 28 x 28, 600 MB of 3 x 32 x 32) must fit half of
        the memory.

    References
    ----------
    Kadkhodaie, Guth, Simoncelli & Mallat 2024 (arXiv 2310.02557).

    Examples
    --------
    >>> import mosaic
    >>> few = {"times": [0.5], "samples": 1, "dataset_options": {"limit": 50}, "progress": False}
    >>> probe = mosaic.probe(["is", "els"], "digits", **few)
    >>> [f"{curl:.1f}" for curl in probe.curl.values.ravel()]
    ['0.0', '0.2']
    """
    _check_numbers(samples, seed, modes, shifts)
    check_difference(difference)
    output = None if out is None else Output(Path(out).expanduser(), overwrite=overwrite)
    if output is None:
        refuse_unused({"overwrite": overwrite}, "nothing is stored without `out`")
    else:
        output.check()
    access = data_access(data_dir, False)
    subjects = resolve_subjects(
        scores,
        dataset,
        access,
        dataset_options=dataset_options or {},
        scales=scales,
        score_options=score_options or {},
    )
    plan = _planned(subjects, access, times, samples, seed, modes, shifts, class_conditional, difference)
    with reporting(progress) as report:
        probed = probe_points(plan, report)
    result = described(probed.assign_attrs(_attributes(plan)), PROBE_SCHEMA)
    if output is not None:
        write_netcdf(result, output.path, overwrite)
    return result


def _check_numbers(samples: int, seed: int, modes: int, shifts: int) -> None:
    for name, value, least in (("samples", samples, 1), ("seed", seed, 0), ("modes", modes, 0), ("shifts", shifts, 1)):
        if value < least:
            raise UsageError(f"`{name}` is {value}; it must be at least {least}.")


def _planned(
    subjects: Mapping[str, Score],
    access: DataAccess,
    times: Sequence[float],
    samples: int,
    seed: int,
    modes: int,
    shifts: int,
    class_conditional: bool,
    difference: float,
) -> ProbePlan:
    levels, dataset = levels_of(subjects, times), next(iter(subjects.values())).model.dataset
    check_memory(2, dataset.shape)
    chosen = torch.arange(min(samples, len(dataset)), dtype=torch.int64, device="cpu")
    clean = dataset.images[chosen.to(dataset.images.device)].float()
    networks = {name: own for name, own in subjects.items() if is_network(own)}
    return ProbePlan(
        scores=subjects,
        fields={name: network_runs(own, access).receptive_field for name, own in networks.items()},
        levels=levels,
        clean=clean,
        noise=initial_noise(seed, range(len(clean)), dataset.shape).to(clean),
        labels=classes_of(dataset, chosen) if class_conditional else None,
        seed=seed,
        modes=min(modes, clean[0].numel()),
        shifts=shifts,
        difference=difference,
    )


def _attributes(plan: ProbePlan) -> dict[str, str]:
    """Root attributes: what was probed, and how."""
    dataset, names = plan.dataset, ("seed", "modes", "shifts", "difference")
    configuration = {
        "dataset": dataset.name,
        "dataset_options": dict(dataset.options),
        "times": list(plan.levels),
        "samples": len(plan.clean),
        **{name: getattr(plan, name) for name in names},
        "class_conditional": plan.labels is not None,
        "scores": records_of(plan.scores),
    }
    return {
        **made_by(dataset.images.device, dataset),
        "title": f"{', '.join(plan.scores)} on {dataset.name}",
        "configuration": as_attribute(configuration),
        "dataset_fingerprint": as_attribute(dataset.fingerprint()),
    }
