"""Read a column again where the first pass left a verdict open, by branch and bound on cells.

Only cells whose upper bound exceeds the difference already attained are counted again, in finer cells that replace them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.drift.engines.second_reading import zoom
from airflow_slo_provider.drift.engines.sources import Source
from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.grid import cell_ends, common_form, union
from airflow_slo_provider.drift.statistics.cells import JointCells, gaps

Array = npt.NDArray[Any]

#: Most readings of a column. Each makes an open cell at least sixteen times narrower, or empties it.
_MOST_READINGS = 6
#: A cell with a larger share shifts a decile's edge too much for the population stability index.
HEAVY = 0.02


def can_refine(reference: ColumnProfile, current: ColumnProfile, kind: str) -> bool:
    """Return whether the codes of the joint cells determine exactly which rows lie inside."""
    if kind == "int":
        return True
    for side in (reference, current):
        held = side.distribution
        if held is not None and held.kind == "int" and max(abs(side.minimum or 0), abs(side.maximum or 0)) > 2**53:
            return False
    return True


def look_into(cells: JointCells, which: Array, column: str, sources: tuple[Source, Source]) -> JointCells:
    """Replace some cells with finer ones, by reading the column again.

    :param which: bool per cell
    """
    low, high = cells.low[which], cells.high[which]
    joined = np.concatenate([[True], low[1:] > high[:-1] + 1])
    starts = np.flatnonzero(joined)
    ranges = list(zip(low[starts].tolist(), high[np.append(starts[1:], len(low)) - 1].tolist(), strict=True))
    first, second = (zoom(source, column, cells.kind, ranges, bits=cells.bits) for source in sources)
    kind, bits = common_form(first, second)
    first, second = first.at(kind, bits), second.at(kind, bits)
    codes = union(first.codes, second.codes)
    ends = cell_ends(codes, kind, bits)
    parts = [cells.low[~which], cells.high[~which], cells.reference[~which], cells.current[~which]]
    for index, added in enumerate((*ends, *(_spread(codes, side.codes, side.counts) for side in (first, second)))):
        parts[index] = np.concatenate([parts[index], added])
    order = np.argsort(parts[0], kind="stable")
    low, high, reference, current = (part[order] for part in parts)
    return JointCells(cells.kind, low, high, reference, current)


def _spread(codes: Array, held: Array, counts: Array) -> Array:
    out = np.zeros(len(codes), dtype=np.int64)
    out[np.searchsorted(codes, held)] = counts
    return out


def split_heavy(cells: JointCells, column: str, sources: tuple[Source, Source]) -> JointCells:
    """Refine cells whose share is too large to place a bin's edge."""
    n, m = cells.sizes
    for _ in range(_MOST_READINGS):
        which = ~cells.atom & ((cells.reference > HEAVY * n) | (cells.current > HEAVY * m))
        if not which.any():
            break
        cells = look_into(cells, which, column, sources)
    return cells


def narrow(cells: JointCells, column: str, sources: tuple[Source, Source], *, thresholds: list[float], exact: bool) -> JointCells:
    """Refine cells until the Kolmogorov-Smirnov interval contains no threshold, or is one point.

    :param thresholds: values of D that decide a verdict
    """
    n, m = cells.sizes
    for _ in range(_MOST_READINGS):
        low, high, bounds = gaps(cells)
        straddles = any(low / (n * m) < threshold <= high / (n * m) for threshold in thresholds)
        if low == high or not (exact or straddles):
            break
        cells = look_into(cells, np.asarray(bounds > low, dtype=bool) & ~cells.atom, column, sources)
    return cells
