"""Compute all statistics of one column from a pair of profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.grid import Array
from airflow_slo_provider.drift.statistics.cells import JointCells, bin_cells, count_bins, wasserstein_of_cells
from airflow_slo_provider.drift.statistics.column_measures import Measures
from airflow_slo_provider.drift.statistics.distances import chi_square, js_distance, total_variation
from airflow_slo_provider.drift.statistics.histograms import draw_categories, draw_cells
from airflow_slo_provider.drift.statistics.ks_pvalues import KS
from airflow_slo_provider.drift.statistics.population_stability import FEWEST_EXPECTED, psi
from airflow_slo_provider.drift.statistics.rates import Rate, rate

MOST_COMPARED = 1_000
MOST_NAMED = 20
#: Texts that the reference does not have get a cell of their own only below this p-value. The cell is chosen because it is empty
#: on one side, which biases its test, so only overwhelming evidence may enter it. Their share has an unbiased test of its own.
_SURPRISE = 1e-6


def measure_rates(reference: ColumnProfile, current: ColumnProfile) -> Measures:
    """Compare null and non-finite rates."""
    nulls = rate(reference.nulls, reference.rows, current.nulls, current.rows)
    if "number" not in (reference.kind, current.kind):
        return Measures(nulls=nulls)
    before, after = (side.nan + side.infinite for side in (reference, current))
    return Measures(nulls=nulls, nonfinite=rate(before, reference.rows, after, current.rows))


def measure_cells(rates: Measures, cells: JointCells, reference: ColumnProfile, *, bins: int, ks: KS | None) -> Measures:
    """Add the statistics of a numeric column to its rates."""
    return replace(
        _compare_bins(rates, *pool(*count_bins(cells, bin_cells(cells, bins)))),
        ks=ks,
        wasserstein=wasserstein_of_cells(cells),
        out_of_range=_out_of_range_rate(cells),
        histogram=draw_cells(cells, reference),
    )


def _compare_bins(rates: Measures, reference: Array, current: Array) -> Measures:
    return replace(
        rates,
        psi=psi(reference, current),
        chi_square=chi_square(reference, current),
        js=js_distance(reference, current),
        total_variation=total_variation(reference, current),
    )


def pool(reference: Array, current: Array) -> tuple[Array, Array]:
    """Join adjacent bins until each would hold at least five rows on both sides without drift."""
    n, m = int(reference.sum()), int(current.sum())
    joined: list[list[int]] = []
    for a, b in zip(reference.tolist(), current.tolist(), strict=True):
        if joined and _is_sparse(joined[-1], n, m):
            joined[-1] = [joined[-1][0] + a, joined[-1][1] + b]
        else:
            joined.append([a, b])
    while len(joined) > 1 and _is_sparse(joined[-1], n, m):
        last = joined.pop()
        joined[-1] = [joined[-1][0] + last[0], joined[-1][1] + last[1]]
    first, second = np.array(joined, dtype=np.int64).T
    return first, second


def _is_sparse(pair: Sequence[int], n: int, m: int) -> bool:
    return (pair[0] + pair[1]) / (n + m) * min(n, m) < FEWEST_EXPECTED


def _out_of_range_rate(cells: JointCells) -> Rate | None:
    """Compare the share of current values outside the reference's range with the expected share.

    Without drift about 2 / (n + 1) are expected, and their number times n / m is a sum of two exponentials: p = (1 + z) exp(-z).
    """
    n, m = cells.sizes
    used = np.flatnonzero(cells.reference)
    outside = int(cells.current[: used[0]].sum() + cells.current[used[-1] + 1 :].sum())
    z = outside / m * n
    return Rate(reference=2 / (n + 1), current=outside / m, pvalue=min(1.0, (1 + z) * math.exp(-z)) if z < 700 else 0.0)


def measure_categories(rates: Measures, reference: ColumnProfile, current: ColumnProfile) -> Measures:
    """Add the statistics of a column of texts to its rates.

    The most frequent texts of the reference are compared one by one. The other texts, and those with fewer than five expected
    rows, share one cell; texts that the reference does not have share another.
    """
    first, second = reference.categories or {}, current.categories or {}
    n, m = sum(first.values()) + reference.unlisted, sum(second.values()) + current.unlisted
    common = sorted(first, key=lambda text: (-first[text], text))[:MOST_COMPARED]
    # Counted over both sides: selecting by the reference alone would favour texts that are frequent there by chance.
    kept = [text for text in common if (first[text] + second.get(text, 0)) / (n + m) * min(n, m) >= FEWEST_EXPECTED]
    new = {text: rows for text, rows in second.items() if text not in first}
    unseen = sum(new.values()) + (current.unlisted if not reference.unlisted else 0)
    table = {text: (first[text], second.get(text, 0)) for text in kept}
    new_categories = _new_share(first, n, unseen, m)
    # A long tail always brings unseen texts; as many as the reference's singletons predict belong to the other texts.
    surprising = new_categories.pvalue < _SURPRISE
    strange = max(0, unseen - round(new_categories.reference * m)) if surprising else 0
    rest = (n - sum(first[text] for text in kept), m - sum(second.get(text, 0) for text in kept) - strange)
    # The two sums come last, so that a sum with few expected rows is joined to its neighbour.
    counts = pool(*np.array([*table.values(), rest, (0, strange)]).T)
    return replace(
        _compare_bins(rates, *counts),
        new_categories=new_categories,
        new_names={text: new[text] / m for text in sorted(new, key=lambda text: (-new[text], text))[:MOST_NAMED]},
        histogram=draw_categories(table, (rest[0], rest[1] + strange - unseen), (0, unseen), n, m),
    )


def _new_share(first: Mapping[str, int], n: int, unseen: int, m: int) -> Rate:
    """Compare the share of new texts with the share expected from the reference's singletons [Good 1953]."""
    expected = sum(1 for rows in first.values() if rows == 1) / n
    share = unseen / m
    variance = share * (1 - share) / m + max(expected, 1 / n) / n
    z = (share - expected) / math.sqrt(variance)
    return Rate(reference=expected, current=share, pvalue=min(1.0, math.erfc(max(0.0, z) / math.sqrt(2))) if unseen else 1.0)
