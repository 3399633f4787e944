"""The checks that every data set must pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch

from mosaic.errors import UsageError
from mosaic.interfaces.data_source import DataSetOptions, DataSource
from mosaic.interfaces.dataset import DataSet, balanced_subset
from mosaic.interfaces.images import extremes_of
from mosaic.interfaces.schedule import Level
from mosaic.sampling.scales import resolve_scales
from mosaic.testing.case import NotApplicable, PluginCase, require

__all__ = ["CHECKS"]


def _source(case: PluginCase, **more: object) -> DataSource:
    options = case.plugin.Options.parse({**case.options, **more}, case.plugin.name)
    source: DataSource = case.plugin(options, case.access)
    return source


def _loaded(case: PluginCase, **more: object) -> DataSet:
    return _source(case, **more).load()


def it_is_available_and_loads(case: PluginCase) -> None:
    """`available` gives None, and `load` gives a `DataSet`, which checks itself."""
    source = _source(case)
    reason = source.available()
    require(reason is None, f"it is not available here: {reason}")
    dataset = source.load()
    require(isinstance(dataset, DataSet), f"load gave a {type(dataset).__name__}")
    require(dataset.images.device.type == "cpu", f"the images are on {dataset.images.device}, not on the CPU")


def images_and_labels_fit(case: PluginCase) -> None:
    """Images are float32 and use their declared range; every label has a class name."""
    dataset = _loaded(case)
    require(dataset.images.dtype == torch.float32, f"images are {dataset.images.dtype}, not float32")
    low, high = dataset.range
    least, most = extremes_of(dataset.images)
    used = (most - least) / (high - low)
    require(used > 0.25, f"images use {used:.0%} of the range {dataset.range} they declare")
    require(
        (dataset.labels is None) == (not dataset.classes), "there are labels without classes, or classes without labels"
    )


def it_loads_the_same_twice(case: PluginCase) -> None:
    """The same options give the same data, to the bit: an option must seed everything random."""
    first = _loaded(case)
    torch.randn(3, dtype=torch.float32, device="cpu")
    require(first.fingerprint() == _loaded(case).fingerprint(), "the fingerprint differs the second time")


def limit_takes_a_balanced_subset(case: PluginCase) -> None:
    """`limit` and `limit_seed` choose a subset, with classes as even as possible; `skip` leaves out the same one."""
    require(issubclass(case.plugin.Options, DataSetOptions), "its Options do not derive from mosaic.DataSetOptions")
    whole = _loaded(case)
    if len(whole) < 4:
        raise NotApplicable
    half = len(whole) // 2
    subset = _loaded(case, limit=half)
    require(len(subset) == half, f"limit={half} gave {len(subset)} images")
    require(subset.fingerprint() == _loaded(case, limit=half).fingerprint(), "the subset differs the second time")
    if whole.labels is not None and subset.labels is not None:
        fair = whole.labels[balanced_subset(len(whole), half, 0, whole.labels)]
        counts = [
            torch.bincount(labels, minlength=len(whole.classes)).sort().values for labels in (subset.labels, fair)
        ]
        require(
            torch.equal(*counts), f"limit={half} took {counts[0].tolist()} of the classes, not {counts[1].tolist()}"
        )
    members = {image.numpy().tobytes() for image in whole.images[:]}
    require(all(image.numpy().tobytes() in members for image in subset.images[:]), "the subset has images of its own")
    rest, counted = _loaded(case, skip=half), [Counter(image.numpy().tobytes() for image in whole.images[:])]
    counted.append(Counter(image.numpy().tobytes() for part in (subset, rest) for image in part.images[:]))
    require(counted[0] == counted[1], f"limit={half} and skip={half} do not share the images out between them")


def its_scales_exist(case: PluginCase) -> None:
    """A preset of locality scales that it names can be resolved."""
    dataset = _loaded(case)
    if dataset.scales is None:
        raise NotApplicable
    try:
        resolve_scales(dataset.scales, [Level(1.0, 0.1), Level(1.0, 1.0)])
    except UsageError as error:
        require(False, f"its scales '{dataset.scales}' cannot be used: {error}")


def its_images_obey_its_rule(case: PluginCase) -> None:
    """If it has a rule, all of its images are consistent."""
    dataset = _loaded(case)
    if dataset.rule is None:
        raise NotApplicable
    verdicts = dataset.rule.judge(dataset.images[:])
    require(not bool(verdicts.any()), f"{int((verdicts > 0).sum())} of its images break its rule")


def options_survive_json(case: PluginCase) -> None:
    """Options are the same after a round trip through JSON; each has a description."""
    case.check_options()


CHECKS: dict[str, Callable[[PluginCase], None]] = {
    check.__name__: check
    for check in (
        it_is_available_and_loads,
        images_and_labels_fit,
        it_loads_the_same_twice,
        limit_takes_a_balanced_subset,
        its_scales_exist,
        its_images_obey_its_rule,
        options_survive_json,
    )
}
