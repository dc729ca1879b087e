"""Read one column again on a finer grid where the first reading left a verdict open."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from airflow_slo_provider.drift.engines.local import run_tasks
from airflow_slo_provider.drift.engines.sources import Source
from airflow_slo_provider.drift.profiles.columns import NUMERIC
from airflow_slo_provider.drift.profiles.grid import EXACT, Grid, code_value, float_codes, squeeze
from airflow_slo_provider.drift.profiles.grid_builder import GridBuilder
from airflow_slo_provider.drift.profiles.kernel import Values

#: Values of one column and side that are kept as they are while a column is read again; more are counted on a finer grid.
_MOST_GATHERED = 4_000_000
_FINE_CELLS = 524_288
_LONGEST_TABLE = 1 << 22
_BLOCK = 131_072


def zoom(
    source: Source,
    column: str,
    kind: str,
    ranges: Sequence[tuple[int, int]],
    *,
    bits: int | None = None,
) -> Grid:
    """Read one column again, and count the values in some ranges on a finer grid.

    :param kind: ``float`` or ``int``: type of the codes
    :param ranges: codes of the smallest and largest number of each range, disjoint and ascending
    :param bits: digits of the grid whose cells make up the ranges, if they are of one grid
    """
    dtype = np.float64 if kind == "float" else np.int64
    starts = np.array([code_value(low, kind) for low, _ in ranges], dtype=dtype)
    ends = np.array([code_value(high, kind) for _, high in ranges], dtype=dtype)
    kept = _Gathered(kind)
    look_up = _LookUp.of(ranges, bits) if kind == "float" and bits is not None and len(ranges) > 4 else None

    def consume(_: str, values: Values) -> None:
        if values.numbers is None or values.kind not in NUMERIC:
            return
        numbers = values.numbers.astype(dtype, copy=False)
        if look_up is not None:
            for start in range(0, len(numbers), _BLOCK):
                block = numbers[start : start + _BLOCK]
                kept.add(block[look_up(block)])
            return
        numbers = numbers[(numbers >= starts[0]) & (numbers <= ends[-1])]
        if len(starts) > 1:
            place = np.searchsorted(starts, numbers, side="right") - 1
            numbers = numbers[numbers <= ends[place]]
        kept.add(numbers)

    run_tasks(source.tasks([column], frozenset()), consume)
    return kept.grid()


class _Gathered:
    """Keep values while there are few; count them on a grid once there are many."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._builder = GridBuilder(kind, most=_FINE_CELLS)
        self._values: list[np.ndarray[Any, Any]] = []
        self._held = 0
        self._lock = threading.Lock()

    def add(self, values: np.ndarray[Any, Any]) -> None:
        with self._lock:
            self._held += len(values)
            self._values.append(values)
            waiting: list[np.ndarray[Any, Any]] = []
            if self._held > _MOST_GATHERED:
                waiting, self._values = self._values, []
        for part in waiting:
            self._builder.add(part)

    def grid(self) -> Grid:
        if self._held > _MOST_GATHERED:
            for part in self._values:
                self._builder.add(part)
            return self._builder.grid()
        values = (
            np.concatenate([np.empty(0), *self._values])
            if self._kind == "float"
            else np.concatenate(self._values or [np.empty(0, np.int64)])
        )
        codes = np.sort(float_codes(values) if self._kind == "float" else values.astype(np.int64))
        return (
            Grid(self._kind, EXACT, *squeeze(codes, np.ones(len(codes), dtype=np.int64))) if len(codes) else self._builder.grid()
        )


class _LookUp:
    """Look up whether floats lie in some cells of a grid, by a table over the leading digits.

    Zero and subnormals are not supported.
    """

    def __init__(self, base: int, shift: int, table: np.ndarray[Any, Any]) -> None:
        self._base, self._shift, self._table = base, shift, table
        self._span = len(table) // 2

    @classmethod
    def of(cls, ranges: Sequence[tuple[int, int]], bits: int) -> _LookUp | None:
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

    def __call__(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        raw = np.ascontiguousarray(values).view(np.int64)
        slot = raw & np.int64(0x7FFFFFFFFFFFFFFF)
        slot >>= self._shift
        slot -= self._base - 1
        np.clip(slot, 0, self._span - 1, out=slot)
        slot += (raw >> 63) & self._span
        found: np.ndarray[Any, Any] = self._table[slot]
        return found
