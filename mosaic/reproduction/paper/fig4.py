"""Figure 4: receptive fields of trained networks over time, and the scales calibrated by them.

References: Kamb & Ganguli 2025, fig. 4 and app. C.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import xarray as xr

from mosaic.evaluate.calibration.calibrate import job_of, open_calibration
from mosaic.evaluate.calibration.config import CalibrationConfig
from mosaic.evaluate.calibration.prepare import prepare_calibration
from mosaic.evaluate.receptive_field import SHARE, receptive_field
from mosaic.interfaces.sampler import uniform_times
from mosaic.progress import prefixed
from mosaic.reproduction.study.experiment import NETWORK, Experiment
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.rows import THEORY_STEPS
from mosaic.reproduction.study.steps import calibration_steps, training_step
from mosaic.reproduction.study.target import Target
from mosaic.run.score import Score, check_resumable
from mosaic.sampling.scales import PAPER_SCALES
from mosaic.storage.indexes import evenly_spread
from mosaic.storage.job import FileJob
from mosaic.storage.made_by import record
from mosaic.storage.schema import PLACES
from mosaic.train.runs import NetworkRuns, network_runs
from mosaic.train.score import score
from mosaic.view.colours import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["Fig4"]

SHOWN = 6  # times
FAINTEST = 1e-3  # smallest value not drawn black, as a share of the largest
COLORS = (BLUE, ORANGE)


class Fig4(Target):
    """Figure 4: receptive fields of trained networks by |Jacobian| over time, and calibrated scales."""

    name = "fig4"
    default_rows = ("mnist-resnet-zeros", "mnist-unet-zeros")
    takes_network = True

    def steps(self) -> Iterator[Step]:
        """For each row, the training and the calibration that its scales come from, and its own network's training.

        For a network that is there, the calibration.
        """
        if self.study.network is not None:
            return iter([Step(f"{NETWORK}: calibrate", lambda: self._calibration(self._network()))])
        experiments = (self.experiment(row) for row in self.rows)
        return (step for each in experiments for step in (*calibration_steps(each), training_step(each)))

    def measure(self) -> xr.Dataset:
        """Differentiate the networks on noisy training images at every time.

        Returns
        -------
        xarray.Dataset
            `field` (row, time, height, width), mean |d score(centre) / d x|; `field_width` (row, time), side of the
            square about the centre that holds 95 % of the squared field, its centre left out (squares, so that a faint
            floor counts little); `scale`, `scale_q25`, `scale_q75` (row, time), calibrated; `paper` (row, time), the
            paper's scales, NaN where it gives none. `row` is `network` for a network that is there.
        """
        if self.study.network is not None:
            names, parts = [NETWORK], [self._of_network(self._network())]
        else:
            names, parts = list(self.rows), [self._of_row(self.experiment(row)) for row in self.rows]
        return xr.concat(parts, dim="row", combine_attrs="drop_conflicts").assign_coords(row=names)

    def _of_row(self, experiment: Experiment) -> xr.Dataset:
        checkpoint, dataset = experiment.train(), experiment.load_dataset()
        fields = self._fields(experiment.row.name, score(checkpoint, dataset), experiment.row.conditional)
        paper = PAPER_SCALES.get(experiment.row.scales_of, (np.nan,) * THEORY_STEPS)
        with open_calibration(experiment.calibrate()) as calibration:
            return _with_scales(fields, calibration, paper)

    def _of_network(self, network: NetworkRuns) -> xr.Dataset:
        own = cast(Score, self.study.network)
        job, step = self._calibration(network), f"{NETWORK}: calibrate"
        check_resumable(own.model, [job.place])
        fields = self._fields(NETWORK, own, network.labels == "random")
        with self.study.execute(step, job) as calibration:
            self.study.records[step] = record(calibration.attrs)
            return _with_scales(fields, calibration, (np.nan,) * THEORY_STEPS)

    def _network(self) -> NetworkRuns:
        return network_runs(cast(Score, self.study.network), self.study.access)

    def _calibration(self, network: NetworkRuns) -> FileJob:
        """Give the job of the calibration of ELS by a network that is there."""
        config = self.study.config
        samples = {} if config.calibration_samples is None else {"samples": config.calibration_samples}
        settings = CalibrationConfig(
            checkpoint=network.score, steps=THEORY_STEPS, seed=config.seed + 1, device=config.device, **samples
        )
        plan = prepare_calibration(settings, self.study.access, memory=self.study.memory, network=self.study.network)
        return job_of(plan, self.study.folder / NETWORK / "scales.nc")

    def _fields(self, name: str, network: Score, is_conditional: bool) -> xr.Dataset:
        """Receptive field and width of a network at each time."""
        return receptive_field(
            network,
            uniform_times(THEORY_STEPS)[::-1],
            seed=self.study.config.seed,
            class_conditional=is_conditional,
            progress=prefixed(self.study.progress, f"{name}: receptive field"),
        ).drop_vars(["signal", "noise", *PLACES])

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say how wide the fields are beside the scales, at a few times."""
        return [
            f"{row}, t = {float(moment['time']):.2f}: 95 % of |Jacobian|^2 beside the centre in "
            f"{int(moment['field_width'])} pixels, calibrated k {float(moment['scale']):g}"
            + ("" if np.isnan(moment["paper"]) else f", the paper's {float(moment['paper']):g}")
            for row in measured["row"].values.tolist()
            for step in _shown(measured)
            for moment in [measured.sel(row=row).isel(time=step)]
        ]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw the fields at six times, and widths and scales against time."""
        from mosaic.view.figure import Picture

        rows = measured.sizes["row"]
        figure = Picture(7.6, 1.5 * rows + 3.4)
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.5 * rows, 3.2))[:, 0]
        _draw_fields(above, measured)
        _draw_widths(below, measured)
        figure.suptitle(
            "mean |d score(centre) / d x|, each scaled to its largest value; and locality scales", fontsize=9
        )
        return figure


def _with_scales(fields: xr.Dataset, calibration: xr.Dataset, paper: Sequence[float]) -> xr.Dataset:
    """Add the scales of a calibration at the same times, and the paper's."""
    rising = calibration.sortby("time")
    scales = {name: ("time", rising[name].values.astype(float)) for name in ("scale", "scale_q25", "scale_q75")}
    attrs = {"units": "pixel", "long_name": "the paper's scales"}
    return fields.assign(scales).assign(paper=("time", np.asarray(paper, dtype=float), attrs))


