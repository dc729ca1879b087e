"""Counts of numbers on a fixed grid, so that profiles of parts add up to the profile of the whole.

A cell holds the numbers that share sign, binary exponent and the leading ``bits`` binary digits after the first: cells are narrow
where numbers are small and wide where they are large, and their borders are the same in every dataset. ``bits`` is the largest
that leaves at most :data:`MOST_CELLS` occupied cells. Adding rows can only occupy more cells, so the result does not depend on
the order or the parts in which the rows come; up to :data:`MOST_CELLS` distinct values it is exact.

A cell is identified by the *code* of its number of smallest magnitude: an integer is its own code, a float64's code is its bit
pattern in sign and magnitude, which has the same order as the numbers. -0.0 is counted as 0.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.drift.profiles.quantile_ranks import ranks

Array = npt.NDArray[Any]

MOST_CELLS = 65_536
#: ``bits`` of a grid that keeps every digit.
EXACT = 64
_MAGNITUDE = np.int64(0x7FFFFFFFFFFFFFFF)
#: Binary digits after the first in a float64 and in an int64.
_FLOAT_BITS, _INT_BITS = 52, 63


def float_codes(values: Array) -> Array:
    """Return the codes of float64 values, in the same shape."""
    raw = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    sign = raw >> 63
    codes: Array = ((raw & _MAGNITUDE) ^ sign) - sign
    return codes


def value_codes(values: Array, kind: str) -> Array:
    """Return the codes of numbers, in the same shape."""
    return float_codes(values) if kind == "float" else values.astype(np.int64, copy=False)


def code_floats(codes: Array) -> Array:
    """Convert codes to float64."""
    raw = np.where(codes < 0, -codes | np.int64(-(2**63)), codes).astype(np.int64)
    return raw.view(np.float64)


def codes_as_floats(codes: Array, kind: str) -> Array:
    """Convert codes of a kind to float64; integers beyond 2^53 are rounded."""
    return code_floats(codes) if kind == "float" else codes.astype(np.float64)


def code_value(code: int, kind: str) -> float | int:
    """Convert one code to its number."""
    return int(code) if kind == "int" else float(code_floats(np.array([code], dtype=np.int64))[0])


def value_code(value: float | int, kind: str) -> int:
    """Return the code of one number."""
    return int(value) if kind == "int" else int(float_codes(np.array([value]))[0])


def _bit_lengths(magnitude: Array) -> Array:
    """Return the number of binary digits of each uint64."""
    lengths = np.frexp(magnitude.astype(np.float64))[1].astype(np.uint64)
    # Beyond 2^53, float64 rounds a number just below a power of two up to that power.
    over = (lengths > 0) & ((magnitude >> (np.maximum(lengths, 1) - np.uint64(1))) == 0)
    digits: Array = lengths - over
    return digits


def _dropped_digits(magnitude: Array, bits: int) -> Array:
    lengths = _bit_lengths(magnitude).astype(np.int64)
    return np.maximum(lengths - 1 - bits, 0).astype(np.uint64)


def coarsen(codes: Array, kind: str, bits: int) -> Array:
    """Return the code of each code's cell. The order is kept; duplicates may occur."""
    if bits >= (_INT_BITS if kind == "int" else _FLOAT_BITS):
        return codes
    sign = codes >> 63
    magnitude = (codes ^ sign) - sign
    if kind == "int":
        unsigned = magnitude.view(np.uint64)
        drops = _dropped_digits(unsigned, bits)
        cut = ((unsigned >> drops) << drops).view(np.int64)
    else:
        shift = _FLOAT_BITS - bits
        cut = (magnitude >> shift) << shift
        # Zero has a cell of its own; subnormals that would share it get the code of the smallest subnormal.
        cut[(cut == 0) & (magnitude != 0)] = 1
    cells: Array = (cut ^ sign) - sign
    return cells


def cell_ends(codes: Array, kind: str, bits: int) -> tuple[Array, Array]:
    """Return the codes of the smallest and the largest number of each cell."""
    if bits >= (_INT_BITS if kind == "int" else _FLOAT_BITS):
        return codes, codes
    sign = codes >> 63
    magnitude = (codes ^ sign) - sign
    if kind == "int":
        width = ((np.uint64(1) << _dropped_digits(magnitude.view(np.uint64), bits)) - np.uint64(1)).view(np.int64)
    else:
        width = np.full(len(codes), (1 << (_FLOAT_BITS - bits)) - 1, dtype=np.int64)
        width[magnitude == 0] = 0
        width[magnitude == 1] -= 1
    far = (((magnitude + width) ^ sign) - sign).astype(np.int64)
    return np.minimum(codes, far), np.maximum(codes, far)


