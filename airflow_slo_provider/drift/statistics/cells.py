"""Put two distributions on the same disjoint cells, with the rows of both sides in each.

The statistics computed from cells do not depend on the engine that counted. A cell that holds one value is an atom; within any
other cell the order of rows is unknown, so a statistic that depends on it is an interval that certainly contains the true value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.drift.profiles.columns import ColumnProfile
from airflow_slo_provider.drift.profiles.cuts import Cuts, count_at
from airflow_slo_provider.drift.profiles.grid import Grid, cell_ends, code_floats, common_form, float_codes, union
from airflow_slo_provider.drift.statistics.ks_pvalues import KS, from_gaps
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData

Array = npt.NDArray[Any]


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
        out: Array = self.low == self.high
        return out

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of rows of the reference and of the current data."""
        return int(self.reference.sum()), int(self.current.sum())

    def floats(self, codes: Array) -> Array:
        """Convert codes of these cells to float64."""
        return code_floats(codes) if self.kind == "float" else codes.astype(np.float64)

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
        raise InvalidMeasurement(f"column {reference.name} holds no numbers: {reference.kind} and {current.kind}")
    if not first.total or not second.total:
        raise NoData(f"column {reference.name}: reference has {first.total} finite values, current {second.total}")
    if isinstance(first, Grid) and isinstance(second, Grid):
        return _of_grids(first, second)
    return _of_cuts(*_at_same_places(first, second))


def _of_grids(first: Grid, second: Grid) -> JointCells:
    kind, bits = common_form(first, second)
    first, second = first.at(kind, bits), second.at(kind, bits)
    codes = union(first.codes, second.codes)
    counts = []
    for side in (first, second):
        held = np.zeros(len(codes), dtype=np.int64)
        held[np.searchsorted(codes, side.codes)] = side.counts
        counts.append(held)
    low, high = cell_ends(codes, kind, bits)
    return JointCells(kind, low, high, counts[0], counts[1], bits)


def _at_same_places(first: Grid | Cuts, second: Grid | Cuts) -> tuple[Cuts, Cuts]:
    if first.kind != second.kind:
        first, second = (side.as_floats() if isinstance(side, Cuts) else side.at("float", side.bits) for side in (first, second))
    if isinstance(first, Grid):
        other, mine = _at_same_places(second, first)
        return mine, other
    if isinstance(second, Grid):
        counted, certain = count_at(second, first.codes, first.closed)
        return first.take(certain), counted.take(certain)
    if first.same_places(second):
        return first, second
    places = [list(zip(side.codes.tolist(), side.closed.tolist(), strict=True)) for side in (first, second)]
    common = set(places[0]) & set(places[1])
    if not common:
        raise InvalidMeasurement(
            "two profiles counted at different edges have nothing in common; make the current one against the reference"
        )
    return tuple(
        side.take(np.array([place in common for place in own])) for side, own in zip((first, second), places, strict=True)
    )  # type: ignore[return-value]


def _of_cuts(first: Cuts, second: Cuts) -> JointCells:
    """Return the cells between adjacent cuts."""
    least, most = (float_codes(np.array([math.inf])) if first.kind == "float" else np.array([2**63 - 1]) for _ in range(2))
    # A cell begins at the number after a closed cut, and at an open cut itself.
    low = np.concatenate([-least, first.codes + first.closed])
    high = np.concatenate([first.codes - ~first.closed, most])
    counts = [np.diff(np.concatenate([[0], side.counts, [side.total]])) for side in (first, second)]
    held = (counts[0] + counts[1]) > 0
    return JointCells(first.kind, low[held], high[held], counts[0][held], counts[1][held])


def gaps(cells: JointCells) -> tuple[int, int, Array]:
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
    low, high, _ = gaps(cells)
    return from_gaps(low, high, *cells.sizes)


def bin_cells(cells: JointCells, bins: int) -> Array:
    """Return the ends of the reference's equi-depth bins: the index of the last cell of each bin except the last.

    The ends are type-1 quantiles of the reference. A cell with a share of at least 1 / bins is a bin of its own.
    """
    n, _ = cells.sizes
    upto = np.cumsum(cells.reference)
    wanted = np.array([-(-i * n // bins) for i in range(1, bins)])
    ends = np.searchsorted(upto, wanted, side="left")
    heavy = np.flatnonzero(cells.reference >= -(-n // bins))
    ends = np.unique(np.concatenate([ends, heavy, heavy - 1]))
    out: Array = ends[(ends >= 0) & (ends < len(upto) - 1)]
    return out


def binned(cells: JointCells, ends: Array) -> tuple[Array, Array]:
    """Return both sides' rows per bin."""
    starts = np.concatenate([[0], ends + 1]).astype(np.intp)
    return np.add.reduceat(cells.reference, starts), np.add.reduceat(cells.current, starts)


def middles(cells: JointCells) -> Array:
    """Return the middle of each cell; the finite end if a cell is unbounded."""
    low, high = cells.floats(cells.low), cells.floats(cells.high)
    low, high = np.where(np.isinf(low), high, low), np.where(np.isinf(high), low, high)
    out: Array = low / 2 + high / 2
    return out


def wasserstein_of_cells(cells: JointCells) -> float:
    """Return the earth mover's distance in the column's unit, placing rows at cell middles."""
    n, m = cells.sizes
    reference, current = cells.sums()
    places = middles(cells)
    return math.fsum(np.abs(reference[1:-1] / n - current[1:-1] / m) * np.diff(places))
