"""Telling "no failure happened" from "the query for failures has a typo": both answer an empty vector.

An empty ``bad`` counts as 0 only when every selector of its query names a metric that has series in the window, every label the
selector needs exists on that metric, and no label is pinned to another value than the total pins it to.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.indicators import promql
from airflow_slo_provider.indicators.prometheus_batch import Ask
from airflow_slo_provider.indicators.prometheus_merge import duration
from airflow_slo_provider.indicators.promql import Matcher, Selector


def witnesses(bad: str, total: str) -> frozenset[Selector] | None:
    """List selectors that must have series for an empty ``bad`` to mean 0.

    :param bad: query text of the failures
    :param total: query text of all events
    :return: None where the queries cannot be read for sure, or contradict each other
    """
    failing, all_events = promql.selectors(bad), promql.selectors(total)
    if not failing or not all_events:
        return None
    pinned: dict[str, set[str]] = {}
    for selector in all_events:
        for matcher in selector.matchers:
            if matcher.op == "=" and matcher.value:
                pinned.setdefault(matcher.label, set()).add(matcher.value)
    out = set()
    for selector in failing:
        out.add(Selector(selector.name))
        for matcher in selector.matchers:
            if matcher.op == "=" and matcher.label in pinned and matcher.value not in pinned[matcher.label]:
                return None
            if matcher.is_positive:
                out.add(Selector(selector.name, (Matcher(matcher.label, "!=", ""),)))
    # A bare name is implied by any of its labels.
    labelled = {selector.name for selector in out if selector.matchers}
    return frozenset(selector for selector in out if selector.matchers or selector.name not in labelled)


def asks_at_end(selectors: Iterable[Selector]) -> dict[Selector, Ask]:
    """Ask whether series exist at the end of the window: cheap, and enough where they do."""
    return {selector: Ask(f"count({selector})") for selector in selectors}


def asks_in_window(selectors: Iterable[Selector], window: int) -> dict[Selector, Ask]:
    """Ask whether series existed anywhere in the window.

    :param window: milliseconds
    """
    return {selector: Ask(f"count(present_over_time({selector}[{duration(window)}]))") for selector in selectors}


def missing(bad: str, query: str) -> NoData:
    """Make the error for an empty ``bad`` that proves nothing."""
    return NoData(
        "the query for bad events answers nothing, and its metric or one of its labels does not exist in the window either: "
        f"check it for a typo, or write `or vector(0)` behind it if no series means no failure ({' '.join(bad.split())})",
        reason="bad_series_missing",
        query=query,
    )
