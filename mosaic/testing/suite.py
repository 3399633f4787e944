"""Running the checks of a kind of plugin: all together, or one by one under pytest."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch

from mosaic.errors import MosaicError, MosaicWarning, UsageError, did_you_mean
from mosaic.testing import datasets, metrics, networks, samplers, schedules, scores
from mosaic.testing.case import Failed, NotApplicable, PluginCase

__all__ = [
    "Check",
    "NotConforming",
    "check_dataset",
    "check_metric",
    "check_network",
    "check_sampler",
    "check_schedule",
    "check_score",
    "checks_of",
    "conformance",
]

KINDS: dict[str, dict[str, Callable[[PluginCase], None]]] = {
    "score": scores.CHECKS,
    "schedule": schedules.CHECKS,
    "dataset": datasets.CHECKS,
    "metric": metrics.CHECKS,
    "network": networks.CHECKS,
    "sampler": samplers.CHECKS,
}


class NotConforming(AssertionError):
    """A plugin fails checks of its kind; the message names them and what went wrong."""


@dataclass(frozen=True)
class Check:
    """One check of one plugin; calling it runs it.

    Attributes
    ----------
    name : str
        What is checked.
    reason : str or None
        Why it is expected to fail; None where it must pass.
    skips : bool
        Whether pytest shows it as skipped where it does not apply.
    """

    name: str
    work: Callable[[], None]
    reason: str | None = None
    skips: bool = False

    def __call__(self) -> str:
        """Run the check: `passed`, `failed as expected` or `does not apply`.

        Raises
        ------
        NotConforming
            If it fails, or passes where a failure was expected.
        """
        try:
            # Random numbers of checks must not change those of the caller; what a run notes is no failure.
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore", MosaicWarning)
                self.work()
        except NotApplicable:
            if self.reason is None:
                return _skipped() if self.skips else "does not apply"
            raise NotConforming(
                f"{self.name}: it does not apply, but a failure was expected ({self.reason}); remove it from "
                f"expected_failures."
            ) from None
        except Exception as error:
            if self.reason is not None and isinstance(error, Failed):
                return "failed as expected"
            message = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            raise NotConforming(f"{self.name}: {message}") from error
        if self.reason is not None:
            raise NotConforming(
                f"{self.name}: it passes, but a failure was expected ({self.reason}); remove it from expected_failures."
            )
        return "passed"


def checks_of(
    kind: str, plugin: type[Any], expected_failures: Mapping[str, str] | None = None, **settings: Any
) -> list[Check]:
    """List the checks of a plugin.

    Parameters
    ----------
    kind : {"score", "schedule", "dataset", "metric", "network", "sampler"}
        The plugin's kind.
    plugin : type
        The plugin's class.
    expected_failures : mapping of str, optional
        Reasons why checks, by name, must fail.
    **settings
        Fields of `mosaic.testing.case.PluginCase`: `options` of the plugin; for score models `dataset`, `oracle` and
        `scale`; for metrics `dataset`.

    Raises
    ------
    UsageError
        If the kind, or a check that is expected to fail, does not exist.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'; kinds: {', '.join(KINDS)}.")
    expected = dict(expected_failures or {})
    for name in expected:
        if name not in KINDS[kind]:
            raise UsageError(
                f"expected_failures names no check: '{name}'.{did_you_mean(name, KINDS[kind])} "
                f"Checks: {', '.join(KINDS[kind])}."
            )

    def bound(check: Callable[[PluginCase], None]) -> Callable[[], None]:
        return lambda: check(PluginCase(plugin, **settings))

    return [Check(name, bound(check), expected.get(name)) for name, check in KINDS[kind].items()]


def conformance(kind: str, plugin: type[Any], **settings: Any) -> Callable[[Callable[..., None]], Any]:
    """Parametrise a test function with the checks of a plugin, its argument `check`; arguments as for `checks_of`."""
    import pytest

    checks = [replace(check, skips=True) for check in checks_of(kind, plugin, **settings)]
    return pytest.mark.parametrize("check", checks, ids=[check.name for check in checks])


def _skipped() -> NoReturn:
    import pytest

    pytest.skip("does not apply")


def _check_all(kind: str, plugin: type[Any], settings: Mapping[str, Any]) -> dict[str, str]:
    outcomes, failures = {}, []
    for check in checks_of(kind, plugin, **settings):
        try:
            outcomes[check.name] = check()
        except (NotConforming, MosaicError) as error:
            failures.append(str(error))
    if failures:
        raise NotConforming(f"{plugin.__name__} does not conform:\n" + "\n".join(f"- {line}" for line in failures))
    return outcomes


def check_score(plugin: type[Any], **settings: Any) -> dict[str, str]:
    """Run all checks of a score model.

    Parameters
    ----------
    plugin : type
        A subclass of `mosaic.ScoreModel`.
    **settings
        `options`; `dataset`, else a small one with labels; `scale` (3); `oracle`, called as
        oracle(x, images, level, scale) with float64 arrays, giving x0hat in the same shape; `expected_failures`.

    Returns
    -------
    dict
        Outcome of each check by name: passed, failed as expected, or does not apply.

    Raises
    ------
    NotConforming
        With every check that fails.
    """
    return _check_all("score", plugin, settings)


def check_schedule(plugin: type[Any], **settings: Any) -> dict[str, str]:
    """Run all checks of a noise schedule: `options`, `expected_failures`; as `check_score`."""
    return _check_all("schedule", plugin, settings)


def check_dataset(plugin: type[Any], **settings: Any) -> dict[str, str]:
    """Run all checks of a data set: `options`, `access`, `expected_failures`; as `check_score`."""
    return _check_all("dataset", plugin, settings)


def check_metric(plugin: type[Any], **settings: Any) -> dict[str, str]:
    """Run all checks of a metric: `options`, `dataset`, `expected_failures`; as `check_score`."""
    return _check_all("metric", plugin, settings)


def check_network(plugin: type[Any], **settings: Any) -> dict[str, str]:
    """Run all checks of a network: `options`, `expected_failures`; as `check_score`."""
    return _check_all("network", plugin, settings)


def check_sampler(plugin: type[Any], **settings: Any) -> dict[str, str]:
    """Run all checks of a sampler: `options`, `expected_failures`; as `check_score`."""
    return _check_all("sampler", plugin, settings)
