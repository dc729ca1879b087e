"""Fill the window into a query, so that neighbouring windows share no sample."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta

from airflow_slo_provider.slo.promql.syntax_tree import (
    WINDOW,
    Aggregation,
    Binary,
    Call,
    Negation,
    Node,
    PromQLSyntaxError,
    Series,
    Subquery,
    parse,
)
from airflow_slo_provider.slo.promql.text import duration_text, with_window
from airflow_slo_provider.slo.promql.tree_writer import write

_MILLISECOND = timedelta(milliseconds=1)


def fill_window(query: str, window: timedelta) -> str:
    """Replace ``{{.window}}`` by a window.

    ``sum_over_time``, ``avg_over_time`` and the like get one millisecond less. A range includes its start in Prometheus 2 and not
    in 3, and a sample there belongs to the window before. ``increase`` and ``rate`` need it as their reference. The text of a
    query without such a function, or that cannot be read, is not changed otherwise.

    :param query: PromQL
    :param window: length of the window
    """
    if "_over_time" in query.lower():
        with contextlib.suppress(PromQLSyntaxError):
            query = write(_filled(parse(query), window))
    return with_window(query, duration_text(window))


def _filled(node: Node, window: timedelta) -> Node:
    match node:
        case Call():
            length = window - _MILLISECOND if node.function.endswith("_over_time") else window
            return replace(node, arguments=tuple(_filled(_with_range(item, length), window) for item in node.arguments))
        case Binary():
            return replace(node, left=_filled(node.left, window), right=_filled(node.right, window))
        case Negation() | Subquery() | Aggregation():
            return replace(node, inner=_filled(node.inner, window))
    return node


def _with_range(node: Node, length: timedelta) -> Node:
    return replace(node, range=length) if isinstance(node, Series | Subquery) and node.range == WINDOW else node
