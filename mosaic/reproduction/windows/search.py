"""The search for the best scale of each variant of windows, at states of a network's own flow, as jobs.

Scales are chosen on the noise of calibrations, and the chosen one alone is judged on other noise: what is chosen by its
error on some samples errs less on these than on others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from mosaic.device import limited_threads
from mosaic.progress import Progress, silent
from mosaic.reproduction.study.experiment import Experiment
from mosaic.reproduction.study.rows import THEORY_STEPS
from mosaic.reproduction.windows.variants import BASELINE, VARIANTS, boxes, scales_near, variants_for
from mosaic.run.config import RunConfig
from mosaic.run.job import job_of
from mosaic.run.plan import Plan
from mosaic.run.work import step_work
from mosaic.sampling.scales import as_scale
from mosaic.storage.files import open_stored, reusing
from mosaic.storage.job import FileJob, Part
from mosaic.storage.made_by import made_by, record
from mosaic.storage.schema import REPRODUCTION_SCHEMA, described
from mosaic.storage.trajectory import open_trajectory

__all__ = ["CALIBRATION", "FLOWS", "JUDGING", "TIMES", "WindowSearch", "nearest_steps", "search"]

TIMES = (0.90, 0.75, 0.60, 0.45, 0.30, 0.15)
CALIBRATION, JUDGING = "windows-network-calibration", "windows-network"  # steps and files
FLOWS = (CALIBRATION, JUDGING)
SAMPLES = {CALIBRATION: 4, JUDGING: 16}  # unless the settings say how many
UNSEEN = 1000  # how far the seed of the judging noise is from the seed
INNER = 4  # of each side, the first and the last quarter are no inner pixels
ROUGH = "7"  # scale at which times are predicted


class WindowSearch:
    """The search of a row.

    Parameters
    ----------
    experiment : Experiment
        The row's network, with its data.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    @property
    def names(self) -> list[str]:
        """The variants that the row has."""
        return variants_for(self.experiment.network_runs().padding or "zeros")

    # --- the network's flows ------------------------------------------------------------------------------------------

    def _shared(self, flow: str) -> dict[str, Any]:
        """Settings of all that is evaluated along one of `FLOWS`."""
        config = self.experiment.study.config
        asked = {CALIBRATION: config.calibration_samples, JUDGING: config.samples}[flow]
        # That of calibrations; and of noise that no choice has seen: the defaults of soft ELS were chosen on others.
        seed = config.seed + (1 if flow == CALIBRATION else UNSEEN)
        return {"samples": asked or SAMPLES[flow], "seed": seed, "steps": THEORY_STEPS, "device": config.device}

    def flow_config(self, flow: str) -> RunConfig:
        """Configure the network's own flow from the noise of the calibration, or of the judging."""
        return self.experiment.network_runs().own(**self._shared(flow))

    def flow_job(self, flow: str) -> FileJob:
        """Give the job of one of the network's flows."""
        return self.experiment.run_job(flow, self.flow_config(flow))

    def run_flows(self) -> None:
        """Train the network and run its flows, as far as that has not been done."""
        self.experiment.train()
        for flow in FLOWS:
            self.experiment.execute(flow, self.flow_config(flow)).close()

    # --- the variants -------------------------------------------------------------------------------------------------

    def variant_config(self, name: str, flow: str, scale: str) -> RunConfig:
        """Configure a variant beside one of the network's flows, with one scale at all steps."""
        runs = self.experiment.network_runs()
        options = {**runs.boundary_for("filtered"), **VARIANTS[name].options}
        return runs.beside(score="filtered", score_options=options, scales=scale, **self._shared(flow))

    def grids(self, name: str) -> list[tuple[float, ...]]:
        """Give the scales of a variant that are tried, at each of `TIMES`; those of soft windows rest on the hard."""
        if VARIANTS[name].is_box:
            return [boxes(min(self.experiment.load_dataset().shape[1:]))] * len(TIMES)
        with reusing(), open_stored(self.place(BASELINE), (REPRODUCTION_SCHEMA,), "a variant of windows") as hard:
            return [scales_near(best) for best in hard["scale"].values.tolist()]

    def place(self, name: str) -> Path:
        """File of a variant's errors."""
        stem = "-".join(re.findall(r"\w+", f"windows {name}"))
        return self.experiment.folder / f"{stem}.nc"

    def variant_job(self, name: str) -> FileJob:
        """Give the job of a variant's scales and errors. The network's flows must be there, and BASELINE before others.

        Its identity holds the network's weights, the variant's options, the scales tried, and both kinds of noise.
        """
        grids, experiment = self.grids(name), self.experiment
        widest = str(max(max(grid) for grid in grids))
        plans = {
            flow: experiment.study.prepare(self.variant_config(name, flow, widest), experiment.load_dataset())
            for flow in FLOWS
        }
        flows = {flow: self.flow_job(flow) for flow in FLOWS}
        judged = job_of(plans[JUDGING], self.place(name)).identity
        return FileJob(
            place=self.place(name),
            identity={
                "configuration": {**judged["configuration"], "scales": None},
                **{key: judged[key] for key in ("dataset_fingerprint", "versions", "engine")},
                "network_fingerprint": flows[JUDGING].identity["score_fingerprint"],
                "job": {"calibration": self._shared(CALIBRATION), "times": list(TIMES), "scales": grids},
            },
            schema=REPRODUCTION_SCHEMA,
            what="a variant of windows",
            parts=[
                Part(
                    sum(_work(plans, grids)), partial(search, plans, {flow: flows[flow].place for flow in FLOWS}, grids)
                )
            ],
            unit=plans[JUDGING].unit,
            attributes=lambda: {
                **made_by(plans[JUDGING].device, plans[JUDGING].dataset),
                "title": f"{name} windows at states of the flow of {experiment.row.title}",
            },
        )

    def run_variant(self, name: str) -> xr.Dataset:
        """Find a variant's scales and errors, as far as that has not been done."""
        step, study = self.experiment.step(f"windows {name}"), self.experiment.study
        found: xr.Dataset = study.execute(step, self.variant_job(name))
        with found:
            study.records[step] = record(found.attrs)
            return found.load()

    def variant_seconds(self, name: str) -> float | None:
        """Predict the seconds of a variant, as if all its scales were 7."""
        config = self.variant_config(name, JUDGING, ROUGH)
        seconds = self.experiment.run_seconds(config)
        if seconds is None:
            return None
        calibration, judging = (int(self._shared(flow)["samples"]) for flow in FLOWS)
        tried = len(boxes(min(self.experiment.load_dataset().shape[1:])) if VARIANTS[name].is_box else scales_near(7))
        return seconds / (THEORY_STEPS * judging) * len(TIMES) * (tried * calibration + judging)


