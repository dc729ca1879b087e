"""Properties of drift statistics for any samples: sign, bounds, symmetry, independence of the order of bins and rows."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_slo_provider import drift
from airflow_slo_provider.drift.statistics.distances import (
    benjamini_hochberg,
    chi_square,
    js_distance,
    total_variation,
)
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData

bins = st.integers(1, 12)
pairs = bins.flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 10**6), min_size=n, max_size=n).filter(any) for _ in range(2)))
)
samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
CLOSE = {"rel_tol": 1e-9, "abs_tol": 1e-12}


@settings(deadline=None)
@given(pair=pairs)
def test_psi_is_symmetric_and_not_negative(pair: tuple[list[int], list[int]]) -> None:
    forward, backward = drift.psi(*pair), drift.psi(*reversed(pair))
    assert forward.value >= 0
    assert math.isclose(forward.value, backward.value, **CLOSE)
    assert 0 <= forward.pvalue <= 1
    assert drift.psi(pair[0], pair[0]).value == 0
    assert math.isfinite(forward.corrected)


@settings(deadline=None)
@given(pair=pairs, order=st.randoms(use_true_random=False))
def test_distances_do_not_depend_on_bin_order(pair: tuple[list[int], list[int]], order: object) -> None:
    together = list(zip(*pair, strict=True))
    order.shuffle(together)  # type: ignore[attr-defined]
    mixed = tuple(map(list, zip(*together, strict=True)))
    for distance in (lambda a, b: drift.psi(a, b).value, js_distance, total_variation, lambda a, b: chi_square(a, b).statistic):
        assert math.isclose(distance(*pair), distance(*mixed), rel_tol=1e-9, abs_tol=1e-9)


@settings(deadline=None)
@given(pair=pairs, factor=st.integers(1, 50))
def test_distances_depend_on_shares_not_rows(pair: tuple[list[int], list[int]], factor: int) -> None:
    many = [count * factor for count in pair[1]]
    for distance in (lambda a, b: drift.psi(a, b).value, js_distance, total_variation):
        assert math.isclose(distance(pair[0], pair[1]), distance(pair[0], many), rel_tol=1e-9, abs_tol=1e-9)


@settings(deadline=None)
@given(pair=pairs)
def test_distances_are_within_their_bounds(pair: tuple[list[int], list[int]]) -> None:
    for distance in (js_distance, total_variation):
        assert 0 <= distance(*pair) <= 1 + 1e-12
        assert math.isclose(distance(*pair), distance(*reversed(pair)), **CLOSE)
        assert distance(pair[0], pair[0]) <= 1e-7


@settings(max_examples=60, deadline=None)
@given(a=samples, b=samples)
def test_ks_is_symmetric_and_zero_for_equal_samples(a: list[float], b: list[float]) -> None:
    forward, backward = drift.ks(a, b), drift.ks(b, a)
    assert forward.statistic == backward.statistic
    assert 0 <= forward.lower <= forward.statistic <= forward.upper <= 1
    assert 0 <= forward.pvalue <= 1
    assert math.isclose(forward.pvalue, backward.pvalue, rel_tol=1e-9, abs_tol=1e-15)
    assert drift.ks(a, a).statistic == 0


@settings(max_examples=60, deadline=None)
@given(a=samples, b=samples)
def test_ks_is_invariant_under_increasing_functions(a: list[float], b: list[float]) -> None:
    """A strictly increasing function of all values changes nothing."""
    ordered = sorted({*a, *b})
    places = {value: float(place) ** 3 for place, value in enumerate(ordered)}
    mapped = drift.ks([places[value] for value in a], [places[value] for value in b])
    assert (mapped.statistic, mapped.pvalue) == (drift.ks(a, b).statistic, drift.ks(a, b).pvalue)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_adjusted_pvalues_are_larger_in_the_same_order_and_at_most_one(pvalues: list[float], order: object) -> None:
    adjusted = benjamini_hochberg(pvalues)
    assert all(before <= after + 1e-15 <= 1 + 1e-12 for before, after in zip(pvalues, adjusted, strict=True))
    ranked = sorted(zip(pvalues, adjusted, strict=True))
    assert all(one[1] <= other[1] + 1e-15 for one, other in itertools.pairwise(ranked))
    places = list(range(len(pvalues)))
    order.shuffle(places)  # type: ignore[attr-defined]
    again = benjamini_hochberg([pvalues[place] for place in places])
    assert np.allclose(again, [adjusted[place] for place in places], rtol=1e-12, atol=0)


odd_counts = st.lists(st.one_of(st.integers(-3, 10), st.floats(), st.none()), max_size=6)


@settings(deadline=None)
@given(a=odd_counts, b=odd_counts)
def test_psi_invalid_counts_raise_provider_error(a: list[object], b: list[object]) -> None:
    try:
        found = drift.psi(a, b)
    except (NoData, InvalidMeasurement):
        return
    assert math.isfinite(found.value) and found.value >= 0
    assert len(a) == len(b)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.one_of(st.floats(), st.none()), min_size=1, max_size=40))
def test_ks_nan_and_null_raise(values: list[float | None]) -> None:
    """NaN and null have no order; infinities do."""
    held = [math.nan if value is None else value for value in values]
    try:
        found = drift.ks([0.0, 1.0, 2.0], held)
    except InvalidMeasurement:
        assert any(map(math.isnan, held))
        return
    assert not any(map(math.isnan, held))
    assert 0 <= found.statistic <= 1
