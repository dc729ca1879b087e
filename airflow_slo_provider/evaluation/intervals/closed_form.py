"""Intervals and tests without resampling: proportions, their paired difference, the area under the ROC curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def normal_quantile(confidence: float) -> float:
    """Return the normal quantile of a two-sided interval."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + confidence / 2))


def wilson(good: float, total: float, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the score interval of a proportion, without continuity correction [Wilson 1927].

    :raises ValueError: when ``total`` is not positive
    """
    _check_proportion(good, total)
    z, share = normal_quantile(confidence), good / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    below = 1 + z * z / total
    low = 0.0 if good == 0 else (middle - half) / below
    high = 1.0 if good == total else (middle + half) / below
    return low, high


def _check_proportion(good: float, total: float) -> None:
    if not total > 0 or not 0 <= good <= total:
        raise ValueError(f"{good} of {total} is not a proportion")


def clopper_pearson(good: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the exact interval of a proportion [Clopper and Pearson 1934].

    :raises ValueError: when ``total`` is not positive
    """
    from scipy.special import betaincinv

    _check_proportion(good, total)
    tail = (1 - confidence) / 2
    low = 0.0 if good == 0 else float(betaincinv(good, total - good + 1, tail))
    high = 1.0 if good == total else float(betaincinv(good + 1, total - good, 1 - tail))
    return low, high


def paired_difference(worse: float, better: float, total: float, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the interval of the difference of two proportions on the same rows [Bonett and Price 2012, adjusted Wald].

    :param worse: number of rows that only the first got right
    :param better: number of rows that only the second got right
    :return: the interval of (second - first)
    """
    first, second = (worse + 1) / (total + 2), (better + 1) / (total + 2)
    half = normal_quantile(confidence) * math.sqrt((first + second - (second - first) ** 2) / (total + 2))
    return max(second - first - half, -1.0), min(second - first + half, 1.0)


#: With fewer discordant pairs McNemar's test is exact.
EXACT_BELOW = 25


def mcnemar(b: int, c: int, *, exactly: bool | None = None) -> tuple[float, float]:
    """Test whether two classifiers err equally often on the same rows [McNemar 1947].

    :param b: number of rows that only the first got right
    :param c: number of rows that only the second got right
    :param exactly: whether to use the exact binomial test; by default below 25 discordant pairs, above them the chi-square
        without correction [Fagerland, Lydersen and Laake 2013: the corrected one is needlessly conservative]
    :return: the statistic (chi-square, 0 for the exact test of equal counts) and the two-sided p-value
    """
    from scipy.special import bdtr, chdtrc

    if b + c == 0:
        return 0.0, 1.0
    statistic = (b - c) ** 2 / (b + c)
    if b + c < EXACT_BELOW if exactly is None else exactly:
        return statistic, min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5)))
    return statistic, float(chdtrc(1, statistic))


@dataclass(frozen=True, eq=False)
class Placements:
    """Placements of one score for DeLong's method: the area, and each row's share in it.

    :param area: probability that a positive outranks a negative, ties half
    :param of_positives: for each positive the share of negatives below it, shape (positives,)
    :param of_negatives: for each negative the share of positives above it, shape (negatives,)
    """

    area: float
    of_positives: NDArray[np.float64]
    of_negatives: NDArray[np.float64]


def compute_placements(positive: NDArray[Any], scores: NDArray[Any]) -> Placements:
    """Compute placements by mid-ranks in O(n log n) [DeLong, DeLong and Clarke-Pearson 1988; Sun and Xu 2014].

    :param positive: mask of the positive rows; both classes must occur
    """
    above, below = scores[positive], scores[~positive]
    ranks = _midranks(scores)
    of_positives = (ranks[positive] - _midranks(above)) / len(below)
    of_negatives = 1 - (ranks[~positive] - _midranks(below)) / len(above)
    return Placements(float(of_positives.mean()), of_positives, of_negatives)


def _midranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[index])


def delong_variance(first: Placements, second: Placements | None = None) -> float:
    """Return the variance of an area, or of (second - first) on the same rows; NaN if a class has one row."""
    positives, negatives = first.of_positives, first.of_negatives
    if second is not None:
        positives, negatives = second.of_positives - positives, second.of_negatives - negatives
    if len(positives) < 2 or len(negatives) < 2:
        return float("nan")
    return float(positives.var(ddof=1) / len(positives) + negatives.var(ddof=1) / len(negatives))


def normal_pvalue(z: float, *, two_sided: bool = False) -> float:
    """Return the p-value of a normal statistic: one-sided for greater values, or two-sided."""
    from scipy.special import ndtr

    return float(2 * ndtr(-abs(z)) if two_sided else ndtr(-z))
