"""What a PromQL expression returns: a count of events, a share, a value; and the arithmetic of these."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction

from airflow_slo_provider.slo.promql.syntax_tree import Series


class RefusedQuery(ValueError):
    """A query that is not proven to measure what is needed."""

    reason = "mixed_units"


class MadeUpNumber(RefusedQuery):
    """A query that may return a number although none of its series exists."""

    reason = "hidden_absence"


class WrongWindow(RefusedQuery):
    """A query that reads another time than the window."""

    reason = "wrong_window"


class MissingWindow(RefusedQuery):
    """A query without {{.window}} where it has a meaning."""

    reason = "window_missing"


class UndeclaredCounter(RefusedQuery):
    """A selector that is named like a counter and not declared as one."""

    reason = "counter_not_declared"


class WrongGrouping(RefusedQuery):
    """A query whose series are not those of the labels that the SLO is evaluated by."""

    reason = "wrong_grouping"


class UnreadableQuery(RefusedQuery):
    """A query that the parser does not accept."""

    reason = "not_understood"


#: What ``1 -`` makes of the lowest or highest of several series.
OPPOSITE_CHOICES = {"": "", "min": "max", "max": "min"}


class Kind(StrEnum):
    """What kind of number an expression returns."""

    EVENTS = "a count"
    VALUE = "a value"
    SHARE = "a share"
    FLAG = "0 or 1"
    INSTANT = "the value of series at one time"
    NUMBER = "a number"


@dataclass(frozen=True)
class Quantity:
    """What an expression returns.

    :param kind: kind of number
    :param unit: what both sides of a ratio must have in common: functions, ranges, steps, offsets
    :param per_second: whether it counts events per second
    :param weights: smallest and largest weight of an event, e.g. 1/2 and 1 for ``errors + 0.5 * slow``
    :param subtracted: largest weight of the events that are subtracted; 0 if there are none
    :param number: the number, for the kind ``NUMBER``
    :param is_filtered: whether a filter may remove values although their series exist
    :param has_minimum: whether a filter removes a count that is small, and not only one that is 0
    :param joins: other metrics that it is multiplied by
    :param alternatives: selectors on both sides of an ``or``, of which one is read where the other has no series
    :param conditions: what ``and`` and ``unless`` require, each with its operator
    :param chosen: ``min`` or ``max`` if it is a share that is at most, or at least, that of all events; ``1 -`` exchanges them
    :param unknown_as: what a point without a value counts as, ``0`` or ``1``; ``nan`` if its value is NaN; empty if not at all
    :param zero_if_missing: whether a 0 replaces a count without series (``or vector(0)``)
    :param answers_alone: whether this 0 is returned although no series exists at all
    """

    kind: Kind
    unit: tuple[object, ...] = ()
    per_second: bool = False
    weights: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1))
    subtracted: Fraction = Fraction(0)
    number: float = math.nan
    is_filtered: bool = False
    has_minimum: bool = False
    joins: frozenset[object] = frozenset()
    alternatives: frozenset[Series] = frozenset()
    conditions: frozenset[object] = frozenset()
    chosen: str = ""
    unknown_as: str = ""
    zero_if_missing: bool = False
    answers_alone: bool = False
    histogram: Quantity | None = None

    @property
    def made_up(self) -> bool:
        """Whether it is a constant that stands where there may be no series: ``vector(0)``, ``0 * total``."""
        return self.weights == (Fraction(0), Fraction(0)) or (self.kind is Kind.NUMBER and self.answers_alone)

    def measures_the_same(self, other: Quantity) -> bool:
        """Return whether both may be added: the same kind, unit, time base and joins."""
        mine = (self.kind, self.unit, self.per_second, self.joins)
        return mine == (other.kind, other.unit, other.per_second, other.joins)

    def add(self, other: Quantity) -> Quantity:
        """Return the sum with a quantity that measures the same."""
        return replace(
            self,
            subtracted=max(self.subtracted, other.subtracted),
            weights=(min(self.weights[0], other.weights[0]), max(self.weights[1], other.weights[1])),
            is_filtered=self.is_filtered or other.is_filtered,
            has_minimum=self.has_minimum or other.has_minimum,
            alternatives=self.alternatives | other.alternatives,
            conditions=self.conditions | other.conditions,
            unknown_as=self.unknown_as or other.unknown_as,
            zero_if_missing=self.zero_if_missing or other.zero_if_missing,
            answers_alone=self.answers_alone and other.answers_alone,
        )

    def subtract(self, other: Quantity) -> Quantity:
        """Return the difference with a quantity that measures the same.

        :raises RefusedQuery: for ``- 0 * x``, which subtracts nothing
        """
        if other.made_up:
            raise RefusedQuery("0 is subtracted, whatever is measured")
        return replace(self.add(other), subtracted=max(self.subtracted, other.subtracted, other.weights[1]))

    def with_zero_of(self, other: Quantity) -> Quantity:
        """Return the quantity with the replaced zeros of the quantity that it is computed from."""
        return replace(self, zero_if_missing=other.zero_if_missing, answers_alone=other.answers_alone)

    def scale(self, factor: float) -> Quantity:
        """Return the quantity multiplied by a number.

        :raises RefusedQuery: for a share, and for a number that is not positive
        """
        if factor == 0 and self.kind is Kind.EVENTS:
            return replace(self, weights=(Fraction(0), Fraction(0)))
        if not math.isfinite(factor) or factor <= 0:
            raise RefusedQuery(f"a count is multiplied by {factor:g}")
        if self.kind is Kind.EVENTS:
            exact = Fraction(repr(factor))
            weights = self.weights[0] * exact, self.weights[1] * exact
            return replace(self, weights=weights, subtracted=self.subtracted * exact)
        if self.kind in (Kind.VALUE, Kind.INSTANT):
            return replace(self, unit=(*self.unit, "times", factor))
        raise RefusedQuery(f"{self.kind} is multiplied or divided by a number; write a share between 0 and 1, not percent")


#: The result of ``vector(0)``.
ZERO = Quantity(Kind.NUMBER, number=0.0, answers_alone=True)


def check_share(part: Quantity, whole: Quantity, *, good_series: Iterable[Series], all_series: Iterable[Series]) -> bool:
    """Check that ``part / whole`` is a share.

    :param part: the good or bad events
    :param whole: all events
    :param good_series: the selectors of the good events, or of the dividend of a ratio
    :param all_series: the selectors of all events
    :return: True if both count events; False if only their ratio is meaningful
    :raises RefusedQuery: when it is not a share
    """
    for quantity in (part, whole):
        if quantity.kind not in (Kind.EVENTS, Kind.VALUE):
            raise RefusedQuery(f"{quantity.kind} is not a count of events")
    if any(other.includes(series) for other in part.alternatives for series in all_series):
        raise MadeUpNumber("`or` replaces missing events by all events; write only events of the same kind behind it")
    if any(series.includes(other) for other in whole.alternatives for series in good_series):
        raise MadeUpNumber("`or` replaces all events by the good ones; write only all events of another name behind it")
    if part.zero_if_missing and not part.conditions <= whole.conditions:
        raise MadeUpNumber("a condition removes events, and the 0 behind `or` replaces them; write the condition in both queries")
    if whole.zero_if_missing and not whole.conditions <= part.conditions:
        raise MadeUpNumber("a condition removes events from the total, and the 0 behind `or` replaces them; remove the condition")
    if part.has_minimum:
        raise RefusedQuery("a filter removes small counts")
    if part.unit[:1] in (("min_over_time",), ("max_over_time",)):
        raise RefusedQuery(f"{part.unit[0]}() reads one sample of each series, and not all that happened")
    for name in ("avg", "min", "max"):  # also on both sides, which may have other series
        if name in (*part.unit[:1], *whole.unit[:1]):
            raise RefusedQuery(f"{name}() does not count the events of all series; write sum() in both queries")
    if 0 < 10 * part.weights[0] < part.weights[1]:
        raise RefusedQuery("some events count for less than a tenth of the others, so that they hardly count at all")
    if part.joins != whole.joins:
        raise RefusedQuery("one side is multiplied by another metric, and the other is not")
    if part.unit[:1] == ("avg_over_time",) and whole.unit == ("series", *part.unit):
        return False  # the mean over the series
    if part.kind is not whole.kind or part.unit != whole.unit:
        raise RefusedQuery("both sides must apply the same functions, over the same window and offset")
    for quantity in (part, whole):
        if quantity.subtracted not in (0, quantity.weights[1]):
            raise RefusedQuery("what is subtracted is multiplied or divided, and what remains is not; scale both alike")
    if whole.weights[0] != whole.weights[1]:
        raise RefusedQuery("the total gives its events different weights")
    if part.weights[1] != whole.weights[1]:
        raise RefusedQuery("one side is multiplied or divided; scale both alike")
    counts = part.kind is Kind.EVENTS and whole.weights[1] == 1
    if part.per_second != whole.per_second and not counts:
        raise RefusedQuery("one side is per second, and the other is not; write increase() in both")
    return counts


def share_of_unknown(part: Quantity, whole: Quantity, *, part_series: Iterable[Series], all_series: Iterable[Series]) -> str:
    """Return what points without a value count as in ``part / whole``, see :attr:`Quantity.unknown_as`.

    :param part: the good or bad events
    :param whole: all events
    :param part_series: the selectors of the good or bad events
    :param all_series: the selectors of all events
    """
    names = {series.name for series in all_series}
    shared = any(series.name in names for series in part_series)
    if part.unit[:1] == ("points",) and not shared:
        return "0"  # where the metric of the part has no samples
    left_out = part.unknown_as == whole.unknown_as or (part.unknown_as == "0" and whole.is_filtered and shared)
    return "" if left_out else part.unknown_as
