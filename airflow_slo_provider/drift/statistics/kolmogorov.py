"""The two-sample Kolmogorov-Smirnov statistic: exact for samples, a certified interval for profiles.

``scipy.stats`` takes seconds to import; everything needed of it is short. The exact p-value counts lattice paths
[Hodges 1957]; the approximate one is the limiting distribution at a corrected argument [Stephens 1970].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.exceptions import InvalidMeasurement, NoData

Array = npt.NDArray[Any]

#: Up to this many values on the larger side, p is exact.
EXACT_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class KS:
    """A two-sample Kolmogorov-Smirnov statistic.

    :param statistic: the largest difference of the two distribution functions; where only an interval is known, its lower end,
        which is a difference that was attained
    :param pvalue: of ``statistic``: probability of one at least as large, were both samples from one continuous distribution
    :param lower: the true statistic is not below this
    :param upper: and not above this; equal to ``lower`` where it was computed exactly
    :param n: values of the reference
    :param m: values of the current data
    :param method: how p was found: ``exact`` or ``asymptotic``
    """

    statistic: float
    pvalue: float
    lower: float
    upper: float
    n: int
    m: int
    method: str

    @property
    def exact(self) -> bool:
        """Whether the interval is one point."""
        return self.lower == self.upper


def ks(reference: Any, current: Any, *, column: str | None = None) -> KS:
    """Compare two samples, or two profiles.

    Samples may be of any type that sorts. Integers are compared as integers, also beyond 2^53.

    :param reference: values, shape (n,), without NaN; or a profile of a column, or of a dataset
    :param current: the same, shape (m,)
    :param column: which column, for profiles of datasets with more than one
    :raises NoData: when a side holds no value
    :raises InvalidMeasurement: for NaN or missing values, which have no order
    """
    if _is_profile(reference) or _is_profile(current):
        from airflow_slo_provider.drift.profiles.columns import one_column
        from airflow_slo_provider.drift.statistics.cells import joint_cells, ks_of_cells

        return ks_of_cells(joint_cells(one_column(reference, column), one_column(current, column)))
    first, second = _sorted_pair(reference, current)
    n, m = len(first), len(second)
    pooled = np.concatenate([first, second])
    # Whole numbers: the only rounding is the last division.
    gaps = np.searchsorted(first, pooled, side="right") * m - np.searchsorted(second, pooled, side="right") * n
    gap = int(np.abs(gaps).max())
    return from_gaps(gap, gap, n, m)


def from_gaps(low: int, high: int, n: int, m: int) -> KS:
    """Make the result of the difference in units of 1 / (n m).

    :param low: the statistic times n m is at least this
    :param high: and at most this
    """
    exact = low == high and max(n, m) <= EXACT_ROWS
    return KS(
        statistic=low / (n * m),
        # An interval never goes into the exact distribution: it would answer a precise question with an imprecise number.
        pvalue=exact_pvalue(low, n, m) if exact else asymptotic_pvalue(low / (n * m), n, m),
        lower=low / (n * m),
        upper=high / (n * m),
        n=n,
        m=m,
        method="exact" if exact else "asymptotic",
    )


def asymptotic_pvalue(statistic: float, n: int, m: int) -> float:
    """Approximate p for large samples, as Stephens (1970) has it."""
    from scipy.special import kolmogorov

    root = math.sqrt(n * m / (n + m))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * statistic))


def exact_pvalue(gap: int, n: int, m: int) -> float:
    """Return the probability that a random lattice path from (0, 0) to (n, m) leaves the band.

    :param gap: the statistic in units of 1 / (n m)
    """
    if gap <= 0:
        return 1.0
    if n == m:
        return _equal_sizes(round(gap / n), n)
    return _outside(gap, n, m)


def _equal_sizes(h: int, n: int) -> float:
    """Sum 2 (C(2n, n-h) - C(2n, n-2h) + ...) / C(2n, n), nested from the far end so that nothing overflows.

    [Gnedenko and Korolyuk 1951]
    """
    nested = 0.0
    for k in range(n // h, 0, -1):
        j = np.arange(h, dtype=np.float64)
        # C(2n, n-kh) / C(2n, n-(k-1)h)
        ratio = float(np.prod((n - (k - 1) * h - j) / (n + (k - 1) * h + j + 1)))
        nested = ratio * (1.0 - nested)
    return min(1.0, max(0.0, 2.0 * nested))


def _outside(gap: int, n: int, m: int) -> float:
    """Follow, along anti-diagonals, the share of paths to (i, j) that have touched |i m - j n| >= gap.

    Of the paths to (i, j), i / (i + j) come from (i - 1, j). All terms are positive, so small probabilities keep their digits.
    """
    touched = np.ones(n + 2)  # touched[i + 1] for i on the current anti-diagonal; everything outside counts as 1
    touched[1] = 0.0
    steps = np.arange(n + m + 1.0)
    before = (0, 0)
    for t in range(1, n + m + 1):
        # Inside: |i m - (t - i) n| < gap, that is |i (n + m) - t n| < gap.
        first = max(0, t - m, (t * n - gap) // (n + m) + 1)
        last = min(n, t, -((-t * n - gap) // (n + m)) - 1)
        if first > last:
            return 1.0
        i = steps[first : last + 1]
        fresh = (i * touched[first : last + 1] + (t - i) * touched[first + 1 : last + 2]) / t
        touched[before[0] + 1 : before[1] + 2] = 1.0
        touched[first + 1 : last + 2] = fresh
        before = (first, last)
    return float(min(1.0, touched[n + 1]))


def _is_profile(data: Any) -> bool:
    return type(data).__module__.startswith("airflow_slo_provider.drift.")


def _sorted_pair(reference: Any, current: Any) -> tuple[Array, Array]:
    first, second = _values(reference, "reference"), _values(current, "current")
    kinds = {first.dtype.kind, second.dtype.kind}
    if kinds & set("M") and kinds != {"M"}:
        raise InvalidMeasurement("times cannot be compared with numbers")
    if kinds == {"i", "u"} or (kinds & set("iu") and "f" in kinds):
        # numpy would turn integers into float64 here, and lose them beyond 2^53.
        if any(len(side) and side.dtype.kind in "iu" and _beyond(side) for side in (first, second)):
            first, second = first.astype(object), second.astype(object)
        else:
            first, second = first.astype(np.float64), second.astype(np.float64)
    try:
        first, second = np.sort(first), np.sort(second)
        first[-1] < second[-1]  # noqa: B015
    except TypeError as error:
        raise InvalidMeasurement(f"values that have no common order: {error}") from None
    return first, second


def _beyond(side: Array) -> bool:
    return int(side.max()) > 2**53 or int(side.min()) < -(2**53)


def _values(data: Any, side: str) -> Array:
    values = np.asarray(data)
    if values.ndim != 1:
        raise InvalidMeasurement(f"{side} has shape {values.shape}; give one column of values")
    if not len(values):
        raise NoData(f"KS needs values on both sides; {side} has none")
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    if values.dtype.kind == "f":
        missing = int(np.isnan(values).sum())
    elif values.dtype.kind == "M":
        missing = int(np.isnat(values).sum())
    elif values.dtype.kind == "O":
        missing = sum(1 for value in values if value is None or str(value) in ("<NA>", "NaT") or value != value)
    else:
        missing = 0
    if missing:
        raise InvalidMeasurement(
            f"{side} holds {missing} NaN or missing of {len(values)} values, which have no order; count and drop them first"
        )
    return values
