"""Compute the population stability index with its bias, p-value and critical value.

PSI = sum over bins of (q - p) ln(q / p), p the reference's share and q the current's: Jeffreys' divergence [Jeffreys 1948].
Without drift it behaves like (1/n + 1/m) times chi-square with B - 1 degrees of freedom [Yurdakul 2018; Yurdakul and Naranjo
2020, J. Risk Model Validation 14(4), eq. 4.1], so a value without n, m and B says little: at n = m = 100 an undrifted column
in ten bins exceeds 0.1 more often than not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_slo_provider.drift.statistics.distances import counts_of, expected_minimum
from airflow_slo_provider.exceptions import NoData

#: Commonly used floor for a share. Without a floor, an empty bin makes the index infinite.
FLOOR = 1e-4
#: With fewer rows on either side, or an expected cell below 5, the chi-square approximation is unreliable.
FEWEST_ROWS = 500
FEWEST_EXPECTED = 5.0


@dataclass(frozen=True, kw_only=True)
class PSI:
    """A population stability index with its bias, p-value and critical value.

    :param value: the index
    :param bias: mean of an index with this many bins and rows without drift, (B - 1)(1/n + 1/m)
    :param corrected: ``value - bias``; may be below zero
    :param pvalue: probability of an index at least this large without drift
    :param bins: number of bins that hold a row on either side
    :param critical: value that an undrifted column exceeds with probability ``alpha``
    :param alpha: level of ``critical``
    :param floor: lower bound of a share; it affects the index: one emptied decile gives 0.47 with 1e-3 and 0.70 with 1e-4
    :param floored: number of cells (of both sides) that were raised to the floor
    :param smoothing: pseudo-count added to each cell instead of a floor, 0 for none
    :param n: rows of the reference
    :param m: rows of the current data
    :param status: ``ok``, or ``insufficient_data`` below 500 rows or an expected count of 5
    """

    value: float
    bias: float
    corrected: float
    pvalue: float
    bins: int
    critical: float
    alpha: float
    floor: float
    floored: int
    smoothing: float
    n: int
    m: int
    status: str


def psi(
    reference_counts: Sequence[int] | Any,
    current_counts: Sequence[int] | Any,
    *,
    floor: float = FLOOR,
    smoothing: float = 0.0,
    alpha: float = 0.05,
) -> PSI:
    """Compute the population stability index of two histograms over the same bins.

    :param reference_counts: rows per bin of the reference
    :param current_counts: rows per bin of the current data
    :param floor: smallest share of a bin, on both sides; shares are not renormalised after it
    :param smoothing: pseudo-count per cell (0.5 is usual) used instead of the floor; 0 for none
    :param alpha: level of the critical value
    :raises NoData: when either side has no rows
    :raises InvalidMeasurement: for histograms of different length, or counts that are negative, fractional or not finite
    :raises ValueError: for ``floor``, ``smoothing`` or ``alpha`` out of range, and when both ``floor`` and ``smoothing`` are 0
    """
    import numpy as np
    from scipy.special import chdtrc, chdtri

    if not 0 <= floor < 1 or not 0 <= smoothing < math.inf:
        raise ValueError(f"floor {floor} must be in [0, 1) and smoothing {smoothing} finite and not negative")
    if not floor and not smoothing:
        raise ValueError("without a floor and without smoothing an empty bin makes the index infinite; set one of the two")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} must be between 0 and 1")
    reference, current = counts_of(reference_counts, current_counts)
    n, m = int(reference.sum()), int(current.sum())
    if not n or not m:
        raise NoData(f"PSI needs rows on both sides; reference has {n}, current {m}")
    used = (reference + current) > 0
    reference, current, bins = reference[used], current[used], int(used.sum())
    floored = 0
    if smoothing:
        p = (reference + smoothing) / (n + smoothing * bins)
        q = (current + smoothing) / (m + smoothing * bins)
    else:
        p, q = reference / n, current / m
        floored = int((p < floor).sum() + (q < floor).sum())
        p, q = np.maximum(p, floor), np.maximum(q, floor)
    value = math.fsum((q - p) * (np.log(q) - np.log(p)))
    scale, freedom = 1 / n + 1 / m, bins - 1
    sparse = min(n, m) < FEWEST_ROWS or expected_minimum(reference, current) < FEWEST_EXPECTED
    return PSI(
        value=value,
        bias=freedom * scale,
        corrected=value - freedom * scale,
        pvalue=float(chdtrc(freedom, max(value, 0.0) / scale)) if freedom else 1.0,
        bins=bins,
        critical=float(chdtri(freedom, alpha)) * scale if freedom else 0.0,
        alpha=alpha,
        floor=0.0 if smoothing else floor,
        floored=floored,
        smoothing=smoothing,
        n=n,
        m=m,
        status="insufficient_data" if sparse else "ok",
    )
