"""Metrics of stored runs, with the window size and the boundary of the run that they judge; nearest training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from mosaic.device import standard_torch
from mosaic.engine.nearest import nearest_images
from mosaic.errors import UsageError
from mosaic.interfaces.dataset import DataSet
from mosaic.interfaces.metric import Metric
from mosaic.progress import Progress
from mosaic.registry.loading import registry
from mosaic.sampling.scales import nearest_window
from mosaic.storage.requirements import check_steps, known_values, require, setting_of, tensor_of

__all__ = ["describe_metric", "measure", "metric_for", "nearest_training"]


def metric_for(run: xr.Dataset, name: str, options: Mapping[str, Any], dataset: DataSet | None) -> Metric:
    """Make a metric that judges a run: its options `k` and `boundary` are those of the run's last step, unless given.

    Raises
    ------
    PluginError
        If it is unknown.
    UsageError
        If an option cannot be used, or it needs the training set and is given none.
    DataError
        If it has an option `k` that is not given, and the run does not go to its end.
    """
    kind: type[Metric] = registry().get("metric", name)
    missing = kind.Options.model_fields.keys() - options.keys()
    own: dict[str, Any] = {}
    if "k" in missing:
        check_steps(run)
        scale = float(known_values(run, "scale")[-1])
        # A soft window counts as much as a hard one of its scale; none sees more than all of the image from any pixel.
        most = 2 * max(require(run, ("image",))["image"].shape[2:]) - 1
        own["k"] = min(nearest_window(scale), most) if scale else None
    if "boundary" in missing:
        own["boundary"] = setting_of(run, "score_options").get("boundary")
    known = {key: value for key, value in own.items() if value is not None}
    made: Metric = registry().make("metric", name, {**known, **options}, dataset)
    return made


@standard_torch()
def measure(run: xr.Dataset, name: str, options: Mapping[str, Any], dataset: DataSet | None) -> xr.DataArray:
    """Give the values (sample) of a metric of a run's final images.

    Raises
    ------
    UsageError
        If the metric compares images with others, and as `metric_for`.
    """
    if registry().get("metric", name).compares:
        raise UsageError(f"Metric '{name}' compares images with those of another run; use mosaic.compare.")
    metric = metric_for(run, name, options, dataset)
    labels = tensor_of(run, "label")
    values = metric(tensor_of(run, "image"), None, labels).cpu().numpy()
    attributes = {"long_name": describe_metric(metric), "units": "1"}
    return xr.DataArray(values, {"sample": run["sample"]}, ("sample",), name, attributes)


def nearest_training(run: xr.Dataset, dataset: DataSet, progress: Progress) -> xr.Dataset:
    """Find the training image nearest to each final image: `distance` (L2) and `image`, its position, both (sample)."""
    distances, places = nearest_images(tensor_of(run, "image"), dataset.images.cpu(), progress=progress)
    columns = {"distance": (distances, "L2 to the training image"), "image": (places, "the nearest training image")}
    variables = {
        name: ("sample", values[:, 0].numpy(), {"long_name": text, "units": "1"})
        for name, (values, text) in columns.items()
    }
    return xr.Dataset(variables, {"sample": run["sample"]})


def describe_metric(metric: Metric) -> str:
    """First line of what a metric says about itself."""
    return (type(metric).__doc__ or metric.name).strip().splitlines()[0]
