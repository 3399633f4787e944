"""What the suite makes of its checks: all at once, under pytest, and failures that are expected."""

from __future__ import annotations

import pytest
import torch
from ideal_score import Ideal, denoising, ideal
from torch import Tensor

import mosaic
import mosaic.testing
from mosaic.testing.case import Failed, NotApplicable
from mosaic.testing.suite import KINDS

OVERSHOOTING = denoising(lambda model, x, level, x0hat: 1.2 * x0hat)


class Linear(mosaic.NoiseSchedule):
    """Signal 1, noise t."""

    name = "linear-like"

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), t.clone()


def fail() -> None:
    raise Failed("by 3")


def crash() -> None:
    raise ZeroDivisionError("by 0")


def pass_by() -> None:
    raise NotApplicable


def test_there_are_checks_of_every_kind_of_plugin() -> None:
    assert list(KINDS) == ["score", "schedule", "dataset", "metric", "network", "sampler"]
    for kind, checks in KINDS.items():
        assert all(name == check.__name__ and check.__doc__ for name, check in checks.items()), kind
        assert "options_survive_json" in checks


def test_a_check_says_what_became_of_it() -> None:
    assert mosaic.testing.Check("a", lambda: None)() == "passed"
    assert mosaic.testing.Check("a", pass_by)() == "does not apply"
    assert mosaic.testing.Check("a", fail, reason="known")() == "failed as expected"


@pytest.mark.parametrize(
    ("check", "message", "cause"),
    [
        (mosaic.testing.Check("a", fail), "^a: by 3$", Failed),
        (mosaic.testing.Check("a", crash), "^a: ZeroDivisionError: by 0$", ZeroDivisionError),
        (mosaic.testing.Check("a", crash, reason="known"), "^a: ZeroDivisionError: by 0$", ZeroDivisionError),
        (mosaic.testing.Check("a", lambda: None, reason="known"), r"^a: .*\(known\)", type(None)),
        (mosaic.testing.Check("a", pass_by, reason="known"), r"^a: .*\(known\)", type(None)),
    ],
)
def test_a_check_fails_by_what_it_checks_or_by_a_crash(
    check: mosaic.testing.Check, message: str, cause: type[BaseException]
) -> None:
    """A crash is never the failure that was expected."""
    with pytest.raises(mosaic.testing.NotConforming, match=message) as caught:
        check()
    assert isinstance(caught.value.__cause__, cause)


def test_what_a_check_draws_does_not_change_what_the_caller_draws() -> None:
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(3)
    mosaic.testing.Check("a", lambda: torch.manual_seed(8) and None)()
    assert torch.equal(torch.randn(4), expected)


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(mosaic.UsageError, match=r"'scores'.*score, schedule, dataset, metric, network, sampler"):
        mosaic.testing.checks_of("scores", Ideal)


def test_all_at_once_everything_wrong_is_named() -> None:
    wrong = denoising(lambda model, x, level, x0hat: (1.2 * x0hat).double())
    with pytest.raises(mosaic.testing.NotConforming) as caught:
        mosaic.testing.check_score(wrong)
    for name in ("shape_dtype_and_device_are_those_of_x", "x0hat_stays_in_the_range_of_the_data"):
        assert f"- {name}: " in str(caught.value)
    assert "inputs_are_unchanged" not in str(caught.value)


def test_an_expected_failure_must_still_fail() -> None:
    reason = "it overshoots"
    known = {"x0hat_stays_in_the_range_of_the_data": reason, "x0hat_at_infinite_noise_is_the_mean": reason}
    outcomes = mosaic.testing.check_score(OVERSHOOTING, expected_failures=known)
    assert outcomes["x0hat_stays_in_the_range_of_the_data"] == "failed as expected"
    with pytest.raises(mosaic.testing.NotConforming, match=rf"- it_is_exact: .*\({reason}\)"):
        mosaic.testing.check_score(Ideal, expected_failures={"it_is_exact": reason}, oracle=ideal)
    with pytest.raises(mosaic.UsageError, match=r"'it_is_exakt'.*'it_is_exact'"):
        mosaic.testing.check_score(Ideal, expected_failures={"it_is_exakt": reason})


def test_under_pytest_each_check_is_a_test() -> None:
    mark = mosaic.testing.conformance("schedule", Linear)
    assert mark.args[0] == "check"
    assert mark.kwargs["ids"] == list(KINDS["schedule"])
    checks = {check.name: check for check in mosaic.testing.conformance("score", Ideal).args[1]}
    with pytest.raises(pytest.skip.Exception):
        checks["it_is_exact"]()
