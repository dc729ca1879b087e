"""The two-sample Kolmogorov-Smirnov statistic and its p-value.

``scipy.stats`` takes seconds to import and little of it is needed here. The exact p-value counts lattice paths [Hodges 1957];
the approximate one is the limiting distribution at a corrected argument [Stephens 1970].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: The p-value is exact if the larger side has at most this many values.
EXACT_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class KS:
    """A two-sample Kolmogorov-Smirnov statistic.

    :param statistic: largest difference of the two distribution functions; if only an interval is known, its lower end, which is
        a difference that was attained
    :param pvalue: probability of a ``statistic`` at least as large if both samples came from one continuous distribution
    :param lower: lower bound of the true statistic
    :param upper: upper bound of the true statistic; equal to ``lower`` if it was computed exactly
    :param n: number of values of the reference
    :param m: number of values of the current data
    :param method: how the p-value was computed: ``exact`` or ``asymptotic``
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
        """Whether the statistic is exact, i.e. its interval is one point."""
        return self.lower == self.upper


def ks_from_gaps(low: int, high: int, n: int, m: int) -> KS:
    """Make the result from the difference in units of 1 / (n m).

    :param low: lower bound of the statistic times n m
    :param high: upper bound of the statistic times n m
    """
    exact = low == high and max(n, m) <= EXACT_ROWS
    return KS(
        statistic=low / (n * m),
        # An exact p-value would suggest a precision that the bounds of an interval do not have.
        pvalue=exact_pvalue(low, n, m) if exact else asymptotic_pvalue(low / (n * m), n, m),
        lower=low / (n * m),
        upper=high / (n * m),
        n=n,
        m=m,
        method="exact" if exact else "asymptotic",
    )


def asymptotic_pvalue(statistic: float, n: int, m: int) -> float:
    """Return the approximate p-value for large samples [Stephens 1970]."""
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
    return _count_paths(gap, n, m)


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


def _count_paths(gap: int, n: int, m: int) -> float:
    """Compute the share of paths that have touched |i m - j n| >= gap, along anti-diagonals.

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
