"""What every data set must hold to."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mosaic.dataset import DataSet, DataSetOptions, DataSource, balanced_subset
from mosaic.errors import UsageError
from mosaic.scales import resolve_scales
from mosaic.schedule import Level
from mosaic.testing.subject import NotApplicable, Subject, require

__all__ = ["CHECKS"]


def _source(subject: Subject, **more: object) -> DataSource:
    options = subject.plugin.Options.parse({**subject.options, **more}, subject.plugin.name)
    found: DataSource = subject.plugin(options, subject.access)
    return found


def _loaded(subject: Subject, **more: object) -> DataSet:
    return _source(subject, **more).load()


def it_is_available_and_loads(subject: Subject) -> None:
    """`available` gives None where `load` works, and a `DataSet` comes of it, which checks itself."""
    source = _source(subject)
    reason = source.available()
    require(reason is None, f"it is not available here: {reason}")
    found = source.load()
    require(isinstance(found, DataSet), f"load gave a {type(found).__name__}")
    require(found.images.device.type == "cpu", f"the images are on {found.images.device}, not on the CPU")


def images_and_labels_fit(subject: Subject) -> None:
    """float32 images that use the range they declare, labels that all classes have names for."""
    found = _loaded(subject)
    require(found.images.dtype == torch.float32, f"images are {found.images.dtype}, not float32")
    low, high = found.range
    used = float(found.images.max() - found.images.min()) / (high - low)
    require(used > 0.25, f"images use {used:.0%} of the range {found.range} they declare")
    require(
        (found.labels is None) == (not found.classes), "there are labels without classes, or classes without labels"
    )


def it_loads_the_same_twice(subject: Subject) -> None:
    """The same options give the same data, to the bit: whatever is random is seeded by an option."""
    first = _loaded(subject)
    torch.randn(3)
    require(first.fingerprint == _loaded(subject).fingerprint, "the fingerprint differs the second time")


def limit_takes_a_balanced_subset(subject: Subject) -> None:
    """`limit` and `limit_seed` work: a subset, with classes as even as they allow."""
    require(issubclass(subject.plugin.Options, DataSetOptions), "its Options do not derive from mosaic.DataSetOptions")
    whole = _loaded(subject)
    if len(whole) < 4:
        raise NotApplicable
    half = len(whole) // 2
    found = _loaded(subject, limit=half)
    require(len(found) == half, f"limit={half} gave {len(found)} images")
    require(found.fingerprint == _loaded(subject, limit=half).fingerprint, "the subset differs the second time")
    if whole.labels is not None and found.labels is not None:
        fair = whole.labels[balanced_subset(len(whole), half, 0, whole.labels)]
        counts = [torch.bincount(labels, minlength=len(whole.classes)).sort().values for labels in (found.labels, fair)]
        require(
            torch.equal(*counts), f"limit={half} took {counts[0].tolist()} of the classes, not {counts[1].tolist()}"
        )
    members = {image.numpy().tobytes() for image in whole.images}
    require(all(image.numpy().tobytes() in members for image in found.images), "the subset has images of its own")


def its_scales_exist(subject: Subject) -> None:
    """A preset of locality scales that it names can be resolved."""
    found = _loaded(subject)
    if found.scales is None:
        raise NotApplicable
    try:
        resolve_scales(found.scales, [Level(1.0, 0.1), Level(1.0, 1.0)])
    except UsageError as error:
        require(False, f"its scales '{found.scales}' cannot be used: {error}")


def its_images_obey_its_rule(subject: Subject) -> None:
    """Where it has a rule, all of its images are consistent."""
    found = _loaded(subject)
    if found.rule is None:
        raise NotApplicable
    verdicts = found.rule.judge(found.images)
    require(not bool(verdicts.any()), f"{int((verdicts > 0).sum())} of its images break its rule")


def options_survive_json(subject: Subject) -> None:
    """They come back as they were; each has a description."""
    subject.round_trip()


CHECKS: dict[str, Callable[[Subject], None]] = {
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
