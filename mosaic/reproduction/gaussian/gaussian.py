"""The Gaussian first, then the network: how much of a network's flow the Gaussian of its data takes over.

References: Wang & Vastola 2024 (arXiv 2412.09726), whose claim is that 15 to 30 % of a sampler's steps can be skipped.
The paper's: the Gaussian's closed-form flow, EDM's grid of 18 steps, and then the network.
Ours: networks, data, the shares of a uniform grid of times, pixelwise agreement, and ELS in the Gaussian's place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from mosaic.registry.loading import registry
from mosaic.reproduction.gaussian.agreement import MEASURES
from mosaic.reproduction.gaussian.picture import draw_gaussian
from mosaic.reproduction.gaussian.row import GaussianRow
from mosaic.reproduction.gaussian.shares import THRESHOLDS, largest_share
from mosaic.reproduction.gaussian.switching import FIRSTS, SHARES, SKIPPED, edm_sigmas
from mosaic.reproduction.study.agreement import ENDS, ends_text, intervals
from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.target import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["METRICS", "GaussianFirst", "joined", "judged"]

METRICS = ("pearson_r", "mse", "R2")
CLAIMED = (0.15, 0.3)  # shares of Wang & Vastola's
CLAIMED_STEPS = (3, 4, 5)  # of EDM's 18: the first 15 to 30 %
SHOWN = 3  # samples of the picture


class GaussianFirst(Target):
    """The Gaussian of the data first, then the network: agreement along the flow, and images."""

    name = "gaussian"
    default_rows = ("mnist-resnet-zeros", "fashion-resnet-zeros", "cifar10-resnet-zeros")

    def steps(self) -> Iterator[Step]:
        """Give the steps of each row: those of its runs, the agreement by time, and the images."""
        return (step for row in self.rows for step in GaussianRow(self.experiment(row)).steps())

    def measure(self) -> xr.Dataset:
        """Compare theories along the network's flow, and images that a theory began with the network's own.

        Returns
        -------
        xarray.Dataset
            Along (row, theory, time, sample) what `agreement_batch` gives. `pearson_r`, `mse` and `R2` (row, first,
            share, sample) of the images that a theory began against the network's own; `edm_pearson_r`, ... (row,
            skipped, sample) of those on EDM's grid against the network's own there. Of all, medians over samples with
            intervals. `largest_share` (row, first, threshold) and, of EDM's steps, `largest_skipped` (row, threshold),
            with intervals. `noise_to_signal` (row, share) and `edm_noise_to_signal` (row, skipped), where the network
            goes on. `image` (row, first, share, shown, channel, height, width), of the first samples; NaN where a row
            has fewer channels or pixels.
        """
        return joined({row: self._measured(row) for row in self.rows})

    def _measured(self, name: str) -> xr.Dataset:
        experiment = self.experiment(name)
        agreement, images = GaussianRow(experiment).run()
        schedule = experiment.load_plan().schedule
        measured = judged(agreement, images).drop_vars("sample")  # an index that rows need not share
        ratios = [schedule.level(round(1 - share, 9)).ratio for share in SHARES]
        measured["noise_to_signal"] = ("share", ratios)
        measured["edm_noise_to_signal"] = ("skipped", [edm_sigmas()[skipped] for skipped in SKIPPED])
        shown = images["switched_image"].isel(sample=slice(SHOWN)).rename(sample="shown")
        measured["image"] = shown.transpose("first", "share", "shown", ...).drop_vars("shown")
        sides = {side: np.arange(measured.sizes[side]) for side in ("channel", "height", "width")}
        low, high = experiment.load_dataset().range
        return measured.assign_coords(sides).assign_attrs(dataset_range=f"[{low}, {high}]")

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Say agreement by time, medians of r by share and on EDM's grid, and the largest shares."""
        lines = []
        for name in measured["row"].values.tolist():
            row = measured.sel(row=name)
            lines += _agreement_lines(name, row)
            lines += _share_lines(name, row)
            lines += _edm_lines(name, row)
        return lines

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw agreement over time, r over the share skipped, and images."""
        return draw_gaussian(measured)


def joined(rows: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join rows, whose images may have different channels and sides: NaN where a row has fewer."""
    together = xr.concat(rows.values(), "row", join="outer", combine_attrs="drop_conflicts")
    return together.assign_coords(row=list(rows))


