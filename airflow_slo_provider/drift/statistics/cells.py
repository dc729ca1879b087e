"""Put two distributions on the same disjoint cells, with the rows of both sides in each.

The statistics computed from cells do not depend on the engine that counted. A cell that holds one value is an atom; within any
other cell the order of rows is unknown, so a statistic that depends on it is an interval that certainly contains the true value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import Cuts, count_at
from airflow_slo_provider.drift.profiles.grid import Array, Grid, cell_ends, codes_as_floats, common_form, float_codes, union
from airflow_slo_provider.drift.statistics.ks_pvalues import KS, ks_from_gaps
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData


@dataclass(frozen=True, eq=False)
class JointCells:
    """Cells in ascending order, with the rows of both sides.

    :param kind: ``float`` or ``int``: type of the codes
    :param low: code of the smallest number of each cell
    :param high: code of the largest number of each cell
    :param reference: int64 rows of the reference
    :param current: int64 rows of the current data
    :param bits: digits of the grid that all cells belong to; None for cells of several sizes
    """

    kind: str
    low: Array
    high: Array
    reference: Array
    current: Array
    bits: int | None = None

    @property
    def atom(self) -> Array:
        """Mask of the cells that hold one value."""
        return np.equal(self.low, self.high)

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of rows of the reference and of the current data."""
        return int(self.reference.sum()), int(self.current.sum())

    def floats(self, codes: Array) -> Array:
        """Convert codes of these cells to float64."""
        return codes_as_floats(codes, self.kind)

    def sums(self) -> tuple[Array, Array]:
        """Return both sides' rows up to and including each cell, with a leading 0."""
        return np.concatenate([[0], np.cumsum(self.reference)]), np.concatenate([[0], np.cumsum(self.current)])


def joint_cells(reference: ColumnProfile, current: ColumnProfile) -> JointCells:
    """Put two profiles of a column on the same cells.

    :raises NoData: when a side has no finite value
    :raises InvalidMeasurement: when the profiles hold no numbers, or were counted at edges without any in common
    """
    first, second = reference.distribution, current.distribution
    if first is None or second is None:
        raise InvalidMeasurement(f"column {reference.name} has no numbers to compare: {reference.kind} and {current.kind}")
    if not first.total or not second.total:
        raise NoData(f"column {reference.name}: reference has {first.total} finite values, current {second.total}")
    if isinstance(first, Grid) and isinstance(second, Grid):
        return grid_cells(first, second)
    return _cut_cells(*_common_cuts(first, second))


def grid_cells(first: Grid, second: Grid) -> JointCells:
    """Put two grids on the cells that at least one of them occupies."""
    kind, bits = common_form(first, second)
    first, second = first.convert(kind, bits), second.convert(kind, bits)
    codes = union(first.codes, second.codes)
    low, high = cell_ends(codes, kind, bits)
    return JointCells(kind, low, high, first.counts_at(codes), second.counts_at(codes), bits)


def _common_cuts(first: Grid | Cuts, second: Grid | Cuts) -> tuple[Cuts, Cuts]:
    """Return the cuts of both sides at the values that both can be counted at."""
    if first.kind != second.kind:
        first, second = (side.as_floats() for side in (first, second))
    if isinstance(first, Grid):
        other, own = _common_cuts(second, first)
        return own, other
    if isinstance(second, Grid):
        counted, certain = count_at(second, first.codes, first.closed)
        return first.take(certain), counted.take(certain)
    if first.same_edges(second):
        return first, second
    edges = [list(zip(side.codes.tolist(), side.closed.tolist(), strict=True)) for side in (first, second)]
    common = set(edges[0]) & set(edges[1])
    if not common:
        raise InvalidMeasurement("two profiles were counted at different edges; make the current one against the reference")
    shared = [np.array([edge in common for edge in own]) for own in edges]
    return first.take(shared[0]), second.take(shared[1])


def _cut_cells(first: Cuts, second: Cuts) -> JointCells:
    """Return the cells between adjacent cuts."""
    most = float_codes(np.array([math.inf])) if first.kind == "float" else np.array([2**63 - 1])
    # A cell begins at the number after a closed cut, and at an open cut itself.
    low = np.concatenate([-most, first.codes + first.closed])
    high = np.concatenate([first.codes - ~first.closed, most])
    counts = [np.diff(side.counts, prepend=0, append=side.total) for side in (first, second)]
    used = (counts[0] + counts[1]) > 0
    return JointCells(first.kind, low[used], high[used], counts[0][used], counts[1][used])


def ks_gaps(cells: JointCells) -> tuple[int, int, Array]:
    """Return bounds of the largest difference of the distribution functions, in units of 1 / (n m).

    At the ends of cells both functions are known, so their difference is attained. Inside a cell, either function may rise first.

    :return: lower bound, upper bound, and each cell's own upper bound
    """
    n, m = cells.sizes
    reference, current = cells.sums()
    if n * m >= 2**62:
        reference, current = reference.astype(object), current.astype(object)
    before, after = reference[:-1] * m - current[:-1] * n, reference[1:] * m - current[1:] * n
    attained = int(np.abs(after).max())
    inside = np.maximum(reference[1:] * m - current[:-1] * n, current[1:] * n - reference[:-1] * m)
    bounds = np.where(cells.atom, np.maximum(np.abs(before), np.abs(after)), inside)
    return attained, max(attained, int(bounds.max())), bounds


def ks_of_cells(cells: JointCells) -> KS:
    """Return the Kolmogorov-Smirnov statistic, or its interval where only bounds are known."""
    low, high, _ = ks_gaps(cells)
    return ks_from_gaps(low, high, *cells.sizes)


def bin_cells(cells: JointCells, bins: int) -> Array:
    """Return the ends of the reference's equi-depth bins: the index of the last cell of each bin except the last.

    The ends are type-1 quantiles of the reference. A cell with a share of at least 1 / bins is a bin of its own.
    """
    n, _ = cells.sizes
    sums = np.cumsum(cells.reference)
    ranks = np.array([-(-i * n // bins) for i in range(1, bins)])
    ends = np.searchsorted(sums, ranks, side="left")
    heavy = np.flatnonzero(cells.reference >= -(-n // bins))
    ends = np.unique(np.concatenate([ends, heavy, heavy - 1]))
    return ends[(ends >= 0) & (ends < len(sums) - 1)]


def count_bins(cells: JointCells, ends: Array) -> tuple[Array, Array]:
    """Return both sides' rows per bin."""
    starts = np.concatenate([[0], ends + 1]).astype(np.intp)
    return np.add.reduceat(cells.reference, starts), np.add.reduceat(cells.current, starts)


def middles(cells: JointCells) -> Array:
    """Return the middle of each cell; the finite end if a cell is unbounded."""
    low, high = cells.floats(cells.low), cells.floats(cells.high)
    low, high = np.where(np.isinf(low), high, low), np.where(np.isinf(high), low, high)
    return np.add(low / 2, high / 2)


def wasserstein_of_cells(cells: JointCells) -> float:
    """Return the earth mover's distance in the column's unit, placing rows at cell middles."""
    n, m = cells.sizes
    reference, current = cells.sums()
    return math.fsum(np.abs(reference[1:-1] / n - current[1:-1] / m) * np.diff(middles(cells)))
