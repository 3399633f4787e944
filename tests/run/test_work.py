"""The work of a flow: weighted comparisons, and steps where nothing is compared."""

from __future__ import annotations

import pytest

import mosaic
from mosaic.run.work import count_comparisons, step_work, unit_of


def model_of(name: str, data: mosaic.DataSet, **options: object) -> mosaic.ScoreModel:
    kind: type[mosaic.ScoreModel] = mosaic.registry().get("score", name)
    return kind(kind.Options.model_validate(options), data)


def windows_compared(side: int, k: int) -> int:
    """Pairs of windows along an axis that hang over the border alike (`zeros`), counted one by one."""
    reach = k // 2
    overhang = [(max(0, reach - place), max(0, place + reach - side + 1)) for place in range(side)]
    return sum(a == b for a in overhang for b in overhang)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_els_compares_every_window_that_hangs_over_the_border_alike(tiny: mosaic.DataSet, k: int) -> None:
    pairs = 12 * windows_compared(6, k) * windows_compared(5, k)
    model = model_of("els", tiny)
    assert count_comparisons(model, [k], [-1]) == pairs
    assert step_work(model, [k, 1], [-1, -1]) == [2 * k * pairs, 2 * 12 * 30 * 30]
    assert unit_of(model, [k]) == "weighted comparison"


def test_ls_compares_windows_at_their_own_place(tiny: mosaic.DataSet) -> None:
    assert count_comparisons(model_of("ls", tiny), [3, 5], [-1]) == 2 * 12 * 30


def test_a_sample_with_a_label_is_compared_with_its_class_only(tiny: mosaic.DataSet) -> None:
    model = model_of("els", tiny, boundary="circular")  # three classes of four images
    whole = count_comparisons(model, [3], [-1])
    assert count_comparisons(model, [3], [0, 2, -1]) == whole // 3 + whole // 3 + whole
    assert step_work(model, [3], [0, 2, -1]) == [pytest.approx(3 * whole * 5 / 3)]


def test_a_step_counts_one_for_each_sample_where_nothing_is_compared(tiny: mosaic.DataSet) -> None:
    model = model_of("gaussian", tiny)
    assert unit_of(model, [0, 0]) == "step"
    assert step_work(model, [0, 0, 0], [-1, -1]) == [2.0, 2.0, 2.0]
