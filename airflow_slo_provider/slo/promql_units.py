"""What a query for a count counts: over which time, and in which unit. Read alike by gates and by alerting rules.

Two counts make a share only when both are of the same time and in the same unit. What cannot be told is refused: events beside
events per second would make a broken service look sound by the seconds of the window.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from airflow_slo_provider.slo.promql_text import has_window, shorten
from airflow_slo_provider.slo.promql_tokens import (
    MARK,
    Token,
    functions_of,
    is_balanced,
    outside_selectors,
    outside_subqueries,
    tokens,
)

#: Units of counts.
EVENTS, PER_SECOND, SCALED, MIXED = "events", "events per second", "scaled", "mixed"
_COUNTING = frozenset({"increase", "delta", "sum_over_time", "count_over_time", "changes", "resets"})
#: What these make of a range is no count, whatever is done with it afterwards.
_NO_COUNTS = frozenset(
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
_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
#: A recorded rate, by Prometheus' convention ``level:metric:operations``.
_RECORDED_RATE = re.compile(r"[a-zA-Z0-9_:]*:i?rate\w*")
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_RUNNING_TOTAL = re.compile(r"[a-zA-Z0-9_:]+_(total|bucket)")


@lru_cache(maxsize=4096)
def unit(query: str) -> str:
    """Return what a count is in: events, events per second, those scaled by something, or what is no unit.

    A subquery over the window counts points; what it looks at does not matter.
    """
    outside = outside_selectors(outside_subqueries(tokens(query) or ()))
    functions = functions_of(outside)
    if any(kind == "name" and _RECORDED_RATE.fullmatch(text) for kind, text in outside):
        return MIXED if functions & _COUNTING else SCALED
    if not functions & {"rate", "irate"}:
        return MIXED if functions & _NO_COUNTS and not functions & _COUNTING else EVENTS
    if functions & _COUNTING:
        return MIXED
    scaled = any(_scales(token) for token in outside)
    return SCALED if scaled or "count" in functions or not is_balanced(query) else PER_SECOND


def are_counts(queries: Mapping[str, str]) -> bool:
    """Say whether queries can be counted in events; False where only their ratio means something.

    :param queries: by role: ``good`` or ``bad``, and ``total``
    :raises ValueError: where they cannot be in the same unit
    """
    units = {role: unit(text) for role, text in queries.items()}
    odd = MIXED if MIXED in units.values() else SCALED
    if odd not in units.values():
        return True
    factors = {_factors(text) for text in queries.values()}
    if odd == MIXED or set(units.values()) != {SCALED} or len(factors) > 1:
        role = next(role for role, one in units.items() if one == odd)
        raise ValueError(
            f"{role} is calculated from rates or values, so that nobody can tell whether it counts events as the other query "
            f"does; write increase() in both ({shorten(queries[role])})"
        )
    return False


@lru_cache(maxsize=4096)
def _factors(query: str) -> tuple[str, ...]:
    """The numbers and operators of a query that change its scale."""
    outside = outside_selectors(outside_subqueries(tokens(query) or ()))
    return tuple(text for kind, text in outside if _scales((kind, text)) or (kind == "number" and not _DURATION.fullmatch(text)))


def _scales(token: Token) -> bool:
    kind, text = token
    return kind == "op" and (text in "*/%^" or text in _COMPARISONS)


def window_fault(query: str) -> str:
    """Say what is wrong with the time that a query counts over; nothing where it is right or nobody can tell."""
    cut = tokens(query)
    if cut is None or not has_window(query):
        return ""
    if not any(_is_place(before, token) for before, token in pairwise(cut)):
        return "{{.window}} stands in no range: write it between square brackets, e.g. sum(increase(requests_total[{{.window}}]))"
    if ("op", "@") in cut:
        return "@ pins the query to another time than the one that is asked about; remove it"
    own = outside_subqueries(cut)
    fixed = [text for before, (kind, text) in pairwise(own) if before == ("op", "[") and kind == "number" and text != MARK]
    if fixed:
        return f"beside {{{{.window}}}} there is the fixed range [{fixed[0]}]: two times are mixed; write {{{{.window}}}} in both"
    if "irate" in functions_of(own):
        return "irate() reads only the last two samples of {{.window}}; write increase()"
    if any(_RUNNING_TOTAL.fullmatch(name) for name in _summed_samples(cut)):
        return "sum_over_time() adds up the samples of a counter, each of which is a running total; write increase()"
    return ""


def _is_place(before: Token, token: Token) -> bool:
    """Whether a token is the window where it means something: a range, or the label of what was recorded for each window."""
    kind, text = token
    return MARK in text and ((before == ("op", "[") and text == MARK) or (kind == "string" and before[1] in ("=", "=~")))


def _summed_samples(cut: Sequence[Token]) -> list[str]:
    """The names of series whose samples are added up as they are."""
    return [
        name
        for (_, function), bracket, (kind, name) in zip(cut, cut[1:], cut[2:], strict=False)
        if function == "sum_over_time" and bracket == ("op", "(") and kind == "name"
    ]
