"""`result.mosaic.plot`: the pictures of a result, one method each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from mosaic.errors import DataError, UsageError, did_you_mean
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.registry.data import data_access
from mosaic.storage.requirements import attribute_of, check_samples, require
from mosaic.storage.schema import (
    CALIBRATION_SCHEMA,
    COMPARISON_SCHEMA,
    GENERALIZATION_SCHEMA,
    LEADERBOARD_SCHEMA,
    PROBE_SCHEMA,
    TRAJECTORY_SCHEMA,
)
from mosaic.storage.trajectory import training_set_of
from mosaic.view.comparison import COMPARISON_NEEDS, draw_agreement, draw_side_by_side
from mosaic.view.entropy import draw_entropy, entropy_needs
from mosaic.view.generalization import LOSSES_NEED, draw_losses
from mosaic.view.images import FLOW_NEEDS, IMAGES_NEED, draw_flow, draw_images
from mosaic.view.leaderboard import draw_leaderboard, leaderboard_needs
from mosaic.view.probe import CURVES_NEED, FIELDS_NEED, MODES_NEED, draw_curves, draw_fields, draw_modes
from mosaic.view.provenance import PROVENANCE_NEEDS, draw_provenance
from mosaic.view.scales import RUN_SCALES_NEED, SCALES_NEED, draw_run_scales, draw_scales
from mosaic.view.sources import SOURCES_NEED, draw_sources

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["NEEDS", "PICTURED", "Plots", "kinds_of"]

# What each picture needs, as its module says, by the kind of result; a function where that depends on the result. The
# first of a kind is the one that `mosaic plot` draws by default.
NEEDS: Mapping[str, Mapping[str, tuple[str, ...] | Callable[[xr.Dataset], tuple[str, ...]]]] = {
    TRAJECTORY_SCHEMA: {
        "flow": FLOW_NEEDS,
        "images": IMAGES_NEED,
        "provenance": PROVENANCE_NEEDS,
        "entropy": entropy_needs,
        "scales": RUN_SCALES_NEED,
        "sources": SOURCES_NEED,
    },
    COMPARISON_SCHEMA: {"images": COMPARISON_NEEDS, "agreement": COMPARISON_NEEDS},
    CALIBRATION_SCHEMA: {"scales": SCALES_NEED},
    LEADERBOARD_SCHEMA: {"agreement": leaderboard_needs},
    PROBE_SCHEMA: {"curves": CURVES_NEED, "fields": FIELDS_NEED, "modes": MODES_NEED},
    GENERALIZATION_SCHEMA: {"losses": LOSSES_NEED},
}
PICTURED = {
    TRAJECTORY_SCHEMA: "a run",
    COMPARISON_SCHEMA: "a comparison",
    CALIBRATION_SCHEMA: "a calibration",
    LEADERBOARD_SCHEMA: "a leaderboard",
    PROBE_SCHEMA: "a probe",
    GENERALIZATION_SCHEMA: "a generalization gap",
}
Samples = int | Sequence[int]


def kinds_of(result: xr.Dataset) -> list[str]:
    """Name the pictures that a result has, by what it holds, the usual one first; reads no values."""
    return [name for name in NEEDS.get(_schema_of(result), ()) if not _lacks(result, name)]


def _lacks(result: xr.Dataset, name: str) -> list[str]:
    """What a picture of this kind of result needs, and this one has not."""
    needs = NEEDS[_schema_of(result)][name]
    needed = needs(result) if callable(needs) else needs
    missing = [variable for variable in needed if variable not in result.variables]
    return missing or (["scale"] if name == "scales" and _is_without_scale(result) else [])


def _is_without_scale(result: xr.Dataset) -> bool:
    """Whether a result says that its score model has no scale; what is damaged says nothing."""
    try:
        return not attribute_of(result, "traits").get("has_scale", True)
    except DataError:
        return False


def _schema_of(result: xr.Dataset) -> str:
    return str(result.attrs.get("schema", ""))


class Plots:
    """Pictures of a run or other result, as matplotlib figures that a notebook shows.

    `dir(result.mosaic.plot)` lists those that it has; others are refused. `figure.savefig(path)` keeps one.
    """

    def __init__(self, result: xr.Dataset) -> None:
        self._result = result

    def __dir__(self) -> list[str]:
        return kinds_of(self._result)

    def __getattr__(self, name: str) -> Any:
        pictures = kinds_of(self._result)
        raise AttributeError(
            f"There is no picture '{name}'.{did_you_mean(name, pictures)} Pictures: {', '.join(pictures) or 'none'}."
        )

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
        return draw_flow(self._result, _listed(samples), _positive("columns", columns))

    @checked()
    def images(self, limit: int | None = None) -> Figure:
        """Draw final images: of a run as a grid, of a comparison side by side, with the first metric.

        Parameters
        ----------
        limit : int, optional
            Samples drawn at most, the first ones; by default 64 of a run, 12 of a comparison.
        """
        self._check("images")
        is_comparison = _schema_of(self._result) == COMPARISON_SCHEMA
        most = _positive("limit", (12 if is_comparison else 64) if limit is None else limit)
        return draw_side_by_side(self._result, limit=most) if is_comparison else draw_images(self._result, most)

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
        return draw_entropy(self._result, _listed(samples), _positive("columns", columns))

    @checked()
    def scales(self) -> Figure:
        """Draw locality scales over time: those of a run, or what a calibration found."""
        self._check("scales")
        is_calibration = _schema_of(self._result) == CALIBRATION_SCHEMA
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
        is_board = _schema_of(self._result) == LEADERBOARD_SCHEMA
        return draw_leaderboard(self._result) if is_board else draw_agreement(self._result)

    @checked()
    def curves(self) -> Figure:
        """Draw what a probe measures of each score over time: curl, rank, receptive field, equivariance error, ..."""
        self._check("curves")
        return draw_curves(self._result)

    @checked()
    def fields(self, columns: int = 10) -> Figure:
        """Draw the receptive fields of a probe, a row for each score.

        Parameters
        ----------
        columns : int
            Times shown, evenly spaced, first and last included.
        """
        self._check("fields")
        return draw_fields(self._result, _positive("columns", columns))

    @checked()
    def modes(self, samples: Samples = 0, columns: int = 10) -> Figure:
        """Draw the leading eigenvectors of a probe's Jacobians, at up to three times, below their eigenvalues.

        Parameters
        ----------
        samples : int or sequence of int
            Positions in the probe.
        columns : int
            Eigenvectors shown, the first ones.
        """
        self._check("modes")
        return draw_modes(self._result, _listed(samples), _positive("columns", columns))

    @checked()
    def losses(self) -> Figure:
        """Draw the losses of training and held-out images over time, and the gap between them."""
        self._check("losses")
        return draw_losses(self._result)

    def _check(self, kind: str) -> None:
        """Refuse a picture that the result does not have.

        Raises
        ------
        DataError
            With the pictures that it has.
        """
        available, schema = kinds_of(self._result), _schema_of(self._result)
        if kind in available:
            return
        if schema not in PICTURED:
            raise DataError(
                f"This data set is none of {', '.join(PICTURED.values())}, by its attribute 'schema', and has no "
                f"pictures; open a stored result, such as by mosaic.open."
            )
        file, what = self._result.encoding.get("source"), PICTURED[schema].removeprefix("a ")
        who = f"The {what} from '{file}'" if file else f"The {what}"
        others = f"Pictures that it has: {', '.join(available) or 'none'}."
        if kind not in NEEDS[schema]:
            raise DataError(f"{who} has no picture '{kind}'. {others}")
        lacking = _lacks(self._result, kind)
        try:
            if schema == TRAJECTORY_SCHEMA:
                require(self._result, lacking)  # says how to run so that it is kept
        except DataError as error:
            raise DataError(f"{error} {others}") from None
        if schema == TRAJECTORY_SCHEMA:
            raise DataError(f"{who} is of a score model without locality scales. {others}")
        raise DataError(f"{who} lacks '{', '.join(lacking)}', so it has no picture '{kind}'. {others}")


def _positive(name: str, value: int) -> int:
    """Refuse a number of what is shown that shows nothing.

    Raises
    ------
    UsageError
        If it is below 1.
    """
    if value < 1:
        raise UsageError(f"`{name}` is {value}; it must be at least 1.")
    return int(value)


def _listed(samples: Samples) -> list[int]:
    return [int(sample) for sample in (samples if isinstance(samples, Sequence) else [samples])]
