"""Shares of rows on both sides, and the test that they are equal."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of rows on both sides, and the p-value of their difference."""

    reference: float
    current: float
    pvalue: float

    @property
    def change(self) -> float:
        """Current share minus reference share."""
        return self.current - self.reference


def two_proportions(a: int, n: int, b: int, m: int) -> float:
    """Return the two-sided p-value that two proportions are equal, by the pooled normal approximation."""
    pooled = (a + b) / (n + m)
    variance = pooled * (1 - pooled) * (1 / n + 1 / m)
    if variance <= 0:
        return 1.0
    return math.erfc(abs(a / n - b / m) / math.sqrt(2 * variance))


def rate(a: int, n: int, b: int, m: int) -> Rate | None:
    """Compare two shares of rows; None if a side has no rows."""
    if not n or not m:
        return None
    return Rate(reference=a / n, current=b / m, pvalue=two_proportions(a, n, b, m))
