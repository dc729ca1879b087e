"""Distinguish "no failure happened" from "the query for failures has a typo": both return an empty vector.

An empty ``bad`` counts as zero failures only if every selector of its query names a metric that has series in the window, with
every label that the selector needs, no matcher requires another value of a label than the total fixes it to, and the query does
not add several series up.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.indicators.prometheus.merged_queries import duration
from airflow_slo_provider.indicators.prometheus.query_batches import Query
from airflow_slo_provider.slo.promql import selectors as promql
from airflow_slo_provider.slo.promql.count_units import empty_means_none
from airflow_slo_provider.slo.promql.selectors import Matcher, Selector


def witnesses(bad: str, total: str) -> frozenset[Selector] | None:
    """Return the selectors that must have series for an empty ``bad`` to mean 0.

    :param bad: query text of the failures
    :param total: query text of all events
    :return: the selectors; None if the queries cannot be parsed reliably, or contradict each other
    """
    failing, all_events = promql.selectors(bad), promql.selectors(total)
    if not failing or not all_events or not empty_means_none(bad):
        return None
    pinned: dict[str, set[str]] = {}
    for selector in all_events:
        for matcher in selector.matchers:
            if matcher.op == "=" and matcher.value:
                pinned.setdefault(matcher.label, set()).add(matcher.value)
    out = set()
    for selector in failing:
        if any(item.label in pinned and not _could_match(item, pinned[item.label]) for item in selector.matchers):
            return None
        out.add(_witness(selector, all_events))
    return frozenset(out)


def _witness(failing: Selector, all_events: Iterable[Selector]) -> Selector:
    """Return a selector of the same metric with the labels that a failure needs.

    Matchers of the total are kept, so that it selects series of the same service.
    """
    same = [set(selector.matchers) for selector in all_events if selector.name == failing.name]
    kept = set(failing.matchers).intersection(*same) if same else set()
    known = {item.label for item in kept if item.op == "=" and item.value}
    kept |= {Matcher(item.label, "!=", "") for item in failing.matchers if item.is_positive and item.label not in known}
    return Selector(failing.name, tuple(sorted(kept, key=lambda item: (item.label, item.op, item.value))))


def _could_match(matcher: Matcher, values: Iterable[str]) -> bool:
    """Return whether a matcher matches one of the values; False if its regular expression cannot be evaluated reliably."""
    if matcher.is_regex and not promql.safe_regex(matcher.value):
        return False
    return any(matcher.matches(value) for value in values)


def queries_at_end(selectors: Iterable[Selector], _window: int) -> list[Query]:
    """Return queries that check whether series exist at the end of the window: cheap, and sufficient if they do."""
    return [Query(f"count({selector})") for selector in selectors]


def queries_in_window(selectors: Iterable[Selector], window: int) -> list[Query]:
    """Return queries that check whether series existed anywhere in the window.

    :param selectors: the selectors that must have series
    :param window: length of the window in milliseconds
    """
    return [Query(f"count(present_over_time({selector}[{duration(window)}]))") for selector in selectors]


def missing(bad: str, query: str) -> NoData:
    """Create the error for an empty ``bad`` that may not count as zero failures."""
    return NoData(
        "the query for bad events returns nothing, and nothing shows that there were none: its metric or one of its labels does "
        "not exist in the window, or it selects other series than the total does; check it for a typo, or append `or vector(0)` "
        f"if no series means no failure ({' '.join(bad.split())})",
        reason="bad_series_missing",
        query=query,
    )
