"""What the rules of the reader share: where an expression is evaluated, and which selectors are accepted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from airflow_slo_provider.slo.promql.reading.quantities import Quantity, RefusedQuery, WrongWindow
from airflow_slo_provider.slo.promql.syntax_tree import Node, Series

#: The name of a recorded rate, by the convention ``level:metric:operations``.
_RECORDED_RATE = re.compile(r"[a-zA-Z0-9_:]*:[a-zA-Z0-9_:]*?(?P<operation>(?:i?rate|increase)(?:_?(?:[0-9]+(?:ms|[smhdwy]))+)?)")


@dataclass(frozen=True)
class Level:
    """Where an expression is evaluated: over the window, or at the points of a subquery over the window.

    :param at_points: whether it is evaluated at points: its own ranges are then fixed
    :param read: determines what an expression of the same level returns
    :param read_points: determines what an expression returns at the points of a subquery
    """

    at_points: bool
    read: Callable[[Node], Quantity]
    read_points: Callable[[Node], Quantity]


def check_selector(series: Series) -> None:
    """Refuse a selector whose series or time are not the requested ones.

    :raises RefusedQuery: with the reason
    """
    if series.has_alternatives:
        raise RefusedQuery("matchers that are joined by `or` are not supported")
    if not series.name or any(label == "__name__" for label, _, _ in series.matchers):
        raise RefusedQuery("a selector does not name one metric; write its name")
    if series.at:
        raise WrongWindow(f"@ {series.at} fixes the query to one time; remove it")


def recorded_operation(name: str) -> tuple[str, ...]:
    """Return the operation of a recorded rate, such as ``rate5m``; nothing for every other name."""
    match = _RECORDED_RATE.fullmatch(name)
    return ("recorded", match["operation"]) if match else ()
