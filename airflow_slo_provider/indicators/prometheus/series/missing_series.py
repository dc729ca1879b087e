"""Distinguish "nothing happened" from "there is no such series": both may be an empty answer, or a 0.

Which series must exist is determined in :mod:`airflow_slo_provider.slo.promql.witnesses`. A total that a filter (``> 0``)
removes, or that is 0 by ``or vector(0)``, means "no events" only if its series exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.indicators.prometheus.merged_queries import duration
from airflow_slo_provider.indicators.prometheus.query_batches import Query
from airflow_slo_provider.slo.promql.absence import denominator, without_filters
from airflow_slo_provider.slo.promql.query_roles import Reading
from airflow_slo_provider.slo.promql.selectors import Matcher, Selector, selectors
from airflow_slo_provider.slo.promql.syntax_tree import Series, parse, series_of
from airflow_slo_provider.slo.promql.witnesses import NONE_NEEDED, witnesses_of_bad, witnesses_of_counts, witnesses_of_raw


@dataclass(frozen=True)
class Doubt:
    """A number that may have been returned although there is no series.

    :param needed: selectors that must have series; None if that cannot be determined
    :param if_missing: the error if one of them has none
    :param if_present: the result if all of them have series, where that is an error too: there are no events
    """

    needed: frozenset[Selector] | None
    if_missing: NoData
    if_present: NoData | None = None

    def within(self, group: Mapping[str, str]) -> Doubt:
        """Return the doubt about one group: its own series must exist.

        :param group: values of labels
        """
        if not group or not self.needed:
            return self
        own = tuple(Matcher(label, "=", value) for label, value in group.items())
        return replace(self, needed=frozenset(Selector(item.name, (*item.matchers, *own)) for item in self.needed))

    def and_also(self, other: Doubt | None) -> Doubt:
        """Return the doubt about both numbers."""
        if other is None or self.needed is None:
            return self
        return other if other.needed is None else replace(self, needed=self.needed | other.needed)


def doubt_of_total(reading: Reading, *, query: str) -> Doubt | None:
    """Return the doubt about a total without events; None if only missing series make it empty.

    :param reading: the indicator's queries
    :param query: text of the queries, for messages
    """
    total = reading.queries["total"]
    return _doubt_of_events(series_of(parse(total.text)), "total", query) if total.may_hide_series else None


def doubt_of_bad(reading: Reading, *, has_failures: bool, is_empty: bool, query: str) -> Doubt | None:
    """Return the doubt about the bad events of a window with events; None if their series certainly exist.

    :param reading: the indicator's queries
    :param has_failures: whether there were bad events
    :param is_empty: whether the query returned nothing
    :param query: text of the queries, for messages
    """
    needed = witnesses_of_bad(reading, has_failures=has_failures, is_empty=is_empty)
    return None if needed == NONE_NEEDED else Doubt(needed, _missing(reading.queries["bad"].text, query))


def doubt_of_counts(reading: Reading, *, query: str) -> Doubt | None:
    """Return the doubt about a ratio of counts with events; None if no zero in them may stand for missing series.

    :param reading: the indicator's queries
    :param query: text of the queries, for messages
    """
    needed = witnesses_of_counts(reading)
    return None if needed == NONE_NEEDED else Doubt(needed, _missing(reading.queries["total"].text, query))


def doubt_of_raw(reading: Reading, *, is_empty: bool, query: str) -> Doubt | None:
    """Return the doubt about a raw ratio; None if nothing in it may stand for missing series, or hide series that exist.

    :param reading: the indicator's query
    :param is_empty: whether the query returned nothing
    :param query: text of the query, for messages
    """
    if is_empty:
        tree = parse(reading.queries["raw"].text)
        plain = without_filters(tree)
        return _doubt_of_events(series_of(denominator(plain) or plain), "ratio", query) if plain != tree else None
    needed = witnesses_of_raw(reading)
    return None if needed == NONE_NEEDED else Doubt(needed, _missing(reading.queries["raw"].text, query))


def _doubt_of_events(series: Sequence[Series], role: str, query: str) -> Doubt:
    found = selectors(series)
    return Doubt(
        None if found is None else frozenset(found),
        NoData(f"the query for the {role} returns nothing: no such series in the window", reason="empty", query=query),
        NoData(f"the query for the {role} returns nothing or 0: no events in the window", reason="no_events", query=query),
    )


def queries_at_end(needed: Iterable[Selector], _window: int) -> list[Query]:
    """Return queries that check whether series exist at the end of the window: cheap, and sufficient if they do."""
    return [Query(f"count({selector})") for selector in needed]


def queries_in_window(needed: Iterable[Selector], window: int) -> list[Query]:
    """Return queries that check whether series existed anywhere in the window.

    :param needed: the selectors that must have series
    :param window: length of the window in milliseconds
    """
    return [Query(f"count(present_over_time({selector}[{duration(window)}]))") for selector in needed]


def _missing(text: str, query: str) -> NoData:
    return NoData(
        "nothing shows that no failure happened: the metric of the failures or one of its labels does not exist in the window, "
        "or it selects other series than the total does; check it for a typo. A counter that the first failure creates "
        f"must be initialised with 0, or write total - good ({' '.join(text.split())})",
        reason="bad_series_missing",
        query=query,
    )
