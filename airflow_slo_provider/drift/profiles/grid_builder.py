"""Count numbers into a :class:`Grid`, block by block, in memory that does not grow with the number of rows."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

from airflow_slo_provider.drift.profiles.grid import (
    EXACT,
    MOST_CELLS,
    Array,
    Grid,
    add_up,
    coarsen,
    fitting_bits,
    float_codes,
    value_codes,
)

#: Values processed together: a block and its scratch space fit a core's cache.
_BLOCK = 131_072
#: Longest table of direct counts, per sign.
_TABLE = 1 << 17
_INTEGER_TABLE = 1 << 21
_MAGNITUDE = np.int64(0x7FFFFFFFFFFFFFFF)
#: Index of the half of a float64 that holds its sign, exponent and leading digits.
_UPPER = 1 if sys.byteorder == "little" else 0


class _Table:
    """Counts of a run of adjacent cells in one array: first positive numbers, then negative ones.

    :param base: leading digits of the smallest magnitude
    :param width: number of magnitudes
    """

    def __init__(self, base: int, width: int) -> None:
        self.base, self.width = base, width
        #: Slots per sign; the first and the last hold values outside the window.
        self.span = width + 2
        self.counts: Array = np.zeros(self.span, dtype=np.int64)

    def contains(self, base: int, width: int) -> bool:
        """Return whether a window lies within this one."""
        return self.base <= base and base + width <= self.base + self.width

    def add(self, counts: Array) -> int:
        """Add counts of the same window, and return the number of occupied cells."""
        if len(counts) > len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros(self.span, dtype=np.int64)])
        self.counts[: len(counts)] += counts
        return int(np.count_nonzero(self.counts))

    def cells(self, kind: str, bits: int) -> tuple[Array, Array]:
        """Return the codes and counts of the occupied cells."""
        occupied = np.flatnonzero(self.counts)
        negative = occupied >= self.span
        codes = (occupied - negative * self.span + self.base - 1) << (52 - bits)
        if kind == "int":
            codes = codes.view(np.float64).astype(np.int64)
        return np.where(negative, -codes, codes), self.counts[occupied]


class GridBuilder:
    """Count the values of one column on a grid; several threads may add at once.

    :param kind: ``float`` or ``int``
    :param most: largest number of occupied cells
    """

    def __init__(self, kind: str, *, most: int = MOST_CELLS) -> None:
        self.kind = kind
        self.bits = EXACT
        self._most = most
        self._codes: list[Array] = []
        self._counts: list[Array] = []
        self._waiting = 0
        self._tables: dict[int, _Table] = {}
        self._lock = threading.Lock()

    def add(self, values: Array, ends: tuple[Any, Any] | None = None) -> None:
        """Count finite values: float64 or int64, according to the builder's kind.

        :param ends: the smallest and the largest value, if known
        """
        if not len(values):
            return
        low, high = ends or (values.min(), values.max())
        if low == high:
            self.add_cells(value_codes(values[:1], self.kind), np.array([len(values)]), EXACT)
        elif self.kind == "int" and int(high) - int(low) < _INTEGER_TABLE:
            counts = np.bincount((values - low).astype(np.intp, copy=False))
            occupied = np.flatnonzero(counts)
            self.add_cells(occupied + int(low), counts[occupied], EXACT)
        elif self.kind == "int" and max(abs(int(low)), abs(int(high))) > 2**53:
            if self.bits > 40:
                self._add_sorted(values[: 2 * _BLOCK], EXACT)
                values = values[2 * _BLOCK :]
            if len(values) and self.bits <= 40 and int(low) > -(2**63):
                self._add_dense(_without_low_digits(values), self.bits, signed=bool(low < 0))
            elif len(values):
                self._add_sorted(values, EXACT)
        else:
            self._add_floats(values, signed=bool(low < 0))

    def add_cells(self, codes: Array, counts: Array, bits: int) -> None:
        """Add counts of cells that have at least as many digits as this grid keeps.

        :param codes: distinct
        """
        with self._lock:
            self.bits = min(bits, self.bits)
            self._codes.append(codes.astype(np.int64, copy=False))
            self._counts.append(counts.astype(np.int64, copy=False))
            self._waiting += len(codes)
            if self._waiting > 4 * self._most:
                self._settle()

    def grid(self) -> Grid:
        """Return the counted grid."""
        with self._lock:
            self._settle()
            return Grid(self.kind, self.bits, self._codes[0], self._counts[0])

    def _settle(self) -> None:
        for bits in list(self._tables):
            self._spill(bits)
        codes, counts = (np.concatenate([np.empty(0, dtype=np.int64), *parts]) for parts in (self._codes, self._counts))
        codes, counts = add_up(coarsen(codes, self.kind, self.bits), counts)
        fit = fitting_bits(codes, self.kind, self.bits, self._most)
        if fit < self.bits:
            self.bits = fit
            codes, counts = add_up(coarsen(codes, self.kind, fit), counts)
        self._codes, self._counts, self._waiting = [codes], [counts], len(codes)

    def _spill(self, bits: int) -> None:
        """Add the counts of a table to the cells."""
        codes, counts = self._tables.pop(bits).cells(self.kind, bits)
        self._codes.append(codes)
        self._counts.append(counts)
        self._waiting += len(codes)

    def _table(self, bits: int, base: int, width: int) -> _Table:
        """Return a table that holds a window: the existing one, or a new one in its place."""
        with self._lock:
            table = self._tables.get(bits)
            if table is not None:
                if table.contains(base, width):
                    return table
                first, last = min(base, table.base), max(base + width, table.base + table.width)
                if last - first <= _TABLE:
                    base, width = first, last - first
                self._spill(bits)
            return self._tables.setdefault(bits, _Table(base, width))

    def _add_table(self, bits: int, window: _Table, counts: Array) -> None:
        with self._lock:
            table = self._tables.setdefault(bits, _Table(window.base, window.width))
            if (table.base, table.width) == (window.base, window.width):
                if self._waiting + table.add(counts) > 4 * self._most:
                    self._settle()
                return
        # Another thread replaced the table with one of a different window.
        own = _Table(window.base, window.width)
        own.add(counts)
        self.add_cells(*own.cells(self.kind, bits), bits)

    def _add_sorted(self, values: Array, bits: int) -> None:
        for start in range(0, len(values), _BLOCK):
            kept = min(bits, self.bits)
            codes = coarsen(value_codes(values[start : start + _BLOCK], self.kind), self.kind, kept)
            self.add_cells(*np.unique(codes, return_counts=True), kept)

    def _add_floats(self, values: Array, *, signed: bool) -> None:
        """Count floats, or integers that float64 holds exactly."""
        done = 0
        while self.bits > 51 and done < len(values):
            # All digits are still kept: find out block by block how many fit.
            block = values[done : done + _BLOCK]
            done += _BLOCK
            if not self._add_decimals(block):
                self._add_sorted(block, EXACT)
            if self._waiting > self._most:
                with self._lock:
                    self._settle()
        if done < len(values):
            self._add_dense(values[done:], self.bits, signed=signed)

    def _add_decimals(self, values: Array) -> bool:
        """Count values with few decimals by their digits; this gives the codes that sorting gives, without sorting."""
        if self.kind != "float" or max(-values.min(), values.max()) >= 2**43:
            return False
        for decimals in range(4):
            scale = 10.0**decimals
            if all(np.array_equal(np.rint(part * scale) / scale, part) for part in (values[:200], values)):
                digits = np.rint(values * scale)
                low, high = digits.min(), digits.max()
                if not high - low < _INTEGER_TABLE:
                    return False
                counts = np.bincount((digits - low).astype(np.intp))
                occupied = np.flatnonzero(counts)
                # The quotient of two exact numbers is the float nearest to the decimal, as tested above.
                self.add_cells(float_codes((occupied + low) / scale), counts[occupied], EXACT)
                return True
        return False

    def _add_dense(self, values: Array, bits: int, *, signed: bool) -> None:
        """Count at ``bits`` digits in one table per sign over the magnitudes of most values; sort the other values.

        :param signed: whether a value may be below 0
        """
        shift = 52 - bits
        window = self._table(bits, *_window(values, shift))
        base, width, span = window.base, window.width, window.span
        table = np.zeros((1 + signed) * span, dtype=np.int64)
        # The few digits that are needed lie in the upper half of a float64: only half of the memory is read.
        half = shift >= 32
        word = np.int32 if half else np.int64
        magnitude, drop, last = (np.int32(2**31 - 1), shift - 32, 31) if half else (_MAGNITUDE, shift, 63)
        slots, signs = (np.empty(_BLOCK, dtype=word) for _ in range(2))
        outside = []
        for start in range(0, len(values), _BLOCK):
            block = values[start : start + _BLOCK].astype(np.float64, copy=False)
            raw = block.view(word)[_UPPER::2] if half else block.view(word)
            slot, sign = slots[: len(raw)], signs[: len(raw)]
            np.bitwise_and(raw, magnitude, out=slot)
            np.right_shift(slot, drop, out=slot)
            np.subtract(slot, base - 1, out=slot)
            np.clip(slot, 0, width + 1, out=slot)
            if signed:
                np.right_shift(raw, last, out=sign)
                np.bitwise_and(sign, span, out=sign)
                np.add(slot, sign, out=slot)
            counts = np.bincount(slot, minlength=len(table))
            ends = [end for end in (0, width + 1, span, span + width + 1) if end < len(table) and counts[end]]
            if ends:
                counts[ends] = 0
                outside.append(block[np.logical_or.reduce([slot == end for end in ends])])
            table += counts
        self._add_table(bits, window, table)
        if outside:
            self._add_outside(np.concatenate(outside), bits)

    def _add_outside(self, values: Array, bits: int) -> None:
        zeros = len(values) - int(np.count_nonzero(values))
        if zeros:
            self.add_cells(np.zeros(1, dtype=np.int64), np.array([zeros]), bits)
            values = values[values != 0]
        self._add_sorted(values if self.kind == "float" else values.astype(np.int64), bits)


def _without_low_digits(values: Array) -> Array:
    """Clear the last ten binary digits of integers beyond 2^53, towards zero, so that float64 holds them exactly.

    At least 44 digits are left.
    """
    cut = ((values + ((values >> 63) & 1023)) >> 10) << 10
    return np.where((values > 2**53) | (values < -(2**53)), cut, values)


def _window(values: Array, shift: int) -> tuple[int, int]:
    """Return the first prefix and the width of the window that holds most values of a sample.

    Prefix 0 (zero and subnormals) is never in the window.
    """
    sample = values[:: max(1, len(values) // 4096)].astype(np.float64)
    prefixes: Array = np.sort(np.abs(sample[sample != 0])).view(np.int64) >> shift
    if not len(prefixes):
        return 1, 1
    exponent = 1 << (52 - shift)
    low, high = max(1, int(prefixes[len(prefixes) // 1000]) - 2 * exponent), int(prefixes[-1]) + exponent
    if high - low >= _TABLE:
        inside = np.searchsorted(prefixes, prefixes + _TABLE, side="right") - np.arange(len(prefixes))
        low = max(1, int(prefixes[int(np.argmax(inside))]))
        high = low + _TABLE - 1
    return low, high - low + 1
