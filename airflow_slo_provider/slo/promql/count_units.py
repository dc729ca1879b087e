"""Determine the window and the unit of a PromQL count. Used by gates and by alerting rules.

Two counts make a share only if both have the same window and the same unit. A query whose unit cannot be determined is refused:
events divided by events per second would hide a broken service, because the ratio is too large by the seconds of the window.
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
#: These functions make a value from a range, not a count: the ratio of two of them may be meaningful, a sum is not.
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
#: The content of a recording rule, by Prometheus' convention ``level:metric:operations``.
_RECORDED = re.compile(r"[a-zA-Z0-9_:]*:(?P<what>(?:i?rate|increase)(?:_?[0-9]+(?:ms|[smhdwy]))*)")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_RUNNING_TOTAL = re.compile(r"[a-zA-Z0-9_:]+_(total|bucket)")
#: Functions that read the samples of a range themselves.
_OF_SAMPLES = frozenset(f"{what}_over_time" for what in ("sum", "avg", "min", "max", "last", "quantile"))


@dataclass(frozen=True)
class Unit:
    """The unit of a query for a count.

    :param ranges: functions that are applied to the window
    :param recorded: content of the recording rules that it reads, e.g. ``rate5m``
    :param sampled: ranges and resolution of rates that a subquery adds up point by point
    :param factors: factors and divisors
    :param of_series: whether it counts series
    """

    ranges: frozenset[str]
    recorded: frozenset[str]
    sampled: tuple[str, ...]
    factors: tuple[tuple[str, str], ...]
    of_series: bool

    @property
    def per_second(self) -> bool:
        """Whether the unit is events per second."""
        return self.ranges == {"rate"}

    @property
    def is_count(self) -> bool:
        """Whether the unit is events, or events per second."""
        odd = self.recorded or self.sampled or self.factors or self.of_series or self.ranges & _VALUES or "irate" in self.ranges
        return not odd and not self.is_mixed

    @property
    def is_mixed(self) -> bool:
        """Whether the query mixes units."""
        unknown = any(number == "?" for _, number in self.factors)
        rates = self.ranges & _RATES
        return bool(unknown or (rates and self.ranges & _COUNTING) or (self.recorded and self.ranges & (_RATES | {"increase"})))

    def has_meaning_of(self, other: Unit) -> bool:
        """Return whether the ratio of two queries is a share of events, although neither of them is a count."""
        if self.ranges and self.ranges <= _VALUES:
            return (self.ranges, self.recorded, self.factors) == (other.ranges, other.recorded, other.factors)
        return self == other


@lru_cache(maxsize=4096)
def unit(query: str) -> Unit:
    """Return the unit of a count. An invalid expression is accepted here: the server's error message is better."""
    cut = (tokens(query) or ()) if is_balanced(query) else ()
    counted = outside_conditions(cut)
    outside = outside_selectors(outside_subqueries(counted))
    functions = functions_of(outside)
    ranges = functions & (_COUNTING | _VALUES | _RATES)
    recorded = frozenset(match["what"] for name in series_of(outside) if (match := _RECORDED.fullmatch(name)))
    sampled = tuple(text for inner in subqueries(counted) if ranges - {"count_over_time"} for text in _sampled(inner))
    return Unit(ranges, recorded, sampled, tuple(_factors(outside)), bool(functions & _SERIES) or ("name", "bool") in outside)


def are_counts(queries: Mapping[str, str]) -> bool:
    """Return whether queries can be counted in events; False if only their ratio is meaningful.

    :param queries: by role: ``good`` or ``bad``, and ``total``
    :raises ValueError: when they cannot have the same unit
    """
    units = {role: unit(text) for role, text in queries.items()}
    if all(found.is_count for found in units.values()):
        return True
    first = next(iter(units.values()))
    mixed = [role for role, found in units.items() if found.is_mixed]
    if not mixed and (all(first.has_meaning_of(found) for found in units.values()) or _is_weighted_part(units)):
        return False
    role = next(iter(mixed), "") or next(role for role, found in units.items() if not found.is_count)
    raise ValueError(f"{role} and the other query have no common unit: it {_problem(units[role])} ({shorten(queries[role])})")


