"""The three budgeting methods, on published numbers."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from airflow_slo_provider.slo.budget.time_slices import summarise
from airflow_slo_provider.slo.model import BudgetingMethod, MissingSlices
from tests.support import acceptance

OCCURRENCES, TIMESLICES, RATIO_TIMESLICES = BudgetingMethod


def measured(*counts: tuple[int, int] | None) -> list[Measurement | None]:
    return [None if one is None else Measurement.of_counts(Fraction(one[0]), Fraction(one[1])) for one in counts]


@pytest.fixture
def published() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(acceptance("slo", "budgeting_methods.json").read_text())
    return found


@pytest.mark.parametrize(
    ("method", "key", "sli", "spent"),
    [
        (OCCURRENCES, "occurrences", Fraction(111, 118), "118.6"),
        (TIMESLICES, "timeslices_threshold_0.95", Fraction(6, 10), "800.0"),
        (RATIO_TIMESLICES, "ratio_timeslices", Fraction(641, 700), "168.6"),
    ],
)
def test_summarise_same_series_differs_by_method(
    published: dict[str, Any], method: BudgetingMethod, key: str, sli: Fraction, spent: str
) -> None:
    slices = measured(*zip(published["good"], published["total"], strict=True))
    found = summarise(slices, method, slice_target=Fraction(95, 100))
    budget = 1 - Fraction(str(published["target"]))
    assert found.sli == sli
    assert float(found.sli) == pytest.approx(published[key]["sli"], rel=1e-14)
    assert float((1 - found.sli) / budget) == pytest.approx(published[key]["budget_burned"], rel=1e-12)
    assert f"{float((1 - found.sli) / budget * 100):.1f}" == spent
    assert (found.measured, found.slices, found.coverage) == (10, 10, 1)


def test_summarise_timeslices_counts_slices_below_target_as_bad(published: dict[str, Any]) -> None:
    bad = []
    for number, count in enumerate(zip(published["good"], published["total"], strict=True)):
        if summarise(measured(count), TIMESLICES, slice_target=Fraction(95, 100)).good == 0:
            bad.append(number)
    assert bad == published["timeslices_threshold_0.95"]["bad_slices"]


def test_summarise_occurrences_adds_up_events(published: dict[str, Any]) -> None:
    found = summarise(measured(*zip(published["good"], published["total"], strict=True)), OCCURRENCES)
    assert (found.good, found.total) == (published["occurrences"]["good_sum"], published["occurrences"]["total_sum"])


def test_summarise_occurrences_of_a_slice_without_good_events_adds_none() -> None:
    found = summarise(measured((0, 10), (5, 10)), OCCURRENCES)
    assert (found.good, found.total, found.sli) == (5, 20, Fraction(1, 4))


def test_summarise_occurrences_of_ratios_has_no_events() -> None:
    with pytest.raises(NoData, match="no events in the window") as caught:
        summarise([Measurement.of_ratio(Fraction(1, 2))], OCCURRENCES)
    assert caught.value.reason == "no_events"


def test_summarise_slice_at_target_is_good() -> None:
    assert summarise(measured((95, 100)), TIMESLICES, slice_target=Fraction(95, 100)).sli == 1
    assert summarise(measured((94, 100)), TIMESLICES, slice_target=Fraction(95, 100)).sli == 0


@pytest.mark.parametrize(
    ("method", "missing", "sli"),
    [
        (TIMESLICES, MissingSlices.BAD, "1/4"),
        (TIMESLICES, MissingSlices.GOOD, "3/4"),
        (TIMESLICES, MissingSlices.IGNORE, "1/2"),
        (RATIO_TIMESLICES, MissingSlices.BAD, "3/8"),
        (RATIO_TIMESLICES, MissingSlices.GOOD, "7/8"),
        (RATIO_TIMESLICES, MissingSlices.IGNORE, "3/4"),
        (OCCURRENCES, MissingSlices.BAD, "3/4"),
        (OCCURRENCES, MissingSlices.GOOD, "3/4"),
    ],
)
def test_summarise_missing_slices_count_as_configured(method: BudgetingMethod, missing: MissingSlices, sli: str) -> None:
    found = summarise(measured((10, 10), None, (5, 10), None), method, slice_target=Fraction(9, 10), missing=missing)
    assert found.sli == Fraction(sli)
    assert (found.measured, found.slices, found.coverage) == (2, 4, Fraction(1, 2))
    assert found.missing is (MissingSlices.IGNORE if method is OCCURRENCES else missing)


@pytest.mark.parametrize("missing", list(MissingSlices))
@pytest.mark.parametrize("method", list(BudgetingMethod))
@pytest.mark.parametrize("slices", [[], [None], [None] * 5])
def test_summarise_without_any_data_raises_no_data(slices: list[None], method: BudgetingMethod, missing: MissingSlices) -> None:
    with pytest.raises(NoData):
        summarise(slices, method, slice_target=Fraction(1, 2), missing=missing)


def test_summarise_timeslices_without_target_raises_value_error() -> None:
    with pytest.raises(ValueError, match="timeSliceTarget"):
        summarise(measured((1, 1)), TIMESLICES)


counts = st.integers(1, 1000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(st.lists(counts, min_size=1, max_size=50))
def test_summarise_ratio_timeslices_mean_is_exact(pairs: list[tuple[int, int]]) -> None:
    found = summarise(measured(*pairs), RATIO_TIMESLICES)
    assert found.sli == sum((Fraction(*pair) for pair in pairs), Fraction(0)) / len(pairs)


@given(st.lists(st.one_of(st.none(), counts), min_size=1, max_size=30), st.fractions(Fraction(1, 10), 1))
def test_summarise_missing_bad_ignore_good_are_ordered(pairs: list[tuple[int, int] | None], slice_target: Fraction) -> None:
    slices = measured(*pairs)
    if not any(slices):
        return
    for method in (TIMESLICES, RATIO_TIMESLICES):
        bad, ignored, good = (
            summarise(slices, method, slice_target=slice_target, missing=missing).sli
            for missing in (MissingSlices.BAD, MissingSlices.IGNORE, MissingSlices.GOOD)
        )
        assert 0 <= bad <= ignored <= good <= 1