def _work(plans: Mapping[str, Plan], grids: Sequence[Sequence[float]]) -> list[float]:
    """Work of each of `TIMES`: all scales on the calibration noise, and one between them on the other."""
    calibration, judging = plans[CALIBRATION], plans[JUDGING]
    return [
        sum(step_work(calibration.model, grid, calibration.labels))
        + step_work(judging.model, [grid[len(grid) // 2]], judging.labels)[0]
        for grid in grids
    ]


def search(
    plans: Mapping[str, Plan], flows: Mapping[str, Path], grids: Sequence[Sequence[float]], progress: Progress = silent
) -> xr.Dataset:
    """Choose the scale of a machine at each of `TIMES`, and judge it.

    Parameters
    ----------
    plans : mapping
        The machine beside each of `FLOWS`; its own scales are not used.
    flows : mapping
        Files of the network's flows.
    grids : sequence of sequences of float
        Scales to choose from at each of `TIMES`.
    progress : Progress
        Called after each scale.

    Returns
    -------
    xarray.Dataset
        `error` (time, sample): mean squared error, over all pixels, of x0hat against the network's on the judging
        noise, at the chosen `scale` (time); `inner_error` that over the middle half of rows and columns, which borders
        matter less to, at the same scale. `calibration_error` (time, trial): its mean over samples on the calibration
        noise at each scale of `tried` (time, trial), of which the chosen one has the least; NaN beyond the last.
    """
    work, trials = _work(plans, grids), max(map(len, grids))
    error, inner_error = np.empty((2, len(grids), plans[JUDGING].samples))
    tried, calibration_error = np.full((2, len(grids), trials), np.nan)
    scale = np.empty(len(grids))
    with reusing(), open_trajectory(flows[CALIBRATION]) as calibration, open_trajectory(flows[JUDGING]) as judging:
        steps = nearest_steps(judging["time"].values)
        for place, (step, grid) in enumerate(zip(steps, grids, strict=True)):
            tried[place, : len(grid)] = grid
            for trial, each in enumerate(grid):
                calibration_error[place, trial] = _errors(plans[CALIBRATION], calibration, step, each)[0].mean()
                done = sum(work[:place]) + work[place] * (trial + 1) / (len(grid) + 1)
                progress(done, sum(work), plans[JUDGING].unit, f"t = {TIMES[place]:g}, k = {each:.4g}")
            scale[place] = tried[place, np.nanargmin(calibration_error[place])]
            error[place], inner_error[place] = _errors(plans[JUDGING], judging, step, scale[place].item())
            progress(sum(work[: place + 1]), sum(work), plans[JUDGING].unit, f"t = {TIMES[place]:g}, judged")
        variables: dict[str, tuple[Any, ...]] = {
            "error": (("time", "sample"), error),
            "inner_error": (("time", "sample"), inner_error),
            "scale": ("time", scale),
            "tried": (("time", "trial"), tried),
            "calibration_error": (("time", "trial"), calibration_error),
        }
        coords = {
            "time": judging["time"].values[steps],
            "sample": judging["sample"].values,
            "trial": np.arange(trials, dtype=np.int64),
        }
    return described(xr.Dataset(variables, coords), REPRODUCTION_SCHEMA)


def nearest_steps(times: NDArray[np.float64]) -> list[int]:
    """Steps of a flow whose times are nearest to `TIMES`."""
    return [int(np.abs(times - time).argmin()) for time in TIMES]


def _errors(plan: Plan, flow: xr.Dataset, step: int, scale: float) -> NDArray[np.float64]:
    """Mean squared errors of a machine's x0hat at a scale, at states of the network's flow at one step.

    Those of all pixels (sample,), then those of inner ones.
    """
    at_scale, errors = replace(plan, scales=(as_scale(scale),) * len(plan.levels)), []
    with limited_threads(plan.threads):
        for batch in plan.batches:
            states = flow.isel(step=step, sample=slice(batch.start, batch.stop))
            x, denoised = (torch.from_numpy(states[name].values) for name in ("state", "denoised"))
            predicted = at_scale.denoise(x.to(plan.device), step, batch).cpu()  # not every device has float64
            squares = (predicted.double() - denoised.double()).square()
            rows, columns = (slice(size // INNER, size - size // INNER) for size in squares.shape[2:])
            errors.append(torch.stack([part.mean((1, 2, 3)) for part in (squares, squares[:, :, rows, columns])]))
    return torch.cat(errors, 1).numpy()
