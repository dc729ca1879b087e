"""What a query for a count counts: over which time, and in which unit. Read alike by gates and by alerting rules.

Two counts make a share only when both are of the same time and in the same unit. What cannot be told is refused: events beside
events per second would make a broken service look sound by the seconds of the window.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from airflow_slo_provider.slo.promql.text import has_window, shorten
from airflow_slo_provider.slo.promql.tokens import (
    MARK,
    Token,
    functions_of,
    is_balanced,
    outside_conditions,
    outside_selectors,
    outside_subqueries,
    series_of,
    subqueries,
    tokens,
)

_COUNTING = frozenset({"increase", "delta", "sum_over_time", "count_over_time", "changes", "resets"})
#: What these make of a range is a value and no count: the ratio of two of them may mean something, a sum does not.
_VALUES = frozenset(
    {
        "avg_over_time",
        "deriv",
        "idelta",
        "last_over_time",
        "max_over_time",
        "min_over_time",
        "predict_linear",
        "quantile_over_time",
        "stddev_over_time",
        "stdvar_over_time",
    }
)
_RATES = frozenset({"rate", "irate"})
_SERIES = frozenset({"count", "count_values", "group"})
_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
#: What a recording rule holds, by Prometheus' convention ``level:metric:operations``.
_RECORDED = re.compile(r"[a-zA-Z0-9_:]*:(?P<what>(?:i?rate|increase)(?:_?[0-9]+(?:ms|[smhdwy]))*)")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_RUNNING_TOTAL = re.compile(r"[a-zA-Z0-9_:]+_(total|bucket)")
#: Functions that read the samples of a range themselves.
_OF_SAMPLES = frozenset(f"{what}_over_time" for what in ("sum", "avg", "min", "max", "last", "quantile"))


@dataclass(frozen=True)
class Unit:
    """What a query for a count is in.

    :param ranges: what is made of the window
    :param recorded: what recording rules hold that it reads, e.g. ``rate5m``
    :param sampled: ranges and resolution of rates that a subquery adds up, point by point
    :param factors: what it is multiplied or divided by
    :param of_series: whether it counts series
    """

    ranges: frozenset[str]
    recorded: frozenset[str]
    sampled: tuple[str, ...]
    factors: tuple[tuple[str, str], ...]
    of_series: bool

    @property
    def per_second(self) -> bool:
        """Whether it is events per second."""
        return self.ranges == {"rate"}

    @property
    def is_count(self) -> bool:
        """Whether it is events, or events per second."""
        odd = self.recorded or self.sampled or self.factors or self.of_series or self.ranges & _VALUES or "irate" in self.ranges
        return not odd and not self.is_mixed

    @property
    def is_mixed(self) -> bool:
        """Whether it is no unit at all."""
        unknown = any(number == "?" for _, number in self.factors)
        rates = self.ranges & _RATES
        return bool(unknown or (rates and self.ranges & _COUNTING) or (self.recorded and self.ranges & (_RATES | {"increase"})))

    def means_the_same(self, other: Unit) -> bool:
        """Whether the share of one in the other is the share of what they count, though neither is a count."""
        if self.ranges and self.ranges <= _VALUES:
            return (self.ranges, self.recorded, self.factors) == (other.ranges, other.recorded, other.factors)
        return self == other


@lru_cache(maxsize=4096)
def unit(query: str) -> Unit:
    """Return what a count is in. What is no expression is left alone: the server says better what is wrong with it."""
    cut = (tokens(query) or ()) if is_balanced(query) else ()
    counted = outside_conditions(cut)
    outside = outside_selectors(outside_subqueries(counted))
    functions = functions_of(outside)
    ranges = functions & (_COUNTING | _VALUES | _RATES)
    recorded = frozenset(match["what"] for name in series_of(outside) if (match := _RECORDED.fullmatch(name)))
    sampled = tuple(text for inner in subqueries(counted) if ranges - {"count_over_time"} for text in _sampled(inner))
    return Unit(ranges, recorded, sampled, tuple(_factors(outside)), bool(functions & _SERIES) or ("name", "bool") in outside)


def are_counts(queries: Mapping[str, str]) -> bool:
    """Say whether queries can be counted in events; False where only their ratio means something.

    :param queries: by role: ``good`` or ``bad``, and ``total``
    :raises ValueError: where they cannot be in the same unit
    """
    units = {role: unit(text) for role, text in queries.items()}
    if all(one.is_count for one in units.values()):
        return True
    first = next(iter(units.values()))
    mixed = [role for role, one in units.items() if one.is_mixed]
    if not mixed and (all(first.means_the_same(one) for one in units.values()) or _is_a_part(units)):
        return False
    role = next(iter(mixed), "") or next(role for role, one in units.items() if not one.is_count)
    raise ValueError(f"{role} and the other query have no common unit: it {_why(units[role])} ({shorten(queries[role])})")


def _is_a_part(units: Mapping[str, Unit]) -> bool:
    """Whether good counts some events as less than one, as Apdex does: the share is then no more than that of the events."""
    good, total = units.get("good"), units.get("total")
    if good is None or total is None or not total.is_count:
        return False
    whole = replace(good, factors=())
    shrinks = all(float(number) <= 1 if op == "*" else op == "/" and float(number) >= 1 for op, number in good.factors)
    return whole.is_count and shrinks and whole.per_second == total.per_second


def _why(odd: Unit) -> str:
    if odd.factors:
        return "is multiplied or divided; write the share as a raw ratio, or scale both alike"
    if odd.of_series:
        return "counts series and no events; count series in both"
    if odd.ranges & _VALUES:
        return "is made of values and no events; use the same ..._over_time() in both, or write a raw ratio"
    return "is calculated from rates, and events are no events per second; write increase() in both"


def empty_means_none(query: str) -> bool:
    """Whether an empty answer may mean that there were none: of several series one that is missing empties a whole sum.

    ``a or b`` and ``a unless b`` are empty only where there is nothing; ``a + b``, ``a - b`` and ``a and b`` also where one of
    them has no series.
    """
    cut = tokens(query)
    if cut is None:
        return False
    joins = any(
        (kind == "op" and (text in "+-*/%^" or text in _COMPARISONS)) or (kind == "name" and text.lower() in ("and", "atan2"))
        for kind, text in outside_selectors(cut)
    )
    return not joins or len(series_of(cut)) < 2


def window_fault(query: str) -> str:
    """Say what is wrong with the time that a query counts over; nothing where it is right or nobody can tell."""
    cut = tokens(query)
    if cut is None or not has_window(query):
        return ""
    if not any(_is_place(before, token) for before, token in pairwise((("", ""), *cut))):
        return "{{.window}} stands in no range: write it between square brackets, e.g. sum(increase(requests_total[{{.window}}]))"
    if ("op", "@") in cut:
        return "@ pins the query to another time than the one that is asked about; remove it"
    own = outside_conditions(outside_subqueries(cut))
    fixed = [text for before, (kind, text) in pairwise(own) if before == ("op", "[") and kind == "number" and text != MARK]
    if fixed:
        return f"beside {{{{.window}}}} there is the fixed range [{fixed[0]}]: two times are mixed; write {{{{.window}}}} in both"
    if "irate" in functions_of(own):
        return "irate() reads only the last two samples of {{.window}}; write increase()"
    function = next((function for function, name in _samples(own) if _RUNNING_TOTAL.fullmatch(name)), None)
    if function:
        return f"{function}() reads the samples of a counter, each of which is a running total; write increase()"
    return ""


def _factors(cut: Sequence[Token]) -> list[tuple[str, str]]:
    """Operators that change a scale, each with its number, or ``?``. Zero has no scale, and neither has a join by labels."""
    found = []
    fraction = "histogram_fraction" in functions_of(cut)
    for number, (kind, text) in enumerate(cut):
        if kind != "op" or text not in "*/%^" or (fraction and text == "*"):
            continue
        around = (cut[number - 1] if number else ("", ""), cut[number + 1] if number + 1 < len(cut) else ("", ""))
        numbers = [one for what, one in around if what == "number" and not _DURATION.fullmatch(one)]
        if around[1][1].lower() in ("on", "ignoring") or (text == "*" and "0" in numbers):
            continue
        found.append((text, numbers[0] if numbers else "?"))
    return found


def _sampled(inner: Sequence[Token]) -> list[str]:
    """Ranges and resolution of a subquery that adds rates or growth up at each point; nothing where it adds up points."""
    functions = functions_of(inner)
    recorded = any(_RECORDED.fullmatch(name) for name in series_of(inner))
    if functions & _SERIES or ("name", "bool") in inner or not (functions & (_RATES | {"increase", "delta"}) or recorded):
        return []
    return [
        *(text for kind, text in inner if kind == "number" and _DURATION.fullmatch(text)),
        *sorted(functions & _RATES),
        "sampled",
    ]


def _is_place(before: Token, token: Token) -> bool:
    """Whether a token is the window where it means something: a range, or what was recorded for each window."""
    kind, text = token
    as_range = before == ("op", "[") and text == MARK
    return MARK in text and (as_range or (kind == "string" and before[1] in ("=", "=~")) or kind == "name")


def _samples(cut: Sequence[Token]) -> list[tuple[str, str]]:
    """Functions that read samples as they are, with the names of their series."""
    return [
        (function, name)
        for (_, function), bracket, (kind, name) in zip(cut, cut[1:], cut[2:], strict=False)
        if function in _OF_SAMPLES and bracket == ("op", "(") and kind == "name"
    ]
