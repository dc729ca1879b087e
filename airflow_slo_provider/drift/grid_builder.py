"""Counting numbers into a :class:`Grid`, block by block, in memory that does not grow with the rows."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.drift.grid import EXACT, MOST_CELLS, Grid, add_up, coarsen, fitting_bits, float_codes

Array = npt.NDArray[Any]

#: Values looked at together: a block and its scratch space fit a core's cache.
_BLOCK = 131_072
#: Longest table that counts are kept in directly, per sign.
_TABLE = 1 << 18
#: Exponents such a table should span where digits are few.
_EXPONENTS = 48
_INTEGER_TABLE = 1 << 21
_MAGNITUDE = np.int64(0x7FFFFFFFFFFFFFFF)


class GridBuilder:
    """Counts values of one column. Several threads may add at once.

    :param kind: ``float`` or ``int``
    :param most: occupied cells to keep
    """

    def __init__(self, kind: str, *, most: int = MOST_CELLS) -> None:
        self.kind = kind
        self.bits = EXACT
        self._most = most
        self._codes: list[Array] = []
        self._counts: list[Array] = []
        self._waiting = 0
        self._lock = threading.Lock()

    def add(self, values: Array) -> None:
        """Count finite values: float64 or int64, as the builder's kind says."""
        if not len(values):
            return
        low, high = values.min(), values.max()
        if low == high:
            codes = float_codes(values[:1]) if self.kind == "float" else values[:1].astype(np.int64)
            self.add_cells(codes, np.array([len(values)]), EXACT)
        elif self.kind == "int" and int(high) - int(low) < _INTEGER_TABLE:
            counts = np.bincount((values - low).astype(np.intp, copy=False))
            held = np.flatnonzero(counts)
            self.add_cells(held + int(low), counts[held], EXACT)
        elif self.kind == "int" and max(abs(int(low)), abs(int(high))) > 2**53:
            self._add_sorted(values, EXACT)
        else:
            self._add_floats(values)

    def add_cells(self, codes: Array, counts: Array, bits: int) -> None:
        """Add counts of cells that have at least the digits kept here.

        :param codes: distinct
        """
        with self._lock:
            if bits < self.bits:
                self.bits = bits
            self._codes.append(codes.astype(np.int64, copy=False))
            self._counts.append(counts.astype(np.int64, copy=False))
            self._waiting += len(codes)
            if self._waiting > 4 * self._most:
                self._settle()

    def grid(self) -> Grid:
        """Return what was counted."""
        with self._lock:
            self._settle()
            return Grid(self.kind, self.bits, self._codes[0], self._counts[0])

    def _settle(self) -> None:
        codes = np.concatenate([np.empty(0, dtype=np.int64), *self._codes])
        counts = np.concatenate([np.empty(0, dtype=np.int64), *self._counts])
        codes, counts = add_up(coarsen(codes, self.kind, self.bits), counts)
        fit = fitting_bits(codes, self.kind, self.bits, self._most)
        if fit < self.bits:
            self.bits = fit
            codes, counts = add_up(coarsen(codes, self.kind, fit), counts)
        self._codes, self._counts, self._waiting = [codes], [counts], len(codes)

    def _add_sorted(self, values: Array, bits: int) -> None:
        for start in range(0, len(values), _BLOCK):
            block = values[start : start + _BLOCK]
            codes = float_codes(block) if self.kind == "float" else block.astype(np.int64)
            codes = np.sort(coarsen(codes, self.kind, min(bits, self.bits)))
            starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
            self.add_cells(codes[starts], np.diff(np.append(starts, len(codes))), min(bits, self.bits))

    def _add_floats(self, values: Array) -> None:
        """Count floats, or integers that a float holds exactly."""
        done = 0
        while self.bits > 51 and done < len(values):
            # Every digit is still kept: find out how many can be, block by block.
            self._add_sorted(values[done : done + _BLOCK], EXACT)
            done += _BLOCK
            if self._waiting > 2 * self._most:
                with self._lock:
                    self._settle()
        if done < len(values):
            self._add_dense(values[done:], self.bits)

    def _add_dense(self, values: Array, bits: int) -> None:
        """Count at ``bits`` digits in one table per sign, over the largest magnitudes; what is too small for it is sorted."""
        shift = 52 - bits
        largest = np.array([max(abs(float(values.min())), abs(float(values.max())))])
        top = int(largest.view(np.int64)[0]) >> shift
        width = min(top, max(min(_EXPONENTS << bits, _TABLE), 1024))
        base = top - width  # slot 0 of each sign holds what is below slot 1: base + 1
        span = width + 1
        table = np.zeros(2 * span, dtype=np.int64)
        slots = np.empty(_BLOCK, dtype=np.int64)
        signs = np.empty(_BLOCK, dtype=np.int64)
        floor = np.array([(base + 1) << shift], dtype=np.int64).view(np.float64)[0]
        for start in range(0, len(values), _BLOCK):
            block = values[start : start + _BLOCK].astype(np.float64, copy=False)
            raw = block.view(np.int64)
            slot, sign = slots[: len(raw)], signs[: len(raw)]
            np.bitwise_and(raw, _MAGNITUDE, out=slot)
            np.right_shift(slot, shift, out=slot)
            np.subtract(slot, base, out=slot)
            np.maximum(slot, 0, out=slot)
            np.right_shift(raw, 63, out=sign)
            np.bitwise_and(sign, span, out=sign)
            np.add(slot, sign, out=slot)
            counts = np.bincount(slot, minlength=2 * span)
            if counts[0] or counts[span]:
                counts[0] = counts[span] = 0
                small = block[np.abs(block) < floor]
                self._add_sorted(small if self.kind == "float" else small.astype(np.int64), bits)
            table += counts
        held = np.flatnonzero(table)
        negative = held >= span
        codes = (held - negative * span + base) << shift
        if self.kind == "int":
            codes = codes.view(np.float64).astype(np.int64)
        self.add_cells(np.where(negative, -codes, codes), table[held], bits)
