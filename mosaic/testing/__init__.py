"""The conformance suite: the checks that every plugin must pass, for its author's tests.

In a test module of the plugin's distribution::

    import mosaic.testing

    @mosaic.testing.conformance("score", Nearest, options={"neighbours": 5})
    def test_conformance(check):
        check()

or, all together, `mosaic.testing.check_score(Nearest)`. A check that a plugin cannot meet is declared with the reason,
`expected_failures={"x0hat_at_infinite_noise_is_the_mean": "..."}`; if it passes after all, that is an error.
"""

from mosaic.testing.suite import (
    Check,
    NotConforming,
    check_dataset,
    check_metric,
    check_network,
    check_sampler,
    check_schedule,
    check_score,
    checks_of,
    conformance,
)

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
