"""Build a column's profile from its values; all engines share this code."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_slo_provider.drift.profiles.columns import CATEGORICAL, MOST_CATEGORIES, MOST_CHARACTERS, NUMERIC, ColumnProfile
from airflow_slo_provider.drift.profiles.grid import Grid
from airflow_slo_provider.drift.profiles.grid_builder import GridBuilder

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Values:
    """Values of some rows of one column, in the form that every source provides.

    :param kind: see :class:`~airflow_slo_provider.drift.profiles.columns.ColumnProfile`
    :param rows: number of rows
    :param dtype: name of the type in the source
    :param nulls: rows without a value
    :param numbers: float64 or int64, the values of the other rows
    :param texts: distinct texts, instead of numbers
    :param counts: number of rows with each text
    """

    kind: str
    rows: int
    dtype: str = ""
    nulls: int = 0
    numbers: Array | None = None
    texts: Sequence[str] = ()
    counts: Array | None = None


class ColumnBuilder:
    """Build the profile of one column; several threads may add at once."""

    def __init__(self, name: str, *, most_categories: int = MOST_CATEGORIES) -> None:
        self.name = name
        self._kind = "empty"
        self._dtype = ""
        self._problem: str | None = None
        self._sums = dict.fromkeys(("rows", "nulls", "nan", "positive_infinite", "negative_infinite"), 0)
        self._ends: list[tuple[Any, Any]] = []
        self._grids: dict[str, GridBuilder] = {}
        self._texts: dict[str, int] = {}
        self._characters = 0
        self._overflow = False
        self._most = most_categories
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        """Whether further values can no longer change the distribution."""
        return self._problem is not None

    def fail(self, problem: str) -> None:
        """Record why this column cannot be profiled; the first reason is kept."""
        with self._lock:
            self._problem = self._problem or problem

    def add(self, values: Values) -> None:
        """Count the values of some rows."""
        with self._lock:
            self._sums["rows"] += values.rows
            self._sums["nulls"] += values.nulls
            self._see(values)
            if self._problem or values.kind == "empty":
                return
        if values.kind in NUMERIC and values.numbers is not None:
            self._add_numbers(values.numbers)
        elif values.kind in CATEGORICAL and values.counts is not None:
            self._add_texts(values.texts, values.counts)

    def _see(self, values: Values) -> None:
        if values.kind == "empty":
            self._dtype = self._dtype or values.dtype
        elif self._kind == "empty":
            self._kind, self._dtype = values.kind, values.dtype
        elif values.kind != self._kind:
            self._problem = self._problem or (
                f"column {self.name} is {self._kind} ({self._dtype}) in one part of the data "
                f"and {values.kind} ({values.dtype}) in another"
            )

    def _add_numbers(self, numbers: Array) -> None:
        if not len(numbers):
            return
        form = "float" if numbers.dtype.kind == "f" else "int"
        low, high = numbers.min(), numbers.max()
        if form == "float" and not (np.isfinite(low) and np.isfinite(high)):
            finite = np.isfinite(numbers)
            odd = numbers[~finite]
            with self._lock:
                self._sums["nan"] += int(np.isnan(odd).sum())
                self._sums["positive_infinite"] += int((odd == np.inf).sum())
                self._sums["negative_infinite"] += int((odd == -np.inf).sum())
            numbers = numbers[finite]
            if not len(numbers):
                return
            low, high = numbers.min(), numbers.max()
        with self._lock:
            self._ends.append((low.item(), high.item()))
            builder = self._grids.setdefault(form, GridBuilder(form))
        builder.add(numbers, (low, high))

    def _add_texts(self, texts: Sequence[str], counts: Array) -> None:
        with self._lock:
            if self._overflow:
                return
            held = self._texts
            for text, count in zip(texts, counts.tolist(), strict=True):
                if count:
                    known = held.get(text, 0)
                    held[text] = known + count
                    self._characters += 0 if known else len(text)
            if len(held) > self._most or self._characters > MOST_CHARACTERS:
                self._overflow, self._texts = True, {}

    def profile(self) -> ColumnProfile:
        """Return the profile of all counted rows."""
        grid: Grid | None = None
        for builder in self._grids.values():
            grid = builder.grid() if grid is None else grid.merge(builder.grid())
        if grid is None and self._kind in NUMERIC:
            grid = GridBuilder("float").grid()
        problem = self._problem
        low, high = min((end[0] for end in self._ends), default=None), max((end[1] for end in self._ends), default=None)
        return ColumnProfile(
            name=self.name,
            kind=self._kind,
            dtype=self._dtype,
            minimum=None if problem else low if low != 0 else abs(low),
            maximum=None if problem else high if high != 0 else abs(high),
            distribution=None if problem else grid,
            categories=dict(self._texts) if self._kind in CATEGORICAL and not problem else None,
            overflow=self._overflow,
            problem=problem,
            **self._sums,
        )