def _is_weighted_part(units: Mapping[str, Unit]) -> bool:
    """Return whether good weighs some events as less than one, as Apdex does: the share is then at most that of the events."""
    good, total = units.get("good"), units.get("total")
    if good is None or total is None or not total.is_count:
        return False
    whole = replace(good, factors=())
    shrinks = all(float(number) <= 1 if op == "*" else op == "/" and float(number) >= 1 for op, number in good.factors)
    return whole.is_count and shrinks and whole.per_second == total.per_second


def _problem(odd: Unit) -> str:
    if odd.factors:
        return "is multiplied or divided; write the share as a raw ratio, or scale both alike"
    if odd.of_series:
        return "counts series and no events; count series in both"
    if odd.ranges & _VALUES:
        return "is made of values and no events; use the same ..._over_time() in both, or write a raw ratio"
    return "is calculated from rates, and events are no events per second; write increase() in both"


def empty_means_none(query: str) -> bool:
    """Return whether an empty result may mean zero events.

    One missing series empties a whole sum. ``a or b`` and ``a unless b`` are empty only if there is nothing; ``a + b``, ``a -
    b`` and ``a and b`` also if one of them has no series.
    """
    cut = tokens(query)
    if cut is None:
        return False
    joins = any(
        (kind == "op" and (text in "+-*/%^" or text in _COMPARISONS)) or (kind == "name" and text.lower() in ("and", "atan2"))
        for kind, text in outside_selectors(cut)
    )
    return not joins or len(series_of(cut)) < 2


def window_error(query: str) -> str:
    """Return what is wrong with the window of a query; an empty text if it is right or cannot be determined."""
    cut = tokens(query)
    if cut is None or not has_window(query):
        return ""
    if not any(_is_window(before, token) for before, token in pairwise((("", ""), *cut))):
        return "{{.window}} is not a range: write it between square brackets, e.g. sum(increase(requests_total[{{.window}}]))"
    if ("op", "@") in cut:
        return "@ evaluates the query at another time; remove it"
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
    """Return operators that change the scale, each with its number, or ``?``. Zero and joins by labels have no scale."""
    found = []
    fraction = "histogram_fraction" in functions_of(cut)
    for number, (kind, text) in enumerate(cut):
        if kind != "op" or text not in "*/%^" or (fraction and text == "*"):
            continue
        around = (cut[number - 1] if number else ("", ""), cut[number + 1] if number + 1 < len(cut) else ("", ""))
        numbers = [token for kind, token in around if kind == "number" and not _DURATION.fullmatch(token)]
        if around[1][1].lower() in ("on", "ignoring") or (text == "*" and "0" in numbers):
            continue
        found.append((text, numbers[0] if numbers else "?"))
    return found


def _sampled(inner: Sequence[Token]) -> list[str]:
    """Return ranges and resolution of a subquery that adds up rates or increases per point; empty if it adds up points."""
    functions = functions_of(inner)
    recorded = any(_RECORDED.fullmatch(name) for name in series_of(inner))
    if functions & _SERIES or ("name", "bool") in inner or not (functions & (_RATES | {"increase", "delta"}) or recorded):
        return []
    return [
        *(text for kind, text in inner if kind == "number" and _DURATION.fullmatch(text)),
        *sorted(functions & _RATES),
        "sampled",
    ]


def _is_window(before: Token, token: Token) -> bool:
    """Return whether a token is a meaningful window: a range, or part of the name of a recorded series per window."""
    kind, text = token
    as_range = before == ("op", "[") and text == MARK
    return MARK in text and (as_range or (kind == "string" and before[1] in ("=", "=~")) or kind == "name")


def _samples(cut: Sequence[Token]) -> list[tuple[str, str]]:
    """Return functions that read samples directly, with the names of their series."""
    return [
        (function, name)
        for (_, function), bracket, (kind, name) in zip(cut, cut[1:], cut[2:], strict=False)
        if function in _OF_SAMPLES and bracket == ("op", "(") and kind == "name"
    ]
