"""Ranks of type-1 quantiles, which are always observed values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction


def ranks(total: int, probabilities: Iterable[float | Fraction]) -> list[int]:
    """Return the 1-based ranks of type-1 quantiles among ``total`` values: the smallest k with k / total >= probability.

    A float is read as the decimal it prints as, so that 0.3 of 10 values is the third value and not the fourth.
    """
    exact = [q if isinstance(q, Fraction) else Fraction(repr(float(q))) for q in probabilities]
    return [max(1, math.ceil(q * total)) for q in exact]
