"""Query a database again where its first counts left a verdict open, with more edges in the open cells only."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import count_at
from airflow_slo_provider.drift.profiles.grid import Array, Grid, value_code
from airflow_slo_provider.drift.statistics.cells import JointCells, ks_gaps

_MOST_ROUNDS = 8
_MOST_CELLS = 8
#: New edges per cell and round.
_PARTS = 15


class RowCounter(Protocol):
    """One side of a comparison that can count its finite rows up to given values."""

    def count_up_to(self, profile: ColumnProfile, kind: str, codes: Array) -> Array:
        """Return one count per code."""
        ...


RowCounters = tuple[RowCounter, RowCounter]


class GridCounter:
    """Row counts of a stored profile; they are exact at the ends of its cells, and only those are requested."""

    def count_up_to(self, profile: ColumnProfile, kind: str, codes: Array) -> Array:
        """Return one count per code."""
        grid = profile.distribution
        if not isinstance(grid, Grid):
            raise TypeError(f"column {profile.name} is not on a grid")
        return count_at(grid, codes, np.ones(len(codes), dtype=bool))[0].counts


def narrow_by_counts(
    cells: JointCells,
    profiles: tuple[ColumnProfile, ColumnProfile],
    sides: RowCounters,
    *,
    thresholds: list[float],
) -> JointCells:
    """Add edges until the Kolmogorov-Smirnov interval contains no threshold.

    :param profiles: of the column, reference and current
    :param sides: counters of the reference and of the current data
    :param thresholds: values of D that decide a verdict
    """
    n, m = cells.sizes
    for _ in range(_MOST_ROUNDS):
        low, high, bounds = ks_gaps(cells)
        if not any(low / (n * m) < threshold <= high / (n * m) for threshold in thresholds):
            break
        open_cells = np.flatnonzero(np.asarray(bounds > low, dtype=bool) & ~cells.atom)
        worst = open_cells[np.argsort(-bounds[open_cells].astype(np.float64), kind="stable")[:_MOST_CELLS]]
        codes = np.unique(np.concatenate([_new_edges(cells, int(cell), profiles) for cell in worst]))
        if not len(codes):
            break
        counts = [side.count_up_to(profile, cells.kind, codes) for side, profile in zip(sides, profiles, strict=True)]
        cells = _insert_edges(cells, codes, counts)
    return cells


def _new_edges(cells: JointCells, cell: int, profiles: tuple[ColumnProfile, ColumnProfile]) -> Array:
    """Return new edges within a cell, between the extreme values; next to a grid, at ends of the grid's cells."""
    least = min(side.minimum for side in profiles if side.minimum is not None)
    most = max(side.maximum for side in profiles if side.maximum is not None)
    low = max(int(cells.low[cell]), value_code(least, cells.kind))
    high = min(int(cells.high[cell]), value_code(most, cells.kind))
    grid = next((side.distribution for side in profiles if isinstance(side.distribution, Grid)), None)
    if grid is not None:
        _, ends = grid.cell_ends()
        ends = ends[(ends >= low) & (ends < high)]
        return ends[:: max(1, len(ends) // _PARTS)]
    steps = (low + (high - low) * part // (_PARTS + 1) for part in range(1, _PARTS + 1))
    return np.array([code for code in dict.fromkeys(steps) if low <= code < high], dtype=np.int64)


def _insert_edges(cells: JointCells, codes: Array, counts: list[Array]) -> JointCells:
    """Merge the new edges into the cells; all counts are rows up to and including a value."""
    # Both ends of each cell are kept: where empty cells were left out, the next cell would otherwise grow and be no atom.
    ends = np.concatenate([cells.high[:-1], cells.low[1:] - 1, codes])
    order = np.argsort(ends, kind="stable")
    ends, first = np.unique(ends[order], return_index=True)
    rows = []
    for side, added, total in zip(cells.sums(), counts, cells.sizes, strict=True):
        sums = np.concatenate([side[1:-1], side[1:-1], added])[order][first]
        rows.append(np.diff(sums, prepend=0, append=total))
    low, high = np.concatenate([cells.low[:1], ends + 1]), np.append(ends, cells.high[-1])
    used = (rows[0] + rows[1]) > 0
    return JointCells(cells.kind, low[used], high[used], rows[0][used], rows[1][used])
