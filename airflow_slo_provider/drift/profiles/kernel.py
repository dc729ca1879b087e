"""Build a column's profile from its values; all engines share this code."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from airflow_slo_provider.drift.profiles.columns import (
    CATEGORICAL,
    MOST_CATEGORIES,
    MOST_CHARACTERS,
    NUMERIC,
    ROW_COUNTS,
    ColumnProfile,
)
from airflow_slo_provider.drift.profiles.grid import Array, Grid
from airflow_slo_provider.drift.profiles.grid_builder import GridBuilder


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
        self._sums: dict[str, Any] = dict.fromkeys(ROW_COUNTS, 0)
        self._ends: list[tuple[Any, Any]] = []
        self._grids: dict[str, GridBuilder] = {}
        self._texts: Counter[str] = Counter()
        self._characters = 0
        self._overflow = False
        self._most = most_categories
        self._lock = threading.Lock()

    def fail(self, problem: str) -> None:
        """Record why this column cannot be profiled; the first reason is kept."""
        with self._lock:
            self._problem = self._problem or problem

    def add(self, values: Values) -> None:
        """Count the values of some rows."""
        with self._lock:
            self._sums["rows"] += values.rows
            self._sums["nulls"] += values.nulls
            self._check_kind(values)
            if self._problem or values.kind == "empty":
                return
        if values.kind in NUMERIC and values.numbers is not None:
            self._add_numbers(values.numbers)
        elif values.kind in CATEGORICAL and values.counts is not None:
            self._add_texts(values.texts, values.counts)

    def _check_kind(self, values: Values) -> None:
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
            others = numbers[~finite]
            with self._lock:
                self._sums["nan"] += int(np.isnan(others).sum())
                self._sums["positive_infinite"] += int((others == np.inf).sum())
                self._sums["negative_infinite"] += int((others == -np.inf).sum())
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
            for text, count in zip(texts, counts.tolist(), strict=True):
                if count:
                    self._characters += 0 if text in self._texts else len(text)
                    self._texts[text] += count
            if len(self._texts) > self._most or self._characters > MOST_CHARACTERS:
                self._overflow, self._texts = True, Counter()

    def profile(self) -> ColumnProfile:
        """Return the profile of all counted rows."""
        profile = ColumnProfile(
            name=self.name, kind=self._kind, dtype=self._dtype, overflow=self._overflow, problem=self._problem, **self._sums
        )
        if self._problem:
            return profile
        if self._kind in CATEGORICAL:
            return replace(profile, categories=dict(self._texts))
        if not self._grids:
            return replace(profile, distribution=GridBuilder("float").grid()) if self._kind in NUMERIC else profile
        grid = reduce(Grid.merge, (builder.grid() for builder in self._grids.values()))
        ends = min(low for low, _ in self._ends), max(high for _, high in self._ends)
        minimum, maximum = (end if end != 0 else abs(end) for end in ends)  # -0.0 is counted as 0.0
        return replace(profile, minimum=minimum, maximum=maximum, distribution=grid)
