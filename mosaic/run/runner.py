"""Runs from Python, as `mosaic run` does."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Unpack

import xarray as xr

from mosaic.containers.access import ENDINGS
from mosaic.errors import UsageError, warn_of
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.score import ScoreModel
from mosaic.progress import Progress, reporting
from mosaic.registry.data import data_access
from mosaic.registry.loading import registry
from mosaic.run.cluster import ClientLike, connected
from mosaic.run.config import RunConfig, RunSettings
from mosaic.run.job import start
from mosaic.run.prepare import ScoreLike, prepare
from mosaic.run.samples import Init, described_init
from mosaic.run.score import Score, check_identified, name_of
from mosaic.run.settings import layered, refuse_unused
from mosaic.storage.output import Output

__all__ = ["run"]


@checked(RunConfig)
def run(
    score: ScoreLike | Score | None = None,
    dataset: str | DataSet | None = None,
    *,
    init: Init | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    data_dir: str | PathLike[str] | None = None,
    download: bool = False,
    memory: str | float | None = None,
    client: ClientLike = None,
    progress: Progress | bool | None = True,
    **settings: Unpack[RunSettings],
) -> xr.Dataset:
    """Run the reverse flow of a score model, as `mosaic run` does (but for the picture).

    Parameters
    ----------
    score : str, Score, ScoreModel or callable, optional
        A registered name; what `mosaic.score` gives, with its data set, schedule and scales; a score model object (its
        own data set is used); or any eps(x, t) with x (B, C, H, W) and t (B,) in [0, 1]; by default els, or what is
        resumed.
    dataset : str or DataSet, optional
        A registered name, or a data set; by default digits, or what is resumed.
    init : path, xarray.Dataset, ndarray or Tensor, optional
        Start from the noise and labels of another run, or from standard normal noise (samples, channels, height,
        width).
    out : path, optional
        Store the run in this netCDF file, or Zarr store if it ends in .zarr, batch by batch: the memory needed does not
        grow with the number of samples. Without it nothing is written.
    resume, overwrite : bool
        Resume the unfinished run at `out`, with its settings where none are given; or replace what is there.
    data_dir, download
        Where data files lie (default: the environment variable MOSAIC_DATA), and whether to download them.
    memory : str or number
        What the run may take, such as "2G" or a number of bytes (default: a quarter of what the machine has): less
        memory means fewer threads, and the same numbers.
    client : distributed.Client or str, optional
        Compute on a Dask cluster, with the same numbers: a client, the address of a scheduler, or `local:N` for N
        processes on this machine; by default Dask's default client where there is one, else this process.
    progress : bool or callable
        Whether to show a bar on a terminal or in a notebook; or what is called as `mosaic.Progress`.
    **settings
        The settings below: steps=50, samples=16, seed=1, scales="5", score_options={"boundary": "zeros"}, ...
        `scales` may also be a calibration, a run or its `scale`, or a `ScaleSchedule`: looked up by noise.

    Returns
    -------
    xarray.Dataset
        The trajectory, as `mosaic/storage/schema.py` describes it.

    Raises
    ------
    UsageError, DataError, PluginError
        With one sentence that names the value, what is allowed and the fix.
    """
    model = None if score is None or isinstance(score, str) else score.model if isinstance(score, Score) else score
    if resume and model is not None:
        check_identified(model)
    images = None if isinstance(dataset, str) else dataset
    if isinstance(model, ScoreModel):
        if dataset is not None and dataset is not model.dataset:
            raise UsageError(
                f"`score` has a data set of its own, '{model.dataset.name}', and would not use `dataset`; leave it out."
            )
        images = model.dataset
    asked = {
        "score": score if model is None else name_of(model),
        "dataset": dataset if images is None else images.name,
        "init": init if init is None or isinstance(init, (str, PathLike)) else described_init(init),
    }
    names = {key: value for key, value in asked.items() if value is not None}
    if out is None:
        refuse_unused({"resume": resume, "overwrite": overwrite}, "nothing is stored without `out`")
    if images is not None:
        unused = {"dataset_options": settings.get("dataset_options"), "data_dir": data_dir, "download": download}
        refuse_unused(unused, "the data set is not a name")
    if model is not None:
        refuse_unused({"score_options": settings.get("score_options")}, "`score` is not a name")
    output = None if out is None else Output(Path(out).expanduser(), resume, overwrite, endings=ENDINGS)
    kept = output.kept_settings(RunConfig) if output is not None else {}
    if score is None and kept.get("score", "els") not in registry().names("score"):
        raise UsageError(f"The run at '{out}' is of '{kept['score']}', an object; give it again as `score`.")
    own = score.settings() if isinstance(score, Score) else {}
    config = layered(RunConfig, kept, own, {**names, **settings})
    access, noise = data_access(data_dir, download), None if isinstance(init, (str, PathLike)) else init
    plan = prepare(config, access, score=model, dataset=images, init=noise, memory=memory, output=output)
    warn_of(plan.notes)
    with connected(client), reporting(progress) as report:
        return start(plan, report)
