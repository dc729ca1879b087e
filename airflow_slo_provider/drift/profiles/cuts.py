"""Counts of numbers below given values, as a database can return them in one scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.drift.profiles.grid import Grid, cell_ends, float_codes
from airflow_slo_provider.exceptions import InvalidMeasurement

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Cuts:
    """Numbers of rows below stored values of the reference.

    :param kind: ``float`` or ``int``: type of the codes (see :mod:`~airflow_slo_provider.drift.profiles.grid`)
    :param codes: int64, the values, ascending; a value may appear twice, first open and then closed
    :param closed: bool, whether the count includes the value itself
    :param counts: int64, rows below each value, ascending
    :param total: number of finite rows
    """

    kind: str
    codes: Array
    closed: Array
    counts: Array
    total: int

    def __post_init__(self) -> None:
        for part in (self.codes, self.closed, self.counts):
            part.setflags(write=False)
        counts = np.concatenate([[0], self.counts, [self.total]])
        if (np.diff(counts) < 0).any():
            raise InvalidMeasurement("counts below rising values fall: the data changed between two scans, or NaN was counted")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cuts):
            return NotImplemented
        return self.same_places(other) and np.array_equal(self.counts, other.counts) and self.total == other.total

    def __hash__(self) -> int:
        return hash((self.kind, self.codes.tobytes(), self.closed.tobytes(), self.counts.tobytes(), self.total))

    def same_places(self, other: Cuts) -> bool:
        """Return whether both sides count at the same values."""
        places = (np.array_equal(self.codes, other.codes), np.array_equal(self.closed, other.closed))
        return self.kind == other.kind and all(places)

    def merge(self, other: Cuts) -> Cuts:
        """Add counts at the same values.

        :raises InvalidMeasurement: when the values differ
        """
        if not self.same_places(other):
            raise InvalidMeasurement("profiles counted at different edges cannot be merged; make both against the same reference")
        return Cuts(self.kind, self.codes, self.closed, self.counts + other.counts, self.total + other.total)

    def take(self, which: Array) -> Cuts:
        """Return the selected cuts."""
        return Cuts(self.kind, self.codes[which], self.closed[which], self.counts[which], self.total)

    def as_floats(self) -> Cuts:
        """Return integer cuts as float cuts.

        :raises InvalidMeasurement: for values beyond 2^53, which float64 would round
        """
        if self.kind == "float":
            return self
        if len(self.codes) and max(abs(int(self.codes[0])), abs(int(self.codes[-1]))) > 2**53:
            raise InvalidMeasurement("integers beyond 2^53 cannot be compared with floats at stored edges")
        return Cuts("float", float_codes(self.codes.astype(np.float64)), self.closed, self.counts, self.total)


def count_at(grid: Grid, codes: Array, closed: Array) -> tuple[Cuts, Array]:
    """Count the rows of a grid below given values of the grid's kind.

    :return: the counts, and which cuts they are exact for: a cut inside a cell is not
    """
    low, high = cell_ends(grid.codes, grid.kind, grid.bits)
    upto = np.concatenate([[0], np.cumsum(grid.counts)])
    below = np.where(closed, np.searchsorted(high, codes, side="right"), np.searchsorted(high, codes, side="left"))
    begun = np.where(closed, np.searchsorted(low, codes, side="right"), np.searchsorted(low, codes, side="left"))
    return Cuts(grid.kind, codes, closed, upto[below], grid.total), below == begun
