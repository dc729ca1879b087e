"""Distances between two histograms, type-1 quantiles, and p-values adjusted for many columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from airflow_slo_provider.drift.profiles.grid import Array
from airflow_slo_provider.drift.profiles.quantile_ranks import ranks
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData


@dataclass(frozen=True, kw_only=True)
class ChiSquare:
    """Result of Pearson's test that two histograms come from one distribution.

    :param statistic: the chi-square statistic
    :param freedom: degrees of freedom
    :param pvalue: probability of a statistic at least this large without a difference
    """

    statistic: float
    freedom: int
    pvalue: float


#: Up to this many rows float64 counts exactly, and the sum of both sides fits 64 bits.
MOST_ROWS = 2**53


def counts_of(reference: Any, current: Any) -> tuple[Array, Array]:
    """Check two histograms and return them as int64.

    :raises InvalidMeasurement: when they are not counts over the same bins
    """
    pair = []
    for side, values in (("reference", reference), ("current", current)):
        counts = np.asarray(values)
        if counts.ndim != 1:
            raise InvalidMeasurement(f"{side} counts have shape {counts.shape}; pass one count per bin")
        if counts.dtype.kind not in "iu":
            try:
                counts = counts.astype(np.float64)
            except (TypeError, ValueError):
                raise InvalidMeasurement(f"{side} counts are not numbers: {counts.dtype}") from None
            if not np.isfinite(counts).all() or (counts != np.rint(counts)).any():
                raise InvalidMeasurement(f"{side} counts hold NaN, infinity or fractions; pass rows per bin, not shares")
        if counts.size and counts.max() > MOST_ROWS:
            raise InvalidMeasurement(f"{side} counts hold {counts.max():.6g}, more rows than any table has")
        if (counts < 0).any():
            raise InvalidMeasurement(f"{side} counts hold a negative number")
        pair.append(counts.astype(np.int64))
    if pair[0].shape != pair[1].shape:
        raise InvalidMeasurement(
            f"reference has {len(pair[0])} bins and current {len(pair[1])}; both must be counted over the same bins"
        )
    return pair[0], pair[1]


def _shares(reference: Any, current: Any) -> tuple[Array, Array]:
    first, second = counts_of(reference, current)
    if not first.sum() or not second.sum():
        raise NoData(f"a distance needs rows on both sides; reference has {first.sum()}, current {second.sum()}")
    return first / first.sum(), second / second.sum()


def expected_minimum(reference: Array, current: Array) -> float:
    """Return the smallest count expected in any cell if both sides came from one distribution."""
    pooled = (reference + current) / (reference.sum() + current.sum())
    return float(pooled.min() * min(reference.sum(), current.sum()))


def chi_square(reference_counts: Sequence[int] | Any, current_counts: Sequence[int] | Any) -> ChiSquare:
    """Compute Pearson's chi-square test of homogeneity, without continuity correction.

    Bins that are empty on both sides are ignored.

    :param reference_counts: rows per bin of the reference
    :param current_counts: rows per bin of the current data
    :raises NoData: when either side has no rows
    :raises InvalidMeasurement: for histograms of different length, or counts that are negative, fractional or not finite
    """
    from scipy.special import chdtrc

    p, q = _shares(reference_counts, current_counts)
    reference, current = counts_of(reference_counts, current_counts)
    used = (reference + current) > 0
    p, q, pooled = p[used], q[used], (reference + current)[used] / (reference.sum() + current.sum())
    statistic = math.fsum(reference.sum() * (p - pooled) ** 2 / pooled) + math.fsum(current.sum() * (q - pooled) ** 2 / pooled)
    freedom = int(used.sum()) - 1
    return ChiSquare(statistic=statistic, freedom=freedom, pvalue=float(chdtrc(freedom, statistic)) if freedom else 1.0)


def total_variation(reference_counts: Sequence[int] | Any, current_counts: Sequence[int] | Any) -> float:
    """Compute the total variation distance, in [0, 1]: the share of rows that would have to move.

    It is half the sum of the absolute differences of the shares.

    :param reference_counts: rows per bin of the reference
    :param current_counts: rows per bin of the current data
    :raises NoData: when either side has no rows
    :raises InvalidMeasurement: for histograms of different length, or counts that are negative, fractional or not finite
    """
    p, q = _shares(reference_counts, current_counts)
    return math.fsum(np.abs(p - q)) / 2


def js_distance(reference_counts: Sequence[int] | Any, current_counts: Sequence[int] | Any) -> float:
    """Compute the Jensen-Shannon distance, in [0, 1]: the square root of the divergence in bits.

    It is a metric and needs no floor for empty bins [Lin 1991; Endres and Schindelin 2003].

    :param reference_counts: rows per bin of the reference
    :param current_counts: rows per bin of the current data
    :raises NoData: when either side has no rows
    :raises InvalidMeasurement: for histograms of different length, or counts that are negative, fractional or not finite
    """
    p, q = _shares(reference_counts, current_counts)
    middle = (p + q) / 2
    parts = [side[side > 0] * np.log2(side[side > 0] / middle[side > 0]) for side in (p, q)]
    return math.sqrt(max(0.0, math.fsum(np.concatenate(parts)) / 2))


def quantiles(values: Any, probabilities: Iterable[float | Fraction]) -> list[Any]:
    """Return type-1 quantiles, which are always observed values.

    They are the inverse of the empirical distribution function (``percentile_disc`` in SQL).

    :param values: shape (n,), any type that sorts; no NaN
    :param probabilities: each in [0, 1]
    :raises NoData: for an empty sample
    :raises InvalidMeasurement: for a sample with NaN
    """
    sample = np.sort(np.asarray(values))
    if not len(sample):
        raise NoData("no values to compute quantiles of")
    if sample.dtype.kind == "f" and math.isnan(sample[-1]):
        raise InvalidMeasurement("quantiles of NaN are undefined; count and drop NaN first")
    return list(sample[[rank - 1 for rank in ranks(len(sample), probabilities)]].tolist())


def benjamini_hochberg(pvalues: Sequence[float] | Any) -> tuple[float, ...]:
    """Adjust p-values so that rejecting those below alpha keeps the false discovery rate at alpha.

    [Benjamini and Hochberg 1995]

    :param pvalues: one per test of the run
    :return: adjusted p-values in the order given
    :raises InvalidMeasurement: for a p-value that is NaN or outside [0, 1]
    """
    p = np.asarray(pvalues, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise InvalidMeasurement("a p-value is NaN or outside [0, 1]; leave out tests that could not be made")
    if not len(p):
        return ()
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (len(p) / np.arange(1, len(p) + 1))
    adjusted = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    out = np.empty_like(adjusted)
    out[order] = adjusted
    return tuple(out.tolist())
