"""Profile of one column: counts, range and distribution of its values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np

from airflow_slo_provider.drift.profiles.cuts import Cuts
from airflow_slo_provider.drift.profiles.grid import MOST_CELLS, Grid, cell_ends, code_floats, code_value
from airflow_slo_provider.drift.profiles.quantile_ranks import ranks
from airflow_slo_provider.exceptions import InvalidMeasurement

#: A column with more distinct texts is not treated as categorical; its texts are not kept.
MOST_CATEGORIES = 200_000
#: The same for texts with more characters in total.
MOST_CHARACTERS = 50_000_000
#: Kinds whose values are numbers on a grid. Times are microseconds since 1970 in UTC, durations are microseconds.
NUMERIC = frozenset({"number", "time", "duration"})
CATEGORICAL = frozenset({"text", "bool"})
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
        held = self.distribution
        if held is None or not held.total:
            return ()
        if isinstance(held, Cuts):
            return tuple(dict.fromkeys(code_value(int(code), held.kind) for code in held.codes))
        wanted = ranks(held.total, [Fraction(i, bins) for i in range(1, bins)])
        places = np.searchsorted(np.cumsum(held.counts), wanted, side="left")
        _, high = cell_ends(held.codes, held.kind, held.bits)
        return tuple(dict.fromkeys(code_value(int(high[place]), held.kind) for place in places))

    def moments(self) -> tuple[float, float] | None:
        """Return mean and standard deviation of the finite values, placing rows at cell middles; None without a grid."""
        held = self.distribution
        if not isinstance(held, Grid) or not held.total:
            return None
        low, high = cell_ends(held.codes, held.kind, held.bits)
        if held.kind == "float":
            places = code_floats(low) / 2 + code_floats(high) / 2
        else:
            places = low.astype(np.float64) / 2 + high.astype(np.float64) / 2
        mean = math.fsum(places * held.counts / held.total)
        return mean, math.sqrt(max(0.0, math.fsum((places - mean) ** 2 * held.counts / held.total)))

    def atoms(self, share: float = 0.1) -> dict[float | int, int]:
        """Return the single values that hold at least a share of the finite rows, with their counts.

        Only values that have a cell of their own can be told apart.

        :param share: smallest share of the finite rows
        """
        held = self.distribution
        if not isinstance(held, Grid) or not held.total:
            return {}
        low, high = cell_ends(held.codes, held.kind, held.bits)
        heavy = np.flatnonzero((low == high) & (held.counts >= share * held.total))
        return {code_value(int(held.codes[i]), held.kind): int(held.counts[i]) for i in heavy}

    def say(self, value: float | int | None) -> str:
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
        kind = other.kind if self.kind == "empty" else self.kind
        problem = self.problem or other.problem
        if other.kind not in (kind, "empty"):
            problem = (
                problem
                or f"column {self.name} is {self.kind} ({self.dtype}) in one part and {other.kind} ({other.dtype}) in another"
            )
        sums = {
            name: getattr(self, name) + getattr(other, name)
            for name in ("rows", "nulls", "nan", "positive_infinite", "negative_infinite", "unlisted")
        }
        merged = replace(self if self.kind != "empty" else other, kind=kind, problem=problem, **sums)
        if problem:
            return replace(merged, distribution=None, categories=None, minimum=None, maximum=None)
        lows = [side.minimum for side in (self, other) if side.minimum is not None]
        highs = [side.maximum for side in (self, other) if side.maximum is not None]
        categories, overflow = _add_categories(self, other)
        return replace(
            merged,
            minimum=min(lows, default=None),
            maximum=max(highs, default=None),
            distribution=_add_distributions(self, other),
            categories=categories,
            overflow=overflow,
        )


def _add_distributions(first: ColumnProfile, second: ColumnProfile) -> Grid | Cuts | None:
    one, two = first.distribution, second.distribution
    if one is None or two is None:
        return one if two is None else two
    if isinstance(one, Grid) and isinstance(two, Grid):
        if not one.total or not two.total:  # An empty grid does not record whether its values would have been integers.
            return two if two.total else one
        return one.merge(two, most=MOST_CELLS)
    if isinstance(one, Cuts) and isinstance(two, Cuts):
        return one.merge(two)
    raise InvalidMeasurement(f"column {first.name}: a profile counted at stored edges and one on a grid cannot be merged")


def _add_categories(first: ColumnProfile, second: ColumnProfile) -> tuple[Mapping[str, int] | None, bool]:
    if first.overflow or second.overflow:
        return {}, True
    if first.categories is None or second.categories is None:
        return (first.categories if second.categories is None else second.categories), False
    counts = dict(first.categories)
    for text, rows in second.categories.items():
        counts[text] = counts.get(text, 0) + rows
    return ({}, True) if len(counts) > MOST_CATEGORIES or sum(map(len, counts)) > MOST_CHARACTERS else (counts, False)


def one_column(profile: Any) -> ColumnProfile:
    """Return a column's profile, given that profile or the profile of a dataset with one column.

    :raises InvalidMeasurement: when the dataset does not have exactly one column
    """
    if isinstance(profile, ColumnProfile):
        return profile
    columns = getattr(profile, "columns", None)
    if columns is None:
        raise InvalidMeasurement(f"a profile is compared with a profile, not with {type(profile).__name__}; profile both sides")
    if len(columns) != 1:
        raise InvalidMeasurement(
            f"give one of the profile's columns, e.g. profile[{next(iter(columns), 'x')!r}]: {', '.join(columns)}"
        )
    return next(iter(columns.values()))  # type: ignore[no-any-return]
