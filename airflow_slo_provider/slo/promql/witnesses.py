"""Determine which series must exist before a missing number, or a 0, counts as one.

A ``bad`` that is empty, or 0 by ``or vector(0)``, counts as zero failures only if every selector of its query names a metric
that has series in the window, with every label that the selector needs, no matcher requires another value of a label than the
total fixes it to, and the query does not add several series up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_slo_provider.slo.promql.absence import (
    conditions,
    empty_means_none,
    is_optional,
    optional_series,
    subtracted_optional_series,
    without_filters,
)
from airflow_slo_provider.slo.promql.query_roles import Reading
from airflow_slo_provider.slo.promql.selectors import Matcher, Selector, safe_regex, selectors
from airflow_slo_provider.slo.promql.syntax_tree import Series, parse, series_of

NONE_NEEDED: frozenset[Selector] = frozenset()


def witnesses_of_bad(reading: Reading, *, has_failures: bool, is_empty: bool) -> frozenset[Selector] | None:
    """Return the selectors that must have series for the bad events to be what the query returns.

    :param reading: the indicator's queries
    :param has_failures: whether the query returns more than 0
    :param is_empty: whether the query returns nothing
    :return: None if no series can prove it
    """
    bad = reading.queries["bad"]
    if reading.declared:
        return None if is_empty else NONE_NEEDED
    tree, total = parse(bad.text), parse(reading.queries["total"].text)
    if not is_empty:
        needed = () if has_failures and is_optional(tree) else optional_series(tree)
    else:
        plain = without_filters(tree)
        if not empty_means_none(plain) or not conditions(tree) <= conditions(total):
            return None
        needed = series_of(plain)
    return _witnesses(needed, series_of(total)) if needed else NONE_NEEDED


def witnesses_of_counts(reading: Reading) -> frozenset[Selector] | None:
    """Return the selectors that must have series, whatever the values: a 0 for them would improve the ratio.

    These are parts of the total (``ok + (errors or vector(0))``) and what good events leave out (``all - (errors or
    vector(0))``).

    :param reading: the indicator's queries
    :return: None if no series can prove it
    """
    if reading.declared:
        return NONE_NEEDED
    total = parse(reading.queries["total"].text)
    needed = () if is_optional(total) else optional_series(total)
    if "good" in reading.queries:
        needed += subtracted_optional_series(parse(reading.queries["good"].text))
    others = [series for series in series_of(total) if series not in needed]
    return _witnesses(needed, others) if needed else NONE_NEEDED


def witnesses_of_raw(reading: Reading) -> frozenset[Selector] | None:
    """Return the selectors that must have series for a raw ratio to be what the query returns.

    :param reading: the indicator's query
    :return: None if no series can prove it
    """
    tree = parse(reading.queries["raw"].text)
    needed = optional_series(tree)
    others = [series for series in series_of(tree) if series not in needed]
    return _witnesses(needed, others) if needed else NONE_NEEDED


def _witnesses(needed: Sequence[Series], all_events: Sequence[Series]) -> frozenset[Selector] | None:
    """Return the selectors that must have series for a 0 to be a count; None if the queries contradict each other."""
    failing, known = selectors(needed), selectors(all_events)
    if not failing or known is None:
        return None
    pinned: dict[str, set[str]] = {}
    for selector in known:
        for matcher in selector.matchers:
            if matcher.op == "=" and matcher.value:
                pinned.setdefault(matcher.label, set()).add(matcher.value)
    out = set()
    for selector in failing:
        if any(item.label in pinned and not _could_match(item, pinned[item.label]) for item in selector.matchers):
            return None
        out.add(_witness(selector, known))
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
    if matcher.is_regex and not safe_regex(matcher.value):
        return False
    return any(matcher.matches(value) for value in values)
