"""Adjust p-values of several tests by Holm's method (Holm, *A simple sequentially rejective multiple test procedure*, 1979)."""

from __future__ import annotations

from collections.abc import Sequence


def holm(pvalues: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, so that a significance level bounds the probability of any false positive.

    :param pvalues: p-values of the tests
    :return: adjusted p-values in the same order
    """
    count, largest = len(pvalues), 0.0
    adjusted = [0.0] * count
    for rank, index in enumerate(sorted(range(count), key=lambda index: pvalues[index])):
        largest = max(largest, min(1.0, (count - rank) * pvalues[index]))
        adjusted[index] = largest
    return adjusted