def judged(agreement: xr.Dataset, images: xr.Dataset) -> xr.Dataset:
    """Compare images (sample, first, share, ...) with those without a share, and sum up over samples.

    Returns
    -------
    xarray.Dataset
        `agreement`, with `METRICS` along (first, share, sample), those of EDM's grid along (skipped, sample), medians
        and intervals of all, and `largest_share` (first, threshold) and `largest_skipped` (threshold) with theirs.
    """
    measured = agreement.copy()
    plain, edm = images["switched_image"].values, images["edm_image"].values
    # The network's own images are those of its own grid, and those of EDM's.
    own, own_edm = plain[:, FIRSTS.index("gaussian"), SHARES.index(0)], edm[:, SKIPPED.index(0)]
    places = list(np.ndindex(plain.shape[1:3]))
    for name in METRICS:
        values = [_compared(name, plain[:, first, share], own) for first, share in places]
        measured[name] = (("first", "share", "sample"), np.reshape(values, (len(FIRSTS), len(SHARES), -1)))
        values = [_compared(name, edm[:, place], own_edm) for place in range(len(SKIPPED))]
        measured[f"edm_{name}"] = (("skipped", "sample"), np.stack(values))
    measured = measured.assign_coords(first=list(FIRSTS), share=list(SHARES), skipped=list(SKIPPED))
    for name in (*MEASURES, *METRICS, *(f"edm_{each}" for each in METRICS)):
        dims = measured[name].dims[:-1]
        ends = intervals(measured[name].values)
        for number, end in enumerate(ENDS):
            measured[f"{name}_{end}"] = (dims, ends[..., number])
    largest = np.array(
        [
            [largest_share(each, np.array(SHARES), least) for least in THRESHOLDS]
            for each in measured["pearson_r"].values
        ]
    )
    steps = np.array(SKIPPED, dtype=np.float64)
    of_edm = np.array([largest_share(measured["edm_pearson_r"].values, steps, least) for least in THRESHOLDS])
    for number, end in enumerate(("", "_low", "_high")):
        measured[f"largest_share{end}"] = (("first", "threshold"), largest[..., number])
        measured[f"largest_skipped{end}"] = ("threshold", of_edm[:, number])
    return measured.assign_coords(threshold=list(THRESHOLDS))


def _compared(name: str, images: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float64]:
    """A metric (B,) of images (B, C, H, W) against others."""
    metric = registry().make("metric", name, {})
    value: NDArray[np.float64] = metric(*map(torch.from_numpy, map(np.ascontiguousarray, (images, reference)))).numpy()
    return value


def _cell(row: xr.Dataset, name: str, **at: Any) -> str:
    own = row.sel(at)
    return ends_text([float(own[f"{name}_{end}"]) for end in ENDS])


def _agreement_lines(name: str, row: xr.Dataset) -> list[str]:
    times = row["time"].values[::3].tolist()  # the noisiest first
    lines = [f"{name}: along the network's flow, cosine of eps / relative error of x0hat, medians"]
    lines += ["  ".join([" " * 8, *(f"{f't = {time:.2f}':>13}" for time in times)])]
    for theory in row["theory"].values.tolist():
        at = row.sel(theory=theory, time=times)
        pairs = zip(at["eps_cosine_median"].values, at["denoised_error_median"].values, strict=True)
        lines += ["  ".join([f"{theory:8}", *(f"{f'{cosine:.4f} / {error:.2g}':>13}" for cosine, error in pairs)])]
    return lines


def _share_lines(name: str, row: xr.Dataset) -> list[str]:
    lines = [f"{name}: share of the times that a theory takes, s / a there, median r with the network's own image"]
    firsts = row["first"].values.tolist()
    for share in row["share"].values.tolist():
        ratio = float(row["noise_to_signal"].sel(share=share))
        cells = [f"{first} {_cell(row, 'pearson_r', first=first, share=share)}" for first in firsts]
        lines += ["  ".join([f"{share:6.0%}", f"{ratio:7.3g}", *cells])]
    for first in firsts:
        for threshold in row["threshold"].values.tolist():
            own = row.sel(first=first, threshold=threshold)
            largest, low, high = (float(own[f"largest_share{end}"]) for end in ("", "_low", "_high"))
            lines += [
                f"{name}: {first} takes up to {largest:.0%} [{low:.0%}, {high:.0%}] of the times with a median r of at "
                f"least {threshold:g}"
            ]
    return lines


def _edm_lines(name: str, row: xr.Dataset) -> list[str]:
    """Say r by the number of EDM's steps that are skipped; and the claim, step by step."""
    lines = [f"{name}: of EDM's 18 steps skipped by the Gaussian, sigma there, median r with the network's own image"]
    for skipped in row["skipped"].values.tolist():
        sigma = float(row["edm_noise_to_signal"].sel(skipped=skipped))
        mark = "  claimed" if skipped in CLAIMED_STEPS else ""
        lines += ["  ".join([f"{skipped:6}", f"{sigma:7.3g}", _cell(row, "edm_pearson_r", skipped=skipped)]) + mark]
    lows = {f"{skipped} steps": row["edm_pearson_r_low"].sel(skipped=skipped) for skipped in CLAIMED_STEPS}
    gaussian = row["pearson_r_low"].sel(first="gaussian")
    lows |= {f"{share:.0%} of the times": gaussian.sel(share=share) for share in CLAIMED}
    for threshold in row["threshold"].values.tolist():
        holds = ", ".join(f"{what} {'yes' if float(low) >= threshold else 'no'}" for what, low in lows.items())
        largest = (float(row[f"largest_skipped{end}"].sel(threshold=threshold)) for end in ("", "_low", "_high"))
        cells = "{:g} [{:g}, {:g}]".format(*largest)
        lines += [
            f"{name}: gaussian takes up to {cells} of EDM's steps with a median r of at least {threshold:g}",
            f"{name}: the interval of r lies at {threshold:g} or above after {holds}",
        ]
    return lines
