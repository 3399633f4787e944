"""`run.mosaic`: questions to a stored run, answered with xarray; and the pictures of any result."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import xarray as xr

from mosaic.errors import DataError, UsageError
from mosaic.interfaces.arguments import checked
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.html import brightness
from mosaic.progress import Progress, reporting
from mosaic.registry.data import data_access
from mosaic.registry.loading import registry
from mosaic.storage.requirements import as_run, attribute_of, check_samples, check_steps, known_values, require
from mosaic.storage.schema import LEADERBOARD_SCHEMA
from mosaic.storage.trajectory import check_training_set, open_trajectory, training_set_of
from mosaic.view.leaderboard import ranking_of
from mosaic.view.measure import measure, nearest_training
from mosaic.view.mosaics import CANDIDATE_PLACE, SOURCE_PLACE, collapse_times, pixels_of_candidates, sources_of
from mosaic.view.plot import Plots
from mosaic.view.report.report import Report, report
from mosaic.view.summary import line_of, table_of

__all__ = ["MosaicAccessor", "open"]


@checked()
def open(path: str | PathLike[str]) -> xr.Dataset:
    """Open a stored run, lazily, with `run.mosaic`, selected from by step or by time.

    `xarray.open_dataset` opens it as well. This checks that it is a run, and adds an index over `time`, which netCDF
    does not store: `run.sel(time=0.5, method="nearest")`. xarray aligns what is indexed, so runs of other times can be
    combined by step only after `run.drop_indexes("time")`; so can `step` be stacked.

    Raises
    ------
    DataError
        If there is no such file, or it is not a trajectory of a schema known here.
    """
    return open_trajectory(path)


@xr.register_dataset_accessor("mosaic")  # type: ignore[no-untyped-call]
class MosaicAccessor:
    """Questions to a run as `mosaic.open` and `mosaic.run` give it; `import mosaic.view.accessor` adds
    them to any data set. The pictures, `plot`, are also those of other results.

    Methods that need the training set read it again, as the run's configuration and MOSAIC_DATA say, and refuse it if
    it has changed. The argument `dataset` passes it in, for example from `run.mosaic.training_set(data_dir)`; another
    data set is refused. What is asked of a run that was changed is found by name, or refused with a `DataError`.
    """

    def __init__(self, run: xr.Dataset) -> None:
        self._result, self._run = run, as_run(run)

    def __repr__(self) -> str:
        return line_of(self._result)

    def _repr_html_(self) -> str:
        return table_of(self._result)

    @property
    def plot(self) -> Plots:
        """The pictures of a run or other result: `run.mosaic.plot.flow()` and others.

        Each is a matplotlib figure, which a notebook shows; `dir(run.mosaic.plot)` lists those of this result.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("els", "digits", steps=3, samples=1)
        >>> dir(run.mosaic.plot)
        ['flow', 'images', 'provenance', 'scales', 'sources']
        >>> run.mosaic.plot.images().savefig("images.png")
        """
        return Plots(self._result)

    @checked()
    def training_set(self, data_dir: str | PathLike[str] | None = None) -> DataSet:
        """Read the training set of the run again.

        Raises
        ------
        DataError
            If it is not there, or is no longer the same.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("ls", "digits", steps=3, samples=1)
        >>> len(run.mosaic.training_set())
        1797
        """
        return training_set_of(self._run, data_access(data_dir))

    @checked()
    def at_time(self, t: float) -> xr.Dataset:
        """Give the run at the step whose time is nearest to t in [0, 1]; refuses other t.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("ls", "digits", steps=4, samples=1)
        >>> float(run.mosaic.at_time(0.3).time)
        0.25
        """
        times, t = known_values(self._run, "time").values, float(t)
        if not 0 <= t <= 1:
            raise UsageError(f"t is {t}; times go from 0 (data) to 1 (noise).")
        return self._run.isel(step=int(np.abs(times - t).argmin()))

    def to_images(self) -> xr.DataArray:
        """Give the final images to show (sample, height, width, channel), in [0, 1], clamped to the data's range.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("ls", "digits", steps=3, samples=2)
        >>> run.mosaic.to_images().sizes["sample"]
        2
        """
        low, high = attribute_of(self._run, "dataset_range")
        images = known_values(self._run, "image")
        shown = images.copy(data=brightness(images.values, low, high))
        shown.attrs = {"long_name": "final image, clamped", "units": "1"}
        return shown.transpose("sample", "height", "width", "channel")

    def provenance(self) -> xr.Dataset:
        """Give where each final pixel comes from: the centre of the training window nearest to its own.

        Returns
        -------
        xarray.Dataset
            `source_image`, `source_row`, `source_column`, `multiplicity` (sample, height, width).

        Raises
        ------
        DataError
            If the run does not hold it.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("ls", "digits", steps=3, samples=2)
        >>> run.mosaic.provenance().source_image.dims
        ('sample', 'height', 'width')
        """
        attribute_of(self._run, "configuration")
        return self._known(*SOURCE_PLACE, "multiplicity")

    @checked()
    def mosaic_map(self, sample: int = 0, dataset: DataSet | None = None) -> xr.DataArray:
        """Rebuild a final image (channel, height, width) from the pixels of its last step's best candidates.

        `sample` is the position in the run. The result equals the image, except for the weight of other candidates at
        the last noise level (Kamb & Ganguli 2025, theorem 4.1). This difference shrinks with the number of steps.

        Raises
        ------
        DataError
            If the run does not hold the candidates of its last step.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("els", "digits", steps=100, samples=1)
        >>> bool(abs(run.mosaic.mosaic_map(0) - run.image.isel(sample=0)).max() < 0.001)
        True
        """
        sample = int(sample)
        check_steps(self._run)
        require(self._run, CANDIDATE_PLACE)
        check_samples(self._run, [sample])
        return pixels_of_candidates(self._run.isel(sample=[sample], step=[-1]), self._given(dataset))

    def sources(self) -> xr.Dataset:
        """Count what each final image is made of.

        A tile is a piece copied whole: pixels connected by their sides whose sources are neighbours in the same way.
        Blank windows are equal to thousands of others, so that their source is only a convention. Therefore everything
        is counted twice: over all pixels, and over pixels whose source has no known equals (`multiplicity` at most 1).

        Returns
        -------
        xarray.Dataset
            Along (pixels, sample), `pixels` being all or untied: `pixel_share`, how many these are; `images`, the
            number of training images they come from; `largest_share`, the share of them from the one most come from;
            `largest_tile`, its pixels. `tile_size` (pixels, sample, rank): of all tiles, the largest first; 0 for none.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("els", "digits", steps=5, samples=2, scales="3")
        >>> sources = run.mosaic.sources()
        >>> bool((sources.images.sel(pixels="untied") <= sources.images.sel(pixels="all")).all())
        True
        """
        return sources_of(self._run)

    def collapse_time(self) -> xr.DataArray:
        """Say when each pixel is decided: t of the first step from which on its last candidate has most of the weight.

        That candidate is the most probable one of the last step. Its equals count with it, and any of them may be named
        at earlier steps. NaN if no candidate has over half of the weight even at the last step.

        Returns
        -------
        xarray.DataArray (sample, height, width)
            Times t of the reverse flow, 1 at noise.

        Raises
        ------
        DataError
            If the run does not hold the provenance of all steps (`save` provenance, `save_steps` all), or steps were
            selected from it.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("els", "digits", steps=20, samples=1, save_steps="all")
        >>> bool(run.mosaic.collapse_time().max() <= 1)
        True
        """
        check_steps(self._run, all_steps=True)
        return collapse_times(self._known(*CANDIDATE_PLACE, "candidate_weight", "candidate_multiplicity", "time"))

    @checked()
    def nearest_train(self, dataset: DataSet | None = None, *, progress: Progress | bool | None = True) -> xr.Dataset:
        """Find the training image nearest to each final image; `progress` is as for `mosaic.run`.

        Returns
        -------
        xarray.Dataset
            `distance` (L2) and `image`, its position in the training set, both (sample).

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("is", "digits", steps=5, samples=2)
        >>> bool((run.mosaic.nearest_train().distance < 1).all())
        True
        """
        training = self._given(dataset)
        with reporting(progress) as report:
            return nearest_training(self._run, training, report)

    @checked()
    def measure(self, metric: str, dataset: DataSet | None = None, **options: Any) -> xr.DataArray:
        """Judge each final image by a metric that needs no other run.

        Such as `memorized`, whether it is a copy of a training image; `local_consistency`, the share of its pixels that
        equal the centre of the training patch nearest to their window; or one of a plugin. `mosaic.compare` judges
        a run by another one.

        Parameters
        ----------
        metric : str
            A registered name.
        dataset : DataSet, optional
            The training set, where the metric needs it.
        **options
            Options of the metric. Options `k` and `boundary` that are not given are those of the run's last step.

        Returns
        -------
        xarray.DataArray (sample)
            float64; NaN where the metric is undefined.

        Raises
        ------
        UsageError, PluginError
            If the metric is unknown, compares images with others, or an option cannot be used.
        DataError
            If the metric needs the run's last step, and the run does not go to its end.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("is", "digits", steps=5, samples=2)
        >>> run.mosaic.measure("memorized").values.tolist()
        [1.0, 1.0]
        """
        attribute_of(self._run, "configuration")
        needs_dataset = dataset is not None or registry().get("metric", metric).needs_dataset
        return measure(self._run, metric, options, self._given(dataset) if needs_dataset else None)

    def ranking(self) -> xr.Dataset:
        """Give a leaderboard's numbers of each score, over samples and steps: the best first, the network last.

        Returns
        -------
        xarray.Dataset
            Along `score`; `.to_dataframe()` is a table.

        Raises
        ------
        DataError
            If this is not a leaderboard.

        Examples
        --------
        >>> import mosaic
        >>> ideal = mosaic.score("is", "digits")
        >>> settings = {"scores": "gaussian,is", "samples": 2, "steps": 2, "network_steps": 2, "progress": False}
        >>> board = mosaic.leaderboard(ideal, out="board", **settings)
        >>> board.mosaic.ranking().score.values.tolist()
        ['is', 'gaussian', 'network']
        """
        if self._result.attrs.get("schema") != LEADERBOARD_SCHEMA:
            raise DataError("A ranking is that of a leaderboard (mosaic.leaderboard gives one); this is none.")
        return ranking_of(self._result)

    @checked()
    def report(
        self,
        *,
        samples: Sequence[int] | None = None,
        title: str | None = None,
        dataset: DataSet | None = None,
        data_dir: str | PathLike[str] | None = None,
        progress: Progress | bool | None = True,
    ) -> Report:
        """Make a page about the run, in which every pixel can be traced; `mosaic.report` describes the arguments.

        A notebook shows it. `mosaic.report([run, other])` shows several runs side by side.

        Examples
        --------
        >>> import mosaic
        >>> run = mosaic.run("els", "digits", steps=3, samples=2)
        >>> run.mosaic.report().title
        'els on digits'
        """
        return report(self._run, samples=samples, title=title, dataset=dataset, data_dir=data_dir, progress=progress)

    def _given(self, dataset: DataSet | None) -> DataSet:
        """Give the training set: the one that is passed in, if it is the run's, or as it is read again."""
        training = self.training_set() if dataset is None else dataset
        check_training_set(self._run, training)
        return training

    def _known(self, *names: str) -> xr.Dataset:
        return self._run.assign({name: known_values(self._run, name) for name in names})[list(names)]