def _shown(measured: xr.Dataset) -> list[int]:
    steps: list[int] = evenly_spread(measured.sizes["time"], SHOWN).tolist()
    return steps


def _draw_fields(figure: SubFigure, measured: xr.Dataset) -> None:
    from matplotlib.colors import LogNorm

    rows, steps = measured["row"].values.tolist(), _shown(measured)
    axes = figure.subplots(len(rows), len(steps), squeeze=False)
    for row, name in enumerate(rows):
        for column, step in enumerate(steps):
            field = measured["field"].sel(row=name).isel(time=step).values
            axis = axes[row, column]
            faint = np.maximum(field / field.max(), FAINTEST)
            mesh = axis.imshow(faint, cmap="magma", norm=LogNorm(FAINTEST, 1), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"t = {float(measured['time'][step]):.2f}", fontsize=8)
        axes[row, 0].set_ylabel(name, fontsize=8)
    figure.colorbar(mesh, ax=axes, label="of the largest")


def _draw_widths(figure: SubFigure, measured: xr.Dataset) -> None:
    rows = measured["row"].values.tolist()
    axes = figure.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    label = f"{100 * SHARE:.0f} % of |Jacobian|^2 beside the centre"
    for axis, name in zip(axes, rows, strict=True):
        row = measured.sel(row=name)
        time = row["time"].values
        axis.fill_between(time, row["scale_q25"], row["scale_q75"], color=COLORS[0], alpha=0.2, linewidth=0)
        axis.plot(time, row["scale"], "o-", color=COLORS[0], markersize=3, label="calibrated k, quartiles")
        if row["paper"].notnull().any():
            axis.plot(time, row["paper"], "x", color="black", markersize=4, label="the paper's k")
        axis.plot(time, row["field_width"], "-", color=COLORS[1], label=label)
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("time t")
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("pixels")
    # A row may have no scales of the paper.
    lines = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    axes[0].legend(lines.values(), lines.keys(), fontsize=7)
