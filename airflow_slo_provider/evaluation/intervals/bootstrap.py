"""Draw bootstrap weights in blocks, and compute intervals from the replicates.

A bootstrap sample is a weight for each unit. Up to 10,000 units the weights are multinomial, the original bootstrap
[Efron 1979]; above that they are independent Poisson(1) counts, which differ from it by O(1/n) and need no shuffling
[Hanley and MacGibbon 2006; Chamandy et al. 2012]. Blocks bound the memory, whatever the number of replicates.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.rows.sample import CHUNK

#: With more units the weights are Poisson.
POISSON_ABOVE = 10_000
#: Number of weights in memory at a time.
_BLOCK = 1 << 22
REPLICATES = 2_000


def derive_seed(*parts: Any) -> int:
    """Derive a seed from arrays or text, so that the same rows give the same interval however often a task is retried."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype.kind in "biufc":
            digest.update(np.ascontiguousarray(part).tobytes())
        elif part is not None:
            digest.update(repr(part.tolist() if isinstance(part, np.ndarray) else part).encode())
    return int.from_bytes(digest.digest()[:8], "big")


def draw_weights(n: int, replicates: int, seed: int, strata: NDArray[Any] | None = None) -> Iterator[NDArray[Any]]:
    """Yield blocks of weights, shape (some replicates, n), until there are ``replicates``.

    A block is valid only until the next one is requested, because its memory is reused.

    :param strata: index of each unit's stratum: every replicate keeps the strata's sizes (multinomial only)
    """
    rng = np.random.Generator(np.random.SFC64(seed))
    block = max(1, min(replicates, _BLOCK // max(n, 1)))
    counts = np.empty(block * n if n > POISSON_ABOVE else 0, dtype=np.uint8)
    for done in range(0, replicates, block):
        size = min(block, replicates - done)
        if n > POISSON_ABOVE:
            yield _fill_poisson(rng, counts[: size * n]).reshape(size, n)
        else:
            yield _draw_multinomial(rng, size, n, strata)


def _draw_multinomial(rng: np.random.Generator, size: int, n: int, strata: NDArray[Any] | None) -> NDArray[Any]:
    if strata is not None:
        out = np.zeros((size, n), dtype=np.int32)
        for stratum in np.unique(strata):
            where = np.flatnonzero(strata == stratum)
            out[:, where] = _draw_multinomial(rng, size, len(where), None)
        return out
    drawn = rng.integers(0, n, (size, n), dtype=np.int32).astype(np.int64)
    drawn += np.arange(size)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.int32)


def _fill_poisson(rng: np.random.Generator, out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw Poisson(1) from a table of 65,536 equally likely entries; its mean and variance are 1 within 1e-5."""
    table = _poisson_table()
    for start in range(0, len(out), CHUNK):
        piece = out[start : start + CHUNK]
        np.take(table, np.frombuffer(rng.bytes(2 * len(piece)), dtype=np.uint16), out=piece, mode="clip")
    return out


@cache
def _poisson_table() -> NDArray[np.uint8]:
    from scipy.special import pdtr

    bounds = np.round(np.asarray(pdtr(np.arange(12), 1.0)) * 65_536)
    return np.searchsorted(bounds, np.arange(65_536), side="right").astype(np.uint8)


def bca(value: float, replicates: NDArray[Any], acceleration: float, confidence: float) -> tuple[float, float] | None:
    """Compute the bias-corrected and accelerated interval [Efron 1987].

    :param acceleration: from :func:`compute_acceleration`; 0 gives the bias-corrected interval
    :return: None if one replicate in twenty or more has no value
    """
    from scipy.special import ndtr, ndtri

    defined = replicates[np.isfinite(replicates)]
    if len(defined) < 0.95 * len(replicates) or not len(defined):
        return None
    # Replicates of a constant differ in the last digit by rounding; differences that small count as equal.
    near = np.abs(defined - value) <= 1e-12 * max(1.0, abs(value))
    below = (np.count_nonzero((defined < value) & ~near) + 0.5 * np.count_nonzero(near)) / len(defined)
    least = 0.5 / len(defined)
    bias = float(ndtri(min(max(below, least), 1 - least)))
    tail = (1 - confidence) / 2
    shares = []
    for z in (float(ndtri(tail)), float(ndtri(1 - tail))):
        shifted = bias + z
        divisor = 1 - acceleration * shifted
        shares.append(float(ndtr(bias + shifted / divisor)) if divisor > 0 else float(shifted > 0))
    low, high = np.quantile(defined, shares)
    return min(float(low), value), max(float(high), value)


def compute_acceleration(influence: NDArray[Any]) -> float:
    """Return the acceleration: the skewness of the influence values over six [Efron 1987, eq. 4.4]."""
    cube, square = float((influence**3).sum()), float((influence**2).sum())
    if not (math.isfinite(cube) and square > 0):
        return 0.0
    return max(-0.5, min(0.5, cube / (6 * math.sqrt(square) ** 3)))


def one_sided_pvalue(replicates: NDArray[Any], bound: float) -> float:
    """Return the one-sided bootstrap p-value: the share of replicates at or below a bound, never 0 [Davison and Hinkley 1997]."""
    defined = replicates[np.isfinite(replicates)]
    return float((np.count_nonzero(defined <= bound) + 1) / (len(defined) + 1)) if len(defined) else 1.0
