"""Counts of numbers below given values, as a database can return them in one scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from airflow_slo_provider.drift.profiles.grid import Array, Grid, float_codes
from airflow_slo_provider.exceptions import InvalidMeasurement


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
        if (np.diff(self.counts, prepend=0, append=self.total) < 0).any():
            raise InvalidMeasurement("counts below rising values fall: the data changed between two scans, or NaN was counted")

    def _edges(self) -> tuple[object, ...]:
        return self.kind, self.codes.tobytes(), self.closed.tobytes()

    def __eq__(self, other: object) -> bool:
        return self.same_edges(other) and (self.counts.tobytes(), self.total) == (other.counts.tobytes(), other.total)

    def __hash__(self) -> int:
        return hash((self._edges(), self.counts.tobytes(), self.total))

    def same_edges(self, other: object) -> TypeGuard[Cuts]:
        """Return whether both sides count at the same values."""
        return isinstance(other, Cuts) and self._edges() == other._edges()

    def merge(self, other: Cuts) -> Cuts:
        """Add counts at the same values.

        :raises InvalidMeasurement: when the values differ
        """
        if not self.same_edges(other):
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
    low, high = grid.cell_ends()
    sums = np.concatenate([[0], np.cumsum(grid.counts)])
    ended, begun = (
        np.where(closed, np.searchsorted(ends, codes, side="right"), np.searchsorted(ends, codes)) for ends in (high, low)
    )
    return Cuts(grid.kind, codes, closed, sums[ended], grid.total), ended == begun
