"""Bootstrap intervals: coverage, and cases that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mosaic.evaluate import statistics
from mosaic.evaluate.statistics import crossed_interval, difference_of_means, interval_of, ratio_of_means


@pytest.mark.parametrize(("statistic", "truth"), [("median", math.log(2)), ("mean", 1.0)])
def test_intervals_of_exponential_samples_hold_the_truth_about_as_often_as_they_say(
    statistic: str, truth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaic.evaluate.statistics.RESAMPLES", 500)
    draws = np.random.default_rng(0).exponential(size=(300, 100))
    intervals = [interval_of(row, statistic, seed) for seed, row in enumerate(draws)]
    held = np.mean([low <= truth <= high for _, low, high in intervals])
    assert (
        0.90 <= held <= 0.98
    )  # 95 %, up to what 300 trials leave open and a percentile bootstrap of a mean falls short


def test_the_value_is_the_median_or_the_mean_and_nan_are_left_out() -> None:
    values = np.array([1.0, 5.0, math.nan, 2.0])
    assert interval_of(values)[0] == 2.0
    assert interval_of(values, "mean")[0] == pytest.approx(8 / 3)
    assert all(math.isnan(end) for end in interval_of(np.full(3, math.nan)))


def test_equal_values_leave_no_doubt_and_results_repeat() -> None:
    assert interval_of(np.full(9, 0.25)) == (0.25, 0.25, 0.25)
    values = np.random.default_rng(1).normal(size=30)
    assert interval_of(values) == interval_of(values)
    assert values.min() <= interval_of(values)[1] < interval_of(values)[0] < interval_of(values)[2] <= values.max()


def test_the_interval_of_a_share_is_wilsons() -> None:
    """Against the definition: the ends are the shares p from which the one seen is z standard errors away."""
    z = 1.959963984540054
    for ones, count in ((0, 10), (3, 10), (50, 100), (99, 100), (7, 7)):
        values = np.array([1.0] * ones + [0.0] * (count - ones))
        share, low, high = interval_of(values, "share")
        assert share == ones / count
        for end in (low, high):
            if 1e-9 < end < 1 - 1e-9:
                assert abs(share - end) == pytest.approx(z * math.sqrt(end * (1 - end) / count), rel=1e-9)
        assert low <= share <= high
        assert high - low > 0


@pytest.mark.parametrize("truth", [0.05, 0.3])
def test_intervals_of_shares_hold_the_truth_about_as_often_as_they_say(truth: float) -> None:
    draws = (np.random.default_rng(2).random((400, 120)) < truth).astype(float)
    intervals = [interval_of(row, "share") for row in draws]
    assert 0.92 <= np.mean([low <= truth <= high for _, low, high in intervals]) <= 0.98


def test_a_ratio_of_means_is_resampled_in_pairs() -> None:
    """The four draws of two out of two are equally likely: the first twice, both, both, and the second twice."""
    values, baseline = np.array([1.0, 6.0]), np.array([2.0, 3.0])
    value, low, high = ratio_of_means(values, baseline)
    assert value == pytest.approx(7 / 5)
    assert (low, high) == pytest.approx((1 / 2, 6 / 3))  # each in a quarter of the draws
    same = ratio_of_means(values, 3 * values)
    assert same == pytest.approx((1 / 3, 1 / 3, 1 / 3))  # unpaired, it would have a width


def test_several_ratios_have_a_geometric_mean_over_the_same_draws() -> None:
    random = np.random.default_rng(3)
    values, baseline = random.uniform(1, 2, (3, 9)), random.uniform(1, 2, (3, 9))
    expected = np.prod([own.mean() / other.mean() for own, other in zip(values, baseline, strict=True)]) ** (1 / 3)
    value, low, high = ratio_of_means(values, baseline)
    assert value == pytest.approx(expected)
    assert low < value < high
    single = ratio_of_means(values[0], baseline[0])
    assert ratio_of_means(values[[0, 0, 0]], baseline[[0, 0, 0]]) == pytest.approx(single)


def test_intervals_of_ratios_hold_the_truth_about_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.evaluate.statistics.RESAMPLES", 500)
    draws = np.random.default_rng(4).exponential(size=(300, 2, 100))
    held = np.mean([low <= 0.5 <= high for _, low, high in (ratio_of_means(own, own + other) for own, other in draws)])
    assert 0.90 <= held <= 0.98


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_trainings_and_samples_are_resampled_independently(statistic: str) -> None:
    """Against a loop over tables of drawn rows and columns, with another generator."""
    random = np.random.default_rng(5)
    values = 2 * random.normal(size=(4, 1)) + 0.5 * random.normal(size=(1, 9)) + 0.1 * random.normal(size=(4, 9))
    summarise, drawn = getattr(np, statistic), []
    for _ in range(4000):
        rows, columns = random.choice(4, 4), random.choice(9, 9)
        drawn.append(summarise([[values[row, column] for column in columns] for row in rows]))
    value, low, high = crossed_interval(values, statistic)
    assert value == pytest.approx(summarise(values))
    assert (low, high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.15)
    assert high - low > 1.5 * np.ptp(interval_of(values.mean(0), statistic)[1:])  # which takes the trainings as given


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_the_interval_of_one_training_is_that_of_its_samples_and_of_equal_samples_that_of_the_trainings(
    statistic: str,
) -> None:
    values = np.random.default_rng(6).normal(size=11)
    drawn = values[np.random.default_rng(0).integers(11, size=(10_000, 11))]
    ends = np.quantile(getattr(np, statistic)(drawn, axis=1), (0.025, 0.975))
    expected = (getattr(np, statistic)(values), *ends.tolist())
    assert crossed_interval(values[None], statistic) == interval_of(values, statistic) == pytest.approx(expected)
    of_trainings = crossed_interval(np.repeat(values[:, None], 7, axis=1), statistic)
    assert of_trainings == pytest.approx(interval_of(values, statistic), abs=0.1)
    assert crossed_interval(np.full((3, 5), 0.25), statistic) == (0.25, 0.25, 0.25)


def test_trainings_and_samples_without_values_are_left_out() -> None:
    values = np.random.default_rng(7).normal(size=(3, 8))
    with_gaps = np.pad(values, ((0, 1), (0, 2)), constant_values=math.nan)
    assert crossed_interval(with_gaps) == crossed_interval(values)
    with_gaps[0, 0] = math.nan
    assert crossed_interval(with_gaps)[0] == np.nanmedian(with_gaps)
    assert all(math.isnan(end) for end in crossed_interval(np.full((2, 3), math.nan)))


def test_intervals_over_trainings_hold_the_truth_where_those_over_samples_alone_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mosaic.evaluate.statistics.RESAMPLES", 300)
    random = np.random.default_rng(8)
    tables = random.normal(size=(200, 12, 1)) + random.normal(size=(200, 1, 12))
    crossed = np.mean([low <= 0 <= high for _, low, high in (crossed_interval(table, "mean") for table in tables)])
    samples = np.mean([low <= 0 <= high for _, low, high in (interval_of(table.mean(0), "mean") for table in tables)])
    assert 0.88 <= crossed <= 0.99
    assert samples < crossed - 0.1


def test_a_difference_of_means_takes_each_sample_by_itself() -> None:
    random = np.random.default_rng(9)
    values, baseline = random.normal(1, 2, 50), random.normal(0, 1, 80)
    value, low, high = difference_of_means(values, baseline)
    assert value == pytest.approx(values.mean() - baseline.mean())
    error = (values.var() / 50 + baseline.var() / 80) ** 0.5  # the normal interval's
    assert (low, high) == pytest.approx((value - 1.96 * error, value + 1.96 * error), abs=0.1)
    assert difference_of_means(values, baseline) == (value, low, high)
    assert difference_of_means(np.ones(3), np.zeros(2)) == (1, 1, 1)


def test_blocks_of_draws_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 300)
    random = np.random.default_rng(3)
    table, other = np.exp(random.normal(size=(2, 3, 40)))
    gaps = np.where(random.random(table.shape) < 0.2, np.nan, table)

    def intervals() -> list[tuple[float, float, float]]:
        statistics._kept_counts.cache_clear()
        crossed = [crossed_interval(each, kind) for each in (table, gaps) for kind in ("median", "mean")]
        return [*crossed, interval_of(table[0]), ratio_of_means(table, other), difference_of_means(table[0], other[0])]

    # All draws at once, as one array of random numbers.
    monkeypatch.setattr(statistics, "BLOCK", 2**40)
    whole, draws = intervals(), np.random.default_rng(0).integers(40, size=(statistics.RESAMPLES, 40))
    medians = np.quantile(np.median(table[0][draws], axis=1), [0.025, 0.975])
    assert whole[4][1:] == tuple(medians)
    for block, kept in ((7, 0), (2**12, 2**40), (1, 0)):
        monkeypatch.setattr(statistics, "BLOCK", block)
        monkeypatch.setattr(statistics, "KEPT", kept)
        assert intervals() == whole
