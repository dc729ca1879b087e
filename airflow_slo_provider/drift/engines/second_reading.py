"""Read one column again on a finer grid where the first reading left a verdict open."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from airflow_slo_provider.drift.engines.local import run_tasks
from airflow_slo_provider.drift.engines.sources import Source
from airflow_slo_provider.drift.profiles.columns import NUMERIC
from airflow_slo_provider.drift.profiles.grid import EXACT, Array, Grid, code_value, value_codes
from airflow_slo_provider.drift.profiles.grid_builder import GridBuilder
from airflow_slo_provider.drift.profiles.kernel import Values

#: Values of one column and side that are kept as they are while a column is read again; more are counted on a finer grid.
_MOST_KEPT = 4_000_000
_FINE_CELLS = 524_288
_LONGEST_TABLE = 1 << 22
_BLOCK = 131_072


def recount_ranges(source: Source, column: str, kind: str, ranges: Sequence[tuple[int, int]], *, bits: int | None = None) -> Grid:
    """Read one column again, and count the values in some ranges on a finer grid.

    :param kind: ``float`` or ``int``: type of the codes
    :param ranges: codes of the smallest and largest number of each range, disjoint and ascending
    :param bits: digits of the grid whose cells make up the ranges, if they are of one grid
    """
    dtype = np.float64 if kind == "float" else np.int64
    starts = np.array([code_value(low, kind) for low, _ in ranges], dtype=dtype)
    ends = np.array([code_value(high, kind) for _, high in ranges], dtype=dtype)
    collected = _ValueCollector(kind)
    cell_table = _CellTable.build(ranges, bits) if kind == "float" and bits is not None and len(ranges) > 4 else None

    def consume(_: str, values: Values) -> None:
        if values.numbers is None or values.kind not in NUMERIC:
            return
        numbers = values.numbers.astype(dtype, copy=False)
        if cell_table is not None:
            for start in range(0, len(numbers), _BLOCK):
                block = numbers[start : start + _BLOCK]
                collected.add(block[cell_table.contains(block)])
            return
        numbers = numbers[(numbers >= starts[0]) & (numbers <= ends[-1])]
        if len(starts) > 1:
            numbers = numbers[numbers <= ends[np.searchsorted(starts, numbers, side="right") - 1]]
        collected.add(numbers)

    run_tasks(source.tasks([column], frozenset()), consume)
    return collected.grid()


class _ValueCollector:
    """Collect values while there are few; count them on a grid once there are many."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._builder = GridBuilder(kind, most=_FINE_CELLS)
        self._values: list[Array] = []
        self._total = 0
        self._lock = threading.Lock()

    def add(self, values: Array) -> None:
        with self._lock:
            self._total += len(values)
            self._values.append(values)
            waiting: list[Array] = []
            if self._total > _MOST_KEPT:
                waiting, self._values = self._values, []
        for part in waiting:
            self._builder.add(part)

    def grid(self) -> Grid:
        if self._total > _MOST_KEPT:
            return self._builder.grid()
        values = np.concatenate([np.empty(0, np.float64 if self._kind == "float" else np.int64), *self._values])
        codes, counts = np.unique(value_codes(values, self._kind), return_counts=True)
        return Grid(self._kind, EXACT, codes, counts)


class _CellTable:
    """Test whether floats lie in some cells of a grid, by a table over the leading digits.

    Zero and subnormals are not supported.
    """

    def __init__(self, base: int, shift: int, table: Array) -> None:
        self._base, self._shift, self._table, self._span = base, shift, table, len(table) // 2

    @classmethod
    def build(cls, ranges: Sequence[tuple[int, int]], bits: int) -> _CellTable | None:
        """Build the table; None if it would be too long or cannot represent the ranges."""
        shift = 52 - bits
        if shift <= 0:
            return None
        ends = [sorted((abs(low), abs(high))) for low, high in ranges]
        base, top = min(end[0] for end in ends) >> shift, max(end[1] for end in ends) >> shift
        span = top - base + 3  # one slot before and one after for values outside the ranges
        if base < 1 or span > _LONGEST_TABLE or any(low < 0 < high for low, high in ranges):
            return None
        table = np.zeros(2 * span, dtype=bool)
        for (low, _), (near, far) in zip(ranges, ends, strict=True):
            first = (near >> shift) - base + 1 + (span if low < 0 else 0)
            table[first : first + (far >> shift) - (near >> shift) + 1] = True
        return cls(base, shift, table)

    def contains(self, values: Array) -> Array:
        """Return one bool per value."""
        raw = np.ascontiguousarray(values).view(np.int64)
        slot = raw & np.int64(0x7FFFFFFFFFFFFFFF)
        slot >>= self._shift
        slot -= self._base - 1
        np.clip(slot, 0, self._span - 1, out=slot)
        slot += (raw >> 63) & self._span
        return self._table[slot]  # type: ignore[no-any-return]
