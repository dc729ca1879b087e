"""Read a column again where the first pass left a verdict open, by branch and bound on cells.

Only cells whose upper bound exceeds the difference already attained are counted again, in finer cells that replace them.
"""

from __future__ import annotations

import numpy as np

from airflow_slo_provider.drift.engines.second_reading import recount_ranges
from airflow_slo_provider.drift.engines.sources import Source
from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.grid import Array
from airflow_slo_provider.drift.statistics.cells import JointCells, grid_cells, ks_gaps

#: Most readings of a column. Each makes an open cell at least sixteen times narrower, or empties it.
_MOST_READINGS = 6
#: A cell with a larger share shifts a decile's edge too much for the population stability index.
HEAVY = 0.02


def can_refine(reference: ColumnProfile, current: ColumnProfile, kind: str) -> bool:
    """Return whether the codes of the joint cells determine exactly which rows lie inside."""
    whole = [side for side in (reference, current) if side.distribution is not None and side.distribution.kind == "int"]
    return kind == "int" or all(max(abs(side.minimum or 0), abs(side.maximum or 0)) <= 2**53 for side in whole)


def refine_cells(cells: JointCells, which: Array, column: str, sources: tuple[Source, Source]) -> JointCells:
    """Replace some cells with finer ones, by reading the column again.

    :param which: bool per cell
    """
    low, high = cells.low[which], cells.high[which]
    starts = np.flatnonzero(np.concatenate([[True], low[1:] > high[:-1] + 1]))
    ranges = list(zip(low[starts].tolist(), high[np.append(starts[1:], len(low)) - 1].tolist(), strict=True))
    finer = grid_cells(*(recount_ranges(source, column, cells.kind, ranges, bits=cells.bits) for source in sources))
    parts = [
        np.concatenate([getattr(cells, name)[~which], getattr(finer, name)]) for name in ("low", "high", "reference", "current")
    ]
    order = np.argsort(parts[0], kind="stable")
    low, high, reference, current = (part[order] for part in parts)
    return JointCells(cells.kind, low, high, reference, current)


def split_heavy(cells: JointCells, column: str, sources: tuple[Source, Source]) -> JointCells:
    """Refine cells whose share is too large to place a bin's edge."""
    n, m = cells.sizes
    for _ in range(_MOST_READINGS):
        which = ~cells.atom & ((cells.reference > HEAVY * n) | (cells.current > HEAVY * m))
        if not which.any():
            break
        cells = refine_cells(cells, which, column, sources)
    return cells


def narrow_interval(
    cells: JointCells, column: str, sources: tuple[Source, Source], *, thresholds: list[float], exact: bool
) -> JointCells:
    """Refine cells until the Kolmogorov-Smirnov interval contains no threshold, or is one point.

    :param thresholds: values of D that decide a verdict
    """
    n, m = cells.sizes
    for _ in range(_MOST_READINGS):
        low, high, bounds = ks_gaps(cells)
        straddles = any(low / (n * m) < threshold <= high / (n * m) for threshold in thresholds)
        if low == high or not (exact or straddles):
            break
        cells = refine_cells(cells, np.asarray(bounds > low, dtype=bool) & ~cells.atom, column, sources)
    return cells