def add_up(codes: Array, counts: Array) -> tuple[Array, Array]:
    """Sort cells and add the counts of equal ones."""
    order = np.argsort(codes, kind="stable")
    return squeeze(codes[order], counts[order])


def squeeze(codes: Array, counts: Array) -> tuple[Array, Array]:
    """Add the counts of equal neighbours in sorted cells."""
    starts = _first_of_equal(codes)
    return codes[starts], np.add.reduceat(counts, starts) if len(starts) else counts


def union(first: Array, second: Array) -> Array:
    """Return the sorted union of two sorted code arrays; a merge is faster than ``union1d`` here."""
    codes = np.sort(np.concatenate([first, second]), kind="stable")
    return codes[_first_of_equal(codes)]


def _first_of_equal(codes: Array) -> Array:
    """Return the indexes of sorted codes that differ from the code before."""
    return np.flatnonzero(np.append(np.ones(min(1, len(codes)), dtype=bool), codes[1:] != codes[:-1]))


def fitting_bits(codes: Array, kind: str, bits: int, most: int) -> int:
    """Return the largest number of digits, at most ``bits``, that leaves at most ``most`` cells.

    :param codes: sorted, distinct
    """
    if len(codes) <= most:
        return bits
    low, high = 0, min(bits, (_INT_BITS if kind == "int" else _FLOAT_BITS) - 1)
    while low < high:
        middle = (low + high + 1) // 2
        cells = coarsen(codes, kind, middle)
        if 1 + int((cells[1:] != cells[:-1]).sum()) <= most:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True, eq=False)
class Grid:
    """Occupied cells and the number of rows in each.

    :param kind: ``float`` or ``int``: type of the codes
    :param bits: digits kept after the first, :data:`EXACT` for all
    :param codes: int64, sorted, distinct
    :param counts: int64, above 0
    """

    kind: str
    bits: int
    codes: Array
    counts: Array

    def __post_init__(self) -> None:
        self.codes.setflags(write=False)
        self.counts.setflags(write=False)

    def _key(self) -> tuple[object, ...]:
        return self.kind, self.bits, self.codes.tobytes(), self.counts.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def exact(self) -> bool:
        """Whether every cell holds one value."""
        return self.bits == EXACT

    @property
    def total(self) -> int:
        """Number of rows in all cells."""
        return int(self.counts.sum())

    def cell_ends(self) -> tuple[Array, Array]:
        """Return the codes of the smallest and the largest number of each cell."""
        return cell_ends(self.codes, self.kind, self.bits)

    def quantile_cells(self, bins: int) -> Array:
        """Return the indexes of the cells that hold the inner quantiles of equi-depth bins (type 1)."""
        wanted = ranks(self.total, [Fraction(i, bins) for i in range(1, bins)])
        return np.searchsorted(np.cumsum(self.counts), wanted, side="left")

    def counts_at(self, codes: Array) -> Array:
        """Return the rows of the cells of another grid that has all cells of this one; sorted codes."""
        counts = np.zeros(len(codes), dtype=np.int64)
        counts[np.searchsorted(codes, self.codes)] = self.counts
        return counts

    def convert(self, kind: str, bits: int) -> Grid:
        """Return the same rows in coarser cells, or an int grid as a float grid (see :func:`common_form`)."""
        codes = coarsen(self.codes, self.kind, bits)
        if kind != self.kind:
            codes = float_codes(codes.astype(np.float64))
        return Grid(kind, bits, *squeeze(codes, self.counts))

    def as_floats(self) -> Grid:
        """Return an int grid as a float grid."""
        return self.convert("float", self.bits)

    def merge(self, other: Grid, *, most: int = MOST_CELLS) -> Grid:
        """Return the grid of the rows of both sides."""
        kind, bits = common_form(self, other)
        first, second = self.convert(kind, bits), other.convert(kind, bits)
        codes, counts = add_up(np.concatenate([first.codes, second.codes]), np.concatenate([first.counts, second.counts]))
        return Grid(kind, bits, codes, counts).convert(kind, fitting_bits(codes, kind, bits, most))


def common_form(first: Grid, second: Grid) -> tuple[str, int]:
    """Return the kind and digits at which two grids can be compared without dividing a cell.

    Integers and floats have the same cells up to 52 digits, so exact integers within 2^53 stay exact as floats; beyond that,
    cells of 51 digits are compared.
    """
    bits = min(first.bits, second.bits)
    if first.kind == second.kind:
        return first.kind, bits
    whole = first if first.kind == "int" else second
    if len(whole.codes) and (int(whole.codes[0]) < -(2**53) or int(whole.codes[-1]) > 2**53):
        bits = min(bits, _FLOAT_BITS - 1)
    return "float", bits
