"""Query a database again where its first counts left a verdict open, with more edges in the open cells only."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import count_at
from airflow_slo_provider.drift.profiles.grid import Grid, cell_ends, value_code
from airflow_slo_provider.drift.statistics.cells import JointCells, gaps

Array = npt.NDArray[Any]

_MOST_ROUNDS = 8
_MOST_CELLS = 8
#: New edges per cell and round.
_PARTS = 15


class Counts(Protocol):
    """One side of a comparison that can count its finite rows up to given values."""

    def upto(self, profile: ColumnProfile, kind: str, codes: Array) -> Array:
        """Return one count per code."""
        ...


class GridCounts:
    """Counts of a stored profile; they are exact at the ends of its cells, and only those are requested."""

    def upto(self, profile: ColumnProfile, kind: str, codes: Array) -> Array:
        """Return one count per code."""
        held = profile.distribution
        if not isinstance(held, Grid):
            raise TypeError(f"column {profile.name} is not on a grid")
        return count_at(held, codes, np.ones(len(codes), dtype=bool))[0].counts


def narrow_by_counts(
    cells: JointCells, profiles: tuple[ColumnProfile, ColumnProfile], sides: tuple[Counts, Counts], *, thresholds: list[float]
) -> JointCells:
    """Add edges until the Kolmogorov-Smirnov interval contains no threshold.

    :param profiles: of the column, reference and current
    :param sides: counters of the reference and of the current data
    :param thresholds: values of D that decide a verdict
    """
    n, m = cells.sizes
    for _ in range(_MOST_ROUNDS):
        low, high, bounds = gaps(cells)
        if not any(low / (n * m) < threshold <= high / (n * m) for threshold in thresholds):
            break
        open_cells = np.flatnonzero(np.asarray(bounds > low, dtype=bool) & ~cells.atom)
        worst = open_cells[np.argsort(-bounds[open_cells].astype(np.float64), kind="stable")[:_MOST_CELLS]]
        codes = np.unique(np.concatenate([_inside(cells, int(cell), profiles) for cell in worst]))
        if not len(codes):
            break
        counts = [side.upto(profile, cells.kind, codes) for side, profile in zip(sides, profiles, strict=True)]
        cells = _split(cells, codes, counts)
    return cells


def _inside(cells: JointCells, cell: int, profiles: tuple[ColumnProfile, ColumnProfile]) -> Array:
    """Return new edges within a cell, between the extreme values; next to a grid, at ends of the grid's cells."""
    least = min(side.minimum for side in profiles if side.minimum is not None)
    most = max(side.maximum for side in profiles if side.maximum is not None)
    low = max(int(cells.low[cell]), value_code(least, cells.kind))
    high = min(int(cells.high[cell]), value_code(most, cells.kind))
    grid = next((side.distribution for side in profiles if isinstance(side.distribution, Grid)), None)
    if grid is not None:
        ends = cell_ends(grid.codes, grid.kind, grid.bits)[1]
        ends = ends[(ends >= low) & (ends < high)]
        return ends[:: max(1, len(ends) // _PARTS)]
    steps = [low + (high - low) * part // (_PARTS + 1) for part in range(1, _PARTS + 1)] if high > low else []
    return np.array([code for code in dict.fromkeys(steps) if low <= code < high], dtype=np.int64)


def _split(cells: JointCells, codes: Array, counts: list[Array]) -> JointCells:
    """Merge the new edges into the cells; all counts are rows up to and including a value."""
    # Both ends of each cell are kept: where empty cells were left out, the next cell would otherwise grow and be no atom.
    ends = np.concatenate([cells.high[:-1], cells.low[1:] - 1, codes])
    order = np.argsort(ends, kind="stable")
    ends, first = np.unique(ends[order], return_index=True)
    rows = []
    for side, added, total in zip(cells.sums(), counts, cells.sizes, strict=True):
        upto = np.concatenate([side[1:-1], side[1:-1], added])[order][first]
        rows.append(np.diff(np.concatenate([[0], upto, [total]])))
    low, high = np.concatenate([cells.low[:1], ends + 1]), np.append(ends, cells.high[-1])
    held = (rows[0] + rows[1]) > 0
    return JointCells(cells.kind, low[held], high[held], rows[0][held], rows[1][held])
