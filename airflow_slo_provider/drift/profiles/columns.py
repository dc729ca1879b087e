"""Profile of one column: counts, range and distribution of its values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from airflow_slo_provider.drift.profiles.cuts import Cuts
from airflow_slo_provider.drift.profiles.grid import Grid, code_value, codes_as_floats
from airflow_slo_provider.exceptions import InvalidMeasurement

#: A column with more distinct texts is not treated as categorical; its texts are not kept.
MOST_CATEGORIES = 200_000
#: The same for texts with more characters in total.
MOST_CHARACTERS = 50_000_000
#: Kinds whose values are numbers on a grid. Times are microseconds since 1970 in UTC, durations are microseconds.
NUMERIC = frozenset({"number", "time", "duration"})
CATEGORICAL = frozenset({"text", "bool"})
#: Fields of a column's profile that are numbers of rows, and add up.
ROW_COUNTS = ("rows", "nulls", "nan", "positive_infinite", "negative_infinite")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class ColumnProfile:
    """Counts of one column. The profiles of two parts merge into the profile of the whole.

    :param name: name of the column
    :param kind: ``number``, ``time``, ``duration``, ``text``, ``bool``; ``empty`` if all values are null; ``other`` if the
        values have no distribution to compare (lists, structs)
    :param dtype: name of the type in the source; ignored by equality
    :param rows: number of rows, nulls included
    :param nulls: rows without a value
    :param nan: number of NaN values
    :param positive_infinite: number of +infinity values
    :param negative_infinite: number of -infinity values
    :param minimum: smallest finite value
    :param maximum: largest finite value
    :param distribution: finite numbers, counted on a grid or below stored edges
    :param categories: rows per text
    :param unlisted: rows whose text is not in the list, if the texts to count were listed
    :param overflow: whether there were more than :data:`MOST_CATEGORIES` distinct texts, in which case none is kept
    :param problem: why the column could not be profiled; None if it could
    """

    name: str
    kind: str
    dtype: str = field(default="", compare=False)
    rows: int = 0
    nulls: int = 0
    nan: int = 0
    positive_infinite: int = 0
    negative_infinite: int = 0
    minimum: float | int | None = None
    maximum: float | int | None = None
    distribution: Grid | Cuts | None = None
    categories: Mapping[str, int] | None = field(default=None, hash=False)
    unlisted: int = 0
    overflow: bool = False
    problem: str | None = None

    @property
    def infinite(self) -> int:
        """Number of infinite values, of either sign."""
        return self.positive_infinite + self.negative_infinite

    @property
    def values(self) -> int:
        """Number of rows with a value in the distribution: finite numbers, or texts."""
        return self.rows - self.nulls - self.nan - self.infinite

    @property
    def edges(self) -> tuple[float | int, ...]:
        """Inner edges of ten equi-depth bins."""
        return self.edges_of(10)

    def edges_of(self, bins: int) -> tuple[float | int, ...]:
        """Return the inner edges of equi-depth bins: type-1 quantiles without duplicates.

        The edge of a cell that holds more than one value is the cell's largest number.

        :param bins: number of bins
        """
        distribution = self.distribution
        if distribution is None or not distribution.total:
            return ()
        grid = distribution if isinstance(distribution, Grid) else None
        codes = distribution.codes if grid is None else grid.cell_ends()[1][grid.quantile_cells(bins)]
        return tuple(dict.fromkeys(code_value(int(code), distribution.kind) for code in codes))

    def moments(self) -> tuple[float, float] | None:
        """Return mean and standard deviation of the finite values, placing rows at cell middles; None without a grid."""
        grid = self.distribution
        if not isinstance(grid, Grid) or not grid.total:
            return None
        low, high = (codes_as_floats(codes, grid.kind) for codes in grid.cell_ends())
        middles = low / 2 + high / 2
        mean = math.fsum(middles * grid.counts / grid.total)
        return mean, math.sqrt(max(0.0, math.fsum((middles - mean) ** 2 * grid.counts / grid.total)))

    def atoms(self, share: float = 0.1) -> dict[float | int, int]:
        """Return the single values that hold at least a share of the finite rows, with their counts.

        Only values that have a cell of their own can be told apart.

        :param share: smallest share of the finite rows
        """
        grid = self.distribution
        if not isinstance(grid, Grid) or not grid.total:
            return {}
        low, high = grid.cell_ends()
        heavy = np.flatnonzero((low == high) & (grid.counts >= share * grid.total))
        return {code_value(int(grid.codes[i]), grid.kind): int(grid.counts[i]) for i in heavy}

    def format_value(self, value: float | int | None) -> str:
        """Format a value of this column for messages; times as ISO 8601, durations in seconds.

        :param value: a number as it is stored in the profile, None for no value
        """
        if value is None:
            return "none"
        if self.kind == "time":
            try:
                return (_EPOCH + timedelta(microseconds=int(value))).isoformat()
            except OverflowError:
                return f"{value} us since 1970"
        if self.kind == "duration":
            return f"{value / 1e6:g} s"
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    def merge(self, other: ColumnProfile) -> ColumnProfile:
        """Return the profile of the rows of both parts.

        :param other: profile of another part of the same column
        """
        first = other if self.kind == "empty" else self
        problem = self.problem or other.problem
        if not problem and other.kind not in (first.kind, "empty"):
            problem = f"column {self.name} is {self.kind} ({self.dtype}) in one part and {other.kind} ({other.dtype}) in another"
        sums = {name: getattr(self, name) + getattr(other, name) for name in (*ROW_COUNTS, "unlisted")}
        merged = replace(first, problem=problem, **sums)
        if problem:
            return replace(merged, distribution=None, categories=None, minimum=None, maximum=None)
        minimum = min((side.minimum for side in (self, other) if side.minimum is not None), default=None)
        maximum = max((side.maximum for side in (self, other) if side.maximum is not None), default=None)
        distribution, (categories, overflow) = _merge_distributions(self, other), _merge_categories(self, other)
        return replace(
            merged, minimum=minimum, maximum=maximum, distribution=distribution, categories=categories, overflow=overflow
        )


def _merge_distributions(first: ColumnProfile, second: ColumnProfile) -> Grid | Cuts | None:
    a, b = first.distribution, second.distribution
    if a is None or b is None:
        return a if b is None else b
    if isinstance(a, Grid) and isinstance(b, Grid):
        if not a.total or not b.total:  # An empty grid does not record whether its values would have been integers.
            return b if b.total else a
        return a.merge(b)
    if isinstance(a, Cuts) and isinstance(b, Cuts):
        return a.merge(b)
    raise InvalidMeasurement(f"column {first.name}: a profile counted at stored edges and one on a grid cannot be merged")


def _merge_categories(first: ColumnProfile, second: ColumnProfile) -> tuple[Mapping[str, int] | None, bool]:
    if first.overflow or second.overflow:
        return {}, True
    if first.categories is None or second.categories is None:
        return (first.categories if second.categories is None else second.categories), False
    counts = Counter(first.categories)
    counts.update(second.categories)
    return ({}, True) if len(counts) > MOST_CATEGORIES or sum(map(len, counts)) > MOST_CHARACTERS else (dict(counts), False)


def single_column(profile: Any) -> ColumnProfile:
    """Return a column's profile, given that profile or the profile of a dataset with one column.

    :raises InvalidMeasurement: when the dataset does not have exactly one column
    """
    if isinstance(profile, ColumnProfile):
        return profile
    columns = getattr(profile, "columns", None)
    if columns is None:
        raise InvalidMeasurement(f"a profile is compared with a profile, not with {type(profile).__name__}; profile both sides")
    if len(columns) != 1:
        example = f"profile[{next(iter(columns), 'x')!r}]"
        raise InvalidMeasurement(f"select one of the profile's columns, e.g. {example}: {', '.join(columns)}")
    return next(iter(columns.values()))  # type: ignore[no-any-return]
