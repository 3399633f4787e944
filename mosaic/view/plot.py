"""`result.mosaic.plot`: the pictures of a result, one method each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from mosaic.errors import DataError
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.registry.data import data_access
from mosaic.storage.requirements import attribute_of, check_samples, require
from mosaic.storage.schema import (
    CALIBRATION_SCHEMA,
    COMPARISON_SCHEMA,
    LEADERBOARD_SCHEMA,
    SAVED_WITH_IMAGE,
    TRAJECTORY_SCHEMA,
)
from mosaic.storage.trajectory import training_set_of
from mosaic.view.comparison import draw_agreement, draw_side_by_side
from mosaic.view.entropy import draw_entropy
from mosaic.view.images import draw_flow, draw_images
from mosaic.view.leaderboard import draw_leaderboard
from mosaic.view.provenance import draw_provenance
from mosaic.view.scales import draw_run_scales, draw_scales
from mosaic.view.sources import draw_sources

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NEEDS", "PICTURED", "Plots", "kinds_of"]

# What each picture needs, by the kind of result; the first of a kind is the one that `mosaic plot` draws by default.
NEEDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    TRAJECTORY_SCHEMA: {
        "flow": ("state", "denoised", "image"),
        "images": ("image",),
        "provenance": ("image", *SAVED_WITH_IMAGE),
        "entropy": ("entropy",),
        "scales": ("scale",),
        "sources": (*SAVED_WITH_IMAGE,),
    },
    COMPARISON_SCHEMA: {"images": ("image",), "agreement": ("image",)},
    CALIBRATION_SCHEMA: {"scales": ("best",)},
    LEADERBOARD_SCHEMA: {"agreement": ("seconds_per_step",)},
}
PICTURED = {
    TRAJECTORY_SCHEMA: "a run",
    COMPARISON_SCHEMA: "a comparison",
    CALIBRATION_SCHEMA: "a calibration",
    LEADERBOARD_SCHEMA: "a leaderboard",
}
Samples = int | Sequence[int]


def kinds_of(result: xr.Dataset) -> list[str]:
    """Name the pictures that a result has, by what it holds, the usual one first; reads no values."""
    schema = result.attrs.get("schema")
    return [name for name in NEEDS.get(str(schema), ()) if not _lacks(result, name)]


def _lacks(result: xr.Dataset, name: str) -> list[str]:
    """What a picture of this kind of result needs, and this one has not."""
    needed = NEEDS[str(result.attrs["schema"])][name]
    missing = [variable for variable in needed if variable not in result.variables]
    if name == "entropy" and "n_eff" in result.variables:
        return []
    if name == "scales" and "traits" in result.attrs and not attribute_of(result, "traits").get("has_scale", True):
        return ["scale"]
    return missing


class Plots:
    """Pictures of a run, comparison, calibration or leaderboard, as matplotlib figures that a notebook shows.

    `dir(result.mosaic.plot)` lists those that it has; others are refused. `figure.savefig(path)` keeps one.
    """

    def __init__(self, result: xr.Dataset) -> None:
        self._result = result

    def __dir__(self) -> list[str]:
        return kinds_of(self._result)

    def __repr__(self) -> str:
        return f"<pictures: {', '.join(kinds_of(self._result)) or 'none'}>"

    @checked()
    def flow(self, samples: Samples = 0, columns: int = 10) -> Figure:
        """Draw the reverse flow of chosen samples: states above, denoised images below, from noise to data.

        Parameters
        ----------
        samples : int or sequence of int
            Positions in the run.
        columns : int
            Steps shown, evenly spaced, first and last included.

        Raises
        ------
        UsageError, DataError
            If a sample is not in the run, or the run does not hold what is drawn; so for all pictures.
        """
        self._check("flow")
        return draw_flow(self._result, _listed(samples), columns)

    @checked()
    def images(self, limit: int | None = None) -> Figure:
        """Draw final images: of a run as a grid, of a comparison side by side, with the first metric.

        Parameters
        ----------
        limit : int, optional
            Samples drawn at most, the first ones; by default 64 of a run, 12 of a comparison.
        """
        self._check("images")
        if self._schema() == COMPARISON_SCHEMA:
            return draw_side_by_side(self._result, limit=limit or 12)
        return draw_images(self._result, limit or 64)

    @checked()
    def provenance(self, samples: Samples = 0, dataset: DataSet | None = None) -> Figure:
        """Draw final images as mosaics: their tiles by training image, and the images that most pixels come from.

        Parameters
        ----------
        samples : int or sequence of int
            Positions in the run.
        dataset : DataSet, optional
            The training set; by default it is read again, as by `run.mosaic.training_set`.
        """
        self._check("provenance")
        check_samples(self._result, _listed(samples))  # before the training set is read, which can take long
        given = training_set_of(self._result, data_access(None)) if dataset is None else dataset
        return draw_provenance(self._result, _listed(samples), given)

    @checked()
    def entropy(self, samples: Samples = 0, columns: int = 8) -> Figure:
        """Draw the effective number of candidates, exp of the posterior's entropy, by pixel and over time.

        Parameters
        ----------
        samples : int or sequence of int
            Positions in the run.
        columns : int
            Steps shown, evenly spaced, first and last included.
        """
        self._check("entropy")
        return draw_entropy(self._result, _listed(samples), columns)

    @checked()
    def scales(self) -> Figure:
        """Draw locality scales over time: those of a run, or what a calibration found."""
        self._check("scales")
        is_calibration = self._schema() == CALIBRATION_SCHEMA
        return draw_scales(self._result) if is_calibration else draw_run_scales(self._result)

    @checked()
    def sources(self) -> Figure:
        """Draw how many training images each sample is made of, and in tiles of what sizes."""
        self._check("sources")
        return draw_sources(self._result)

    @checked()
    def agreement(self) -> Figure:
        """Draw how far run and reference of a comparison agree, or theories and network of a leaderboard."""
        self._check("agreement")
        is_board = self._schema() == LEADERBOARD_SCHEMA
        return draw_leaderboard(self._result) if is_board else draw_agreement(self._result)

    def _schema(self) -> str:
        return str(self._result.attrs.get("schema", ""))

    def _check(self, kind: str) -> None:
        """Refuse a picture that the result does not have.

        Raises
        ------
        DataError
            With the pictures that it has.
        """
        available = kinds_of(self._result)
        if kind in available:
            return
        if self._schema() not in PICTURED:
            raise DataError(
                f"This data set is none of {', '.join(PICTURED.values())}, by its attribute 'schema', and has no "
                f"pictures; open a stored result, such as by mosaic.open."
            )
        file, what = self._result.encoding.get("source"), PICTURED[self._schema()].removeprefix("a ")
        who = f"The {what} from '{file}'" if file else f"The {what}"
        others = f"Pictures that it has: {', '.join(available) or 'none'}."
        if kind not in NEEDS[self._schema()]:
            raise DataError(f"{who} has no picture '{kind}'. {others}")
        try:
            if self._schema() == TRAJECTORY_SCHEMA:
                require(self._result, _lacks(self._result, kind))
        except DataError as error:
            raise DataError(f"{error} {others}") from None
        lacking = ", ".join(_lacks(self._result, kind))
        raise DataError(f"{who} lacks what the picture '{kind}' needs ({lacking}). {others}")


def _listed(samples: Samples) -> list[int]:
    return [int(sample) for sample in (samples if isinstance(samples, Sequence) else [samples])]
