"""Figure 3: mosaics of two images, one black and one white.

With windows of 3 x 3 every pixel ends, in the limit of many steps, in the colour that most of its window has.

References: Kamb & Ganguli 2025, fig. 3 and theorem 4.1.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.reproduction.study.forecast import Step
from mosaic.reproduction.study.target import Target
from mosaic.run.config import RunConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Fig3", "in_the_majority"]

STEPS = (5, 20, 100, 1000)
BOUNDARIES = ("circular", "zeros")
SAMPLES = 16
TOLERANCE = 1e-2
SHARES = {"": "share", ", grey pixels by their sign": "share_by_sign"}


def in_the_majority(images: np.ndarray, boundary: str, by_sign: bool = False) -> np.ndarray:
    """Say which pixels have the colour, -1 or +1, that most of their 3 x 3 window has.

    Parameters
    ----------
    images : array (B, 1, H, W)
        Final images. Pixels count as black or white by their sign.
    boundary : {"circular", "zeros"}
        What a window sees beyond the border: the other side, or nothing. With nothing, windows at the border can hold
        an even number of pixels; a pixel whose window is half black and half white may be either.
    by_sign : bool
        Whether pixels that are still grey count by their sign, too.

    Returns
    -------
    array (B, 1, H, W), bool
        True within 1e-2 of the colour; `by_sign`, where it is the nearer one.
    """
    mode = {"circular": {"mode": "wrap"}, "zeros": {"mode": "constant"}}[boundary]
    signs = np.pad(np.sign(images), ((0, 0), (0, 0), (1, 1), (1, 1)), **mode)  # type: ignore[call-overload]
    height, width = images.shape[-2:]
    votes = sum(signs[..., i : i + height, j : j + width] for i in range(3) for j in range(3))
    colour = np.where(votes == 0, np.sign(images), np.sign(votes))
    agree: np.ndarray = np.sign(images) == colour if by_sign else np.abs(images - colour) <= TOLERANCE
    return agree


class Fig3(Target):
    """Figure 3: mosaics of a black and a white image, and the share of pixels in the majority of their window."""

    name = "fig3"
    most_rows = 0

    def _config(self, boundary: str, steps: int) -> RunConfig:
        return RunConfig(
            score="els",
            score_options={"boundary": boundary},
            dataset="black-white",
            scales="3",
            steps=steps,
            samples=SAMPLES,
            batch_size=SAMPLES,
            seed=self.study.config.seed,
            device=self.study.config.device,
        )

    def _runs(self) -> dict[str, tuple[RunConfig, Path]]:
        """Configuration and file of every run, by its step's name; numbers of steps within boundaries."""
        stems = {f"{boundary}-{steps}": (boundary, steps) for boundary in BOUNDARIES for steps in STEPS}
        folder = self.study.folder / "fig3"
        return {f"fig3: {stem}": (self._config(*key), folder / f"{stem}.nc") for stem, key in stems.items()}

    def steps(self) -> list[Step]:
        """A run for each boundary and each number of steps, all from the same noise."""
        return [
            Step(name, partial(self.study.run_job, config, path), seconds=partial(self.study.run_seconds, config))
            for name, (config, path) in self._runs().items()
        ]

    def measure(self) -> xr.Dataset:
        """Run ELS with both boundaries at every number of steps.

        Returns
        -------
        xarray.Dataset
            `image` (boundary, steps, sample, channel, height, width), `in_majority` likewise, and `share` (boundary,
            steps, sample) of the pixels in the majority; `share_by_sign` counts those that are still grey, too.
        """
        images = []
        for name, (config, path) in self._runs().items():
            with self.study.run(name, config, path) as run:
                images.append(run["image"].values)
        every = np.stack(images).reshape(len(BOUNDARIES), len(STEPS), *images[0].shape)
        pairs = list(zip(BOUNDARIES, every, strict=True))
        agree = np.stack([[in_the_majority(final, name) for final in row] for name, row in pairs])
        by_sign = np.stack([[in_the_majority(final, name, by_sign=True) for final in row] for name, row in pairs])
        dims = ("boundary", "steps", "sample", "channel", "height", "width")
        variables = {
            "image": (dims, every),
            "in_majority": (dims, agree),
            "share": (dims[:3], agree.mean((3, 4, 5)), {"long_name": "share of pixels in the majority"}),
            "share_by_sign": (dims[:3], by_sign.mean((3, 4, 5)), {"long_name": "the same, grey pixels by their sign"}),
        }
        return xr.Dataset(variables, {"boundary": list(BOUNDARIES), "steps": list(STEPS)})

    def summary(self, measured: xr.Dataset) -> list[str]:
        """Mean share over samples at each number of steps: a line for each boundary and each way of counting."""
        means = {text: measured[name].mean("sample") for text, name in SHARES.items()}
        return [
            f"boundary {boundary}{text}: "
            + ", ".join(f"{100 * float(shares.sel(boundary=boundary, steps=n)):.1f} % at {n} steps" for n in STEPS)
            for boundary in BOUNDARIES
            for text, shares in means.items()
        ]

    def draw(self, measured: xr.Dataset) -> Figure:
        """Draw one sample at every number of steps, pixels out of the majority in orange, and the mean shares."""
        from mosaic.view.figure import grid, name_rows

        shape = measured.sizes["height"], measured.sizes["width"]
        title = (
            "mosaics of a black and a white image, k = 3; orange: not the colour of most of its 3 x 3 window\n"
            f"share of pixels in the majority, mean of {measured.sizes['sample']} samples"
        )
        figure, axes = grid(len(BOUNDARIES), len(STEPS), shape, title, size=8, side=1.7, above=9, left=0.8)
        for row, boundary in enumerate(BOUNDARIES):
            for column, steps in enumerate(STEPS):
                cell = measured.sel(boundary=boundary, steps=steps)
                grey = (cell["image"].isel(sample=0, channel=0).values.clip(-1, 1) + 1) / 2
                coloured = np.repeat(grey[..., None], 3, axis=-1)
                coloured[~cell["in_majority"].isel(sample=0, channel=0).values] = (0.9, 0.6, 0.0)
                axes[row, column].imshow(coloured, interpolation="nearest")
                axes[row, column].set_title(f"{steps} steps: {100 * float(cell['share'].mean()):.1f} %", fontsize=8)
        name_rows(axes, [f"boundary\n{boundary}" for boundary in BOUNDARIES], 8)
        return figure
