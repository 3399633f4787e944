"""Figure 3: mosaics of two images, one black and one white.

With windows of 3 x 3 every pixel ends, in the limit of many steps, in the colour that most of its window has.

References: Kamb & Ganguli 2025, fig. 3 and theorem 4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from mosaic.config import RunConfig
from mosaic.picture import grid
from mosaic.reproduction.duration import Forecast
from mosaic.reproduction.target import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Fig3", "in_the_majority"]

STEPS = (5, 20, 100, 1000)
BOUNDARIES = ("circular", "zeros")
SAMPLES = 16
TOLERANCE = 1e-2


def in_the_majority(images: np.ndarray, boundary: str, by_sign: bool = False) -> np.ndarray:
    """Tell which pixels have the colour, -1 or +1, that most of their 3 x 3 window has.

    Parameters
    ----------
    images : array (B, 1, H, W)
        Final images. Pixels count as black or white by their sign.
    boundary : {"circular", "zeros"}
        What a window sees beyond the border: the other side, or nothing. With nothing there are even windows: a pixel
        whose window is half black and half white may be either.
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
    found: np.ndarray = np.sign(images) == colour if by_sign else np.abs(images - colour) <= TOLERANCE
    return found


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

    def _runs(self) -> dict[tuple[str, int], str]:
        return {(boundary, steps): f"{boundary}-{steps}" for boundary in BOUNDARIES for steps in STEPS}

    def forecast(self) -> list[Forecast]:
        """Tell the runs and their times."""
        return [
            self.study.forecast_run(f"fig3: {stem}", self._config(*key), self.study.folder / "fig3" / f"{stem}.nc")
            for key, stem in self._runs().items()
        ]

    def measure(self) -> xr.Dataset:
        """Run ELS with both boundaries at every number of steps.

        Returns
        -------
        xarray.Dataset
            `image` (boundary, steps, sample, channel, height, width), `in_majority` likewise, and `share` (boundary,
            steps, sample) of the pixels in the majority; `share_by_sign` counts those that are still grey, too.
        """
        folder = self.study.folder / "fig3"
        folder.mkdir(exist_ok=True)
        images = []
        for key, stem in self._runs().items():
            with self.study.run(f"fig3: {stem}", self._config(*key), folder / f"{stem}.nc") as run:
                images.append(run["image"].values)
        shape = (len(BOUNDARIES), len(STEPS))
        whole = np.stack(images).reshape(*shape, *images[0].shape)
        pairs = list(zip(BOUNDARIES, whole, strict=True))
        agree = np.stack([[in_the_majority(one, name) for one in row] for name, row in pairs])
        alike = np.stack([[in_the_majority(one, name, by_sign=True) for one in row] for name, row in pairs])
        dims = ("boundary", "steps", "sample", "channel", "height", "width")
        variables = {
            "image": (dims, whole),
            "in_majority": (dims, agree),
            "share": (dims[:3], agree.mean((3, 4, 5)), {"long_name": "share of pixels in the majority"}),
            "share_by_sign": (dims[:3], alike.mean((3, 4, 5)), {"long_name": "the same, grey pixels by their sign"}),
        }
        return xr.Dataset(variables, {"boundary": list(BOUNDARIES), "steps": list(STEPS)})

    def told(self, found: xr.Dataset) -> list[str]:
        """Tell the mean shares."""
        ways = {"": found["share"].mean("sample"), ", grey pixels by their sign": found["share_by_sign"].mean("sample")}
        return [
            f"boundary {boundary}{words}: "
            + ", ".join(f"{100 * float(shares.sel(boundary=boundary, steps=n)):.1f} % at {n} steps" for n in STEPS)
            for boundary in BOUNDARIES
            for words, shares in ways.items()
        ]

    def draw(self, found: xr.Dataset) -> Figure:
        """Draw one sample at every number of steps, pixels out of the majority in orange, and the mean shares."""
        figure, axes = grid(len(BOUNDARIES), len(STEPS), 1.7, 1.2)
        for row, boundary in enumerate(BOUNDARIES):
            for column, steps in enumerate(STEPS):
                one = found.sel(boundary=boundary, steps=steps)
                shown = (one["image"].isel(sample=0, channel=0).values.clip(-1, 1) + 1) / 2
                coloured = np.repeat(shown[..., None], 3, axis=-1)
                coloured[~one["in_majority"].isel(sample=0, channel=0).values] = (0.9, 0.6, 0.0)
                axes[row, column].imshow(coloured, interpolation="nearest")
                axes[row, column].set_title(f"{steps} steps: {100 * float(one['share'].mean()):.1f} %", fontsize=8)
            axes[row, 0].set_ylabel(f"boundary {boundary}", fontsize=8)
        words = "mosaics of a black and a white image, k = 3; orange: not the colour of most of its 3 x 3 window\n"
        figure.suptitle(f"{words}share of pixels in the majority, mean of {found.sizes['sample']} samples", fontsize=8)
        return figure
