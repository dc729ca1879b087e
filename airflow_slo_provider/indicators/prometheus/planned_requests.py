"""A request with its queries, the rows of its answers, and what is to be asked before they count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.answers import to_milliseconds
from airflow_slo_provider.indicators.prometheus.queries import format_queries, one_series
from airflow_slo_provider.indicators.prometheus.query_batches import EvaluationTimes, Points, Query, Replies, Rows
from airflow_slo_provider.indicators.prometheus.series import missing_series
from airflow_slo_provider.indicators.prometheus.series.missing_series import Doubt
from airflow_slo_provider.indicators.prometheus.series.series_groups import rows_of_group
from airflow_slo_provider.indicators.request_errors import unwrap
from airflow_slo_provider.slo.budget.indicator_source import MeasureRequest
from airflow_slo_provider.slo.model import RatioMetric
from airflow_slo_provider.slo.promql.lost_events import LostEvents
from airflow_slo_provider.slo.promql.query_roles import read_metric

#: The times and the window (milliseconds) of queries that may be sent together.
Batch = tuple[EvaluationTimes, int]
#: Milliseconds after which a server does not see a series any more.
_BLIND = 3_600_000


@dataclass(frozen=True)
class PlannedRequest:
    """A request with its queries by role, and the group that they are sent in.

    :param lost: queries that have a value where events are lost, each with what it means
    """

    request: MeasureRequest
    group: Batch
    queries: dict[str, Query]
    lost: tuple[tuple[Query, LostEvents], ...] = ()

    @cached_property
    def text(self) -> str:
        """The queries and their time."""
        return format_queries(self.queries, self.request.end)

    def rows(self, replies: Replies) -> dict[str, Rows | QueryError]:
        """Return the answer to each query, by role, without the series of other groups."""
        return {role: _rows_or_error(replies[query], self.request.group, query) for role, query in self.queries.items()}

    def refuse_lost_events(self, replies: Replies) -> None:
        """Refuse numbers from which events of the window are missing.

        :raises QueryError: reason ``lost_events``, or when the server has not answered
        """
        for query, lost in self.lost:
            rows = rows_of_group(unwrap(replies[query]), self.request.group if lost.by else {}, query)
            if any(value != 0 for _, points in rows for value in points.values()):
                raise QueryError(lost.message, reason="lost_events", query=f"{self.text}; {query.text}")

    def series(self, replies: Replies) -> dict[str, Points | None]:
        """Return the only series of each query, by role."""
        return {role: one_series(unwrap(rows), self.queries[role]) for role, rows in self.rows(replies).items()}


def _rows_or_error(answer: Rows | QueryError, group: Mapping[str, str], query: Query) -> Rows | QueryError:
    if isinstance(answer, QueryError):
        return answer
    try:
        return rows_of_group(answer, group, query)
    except QueryError as error:
        return error


def doubt_of(planned: PlannedRequest, replies: Replies) -> Doubt | None:
    """Return what is to be asked about the series of a request's group before its numbers count.

    :param planned: the request
    :param replies: the answers of its batch
    """
    found = _doubt(planned, replies)
    return None if found is None else found.within(planned.request.group)


def _doubt(planned: PlannedRequest, replies: Replies) -> Doubt | None:
    """Return what is to be asked before a missing number, or a 0, counts as one."""
    metric = planned.request.indicator.metric
    answers = planned.rows(replies)
    if not isinstance(metric, RatioMetric) or "present" in answers:
        return None
    found = {role: answer for role, answer in answers.items() if not isinstance(answer, QueryError)}
    if len(found) < len(answers):
        return None
    reading = read_metric(metric)
    if "raw" in found:
        return missing_series.doubt_of_raw(reading, is_empty=not found["raw"], query=planned.text)
    newest = newest_times(planned, found["total"])
    if not newest:
        return missing_series.doubt_of_total(reading, query=planned.text)
    counts = missing_series.doubt_of_counts(reading, query=planned.text)
    if "bad" not in found:
        return counts
    # In the newest slices with events: a gap that has ended does not make older slices uncertain.
    recent = [value for _, points in found["bad"] for time, value in points.items() if time >= min(newest)]
    has_failures = any(value != 0 for value in recent)
    bad = missing_series.doubt_of_bad(reading, has_failures=has_failures, is_empty=not recent, query=planned.text)
    return bad.and_also(counts) if bad else counts


def newest_times(planned: PlannedRequest, total: Rows) -> set[int]:
    """Return the times of the last hour at which there were events; all times with events if there were none in that hour."""
    times = {time for _, points in total for time, value in points.items() if value != 0}
    recent = to_milliseconds(planned.group[0].end) - max(_BLIND, planned.group[1])
    return {time for time in times if time > recent} or times


def witnessed_milliseconds(planned: PlannedRequest, replies: Replies) -> int:
    """Return within how many milliseconds before the end a witness must have had samples."""
    times, window = planned.group
    total = planned.rows(replies).get("total")
    if times.step is None or isinstance(total, QueryError):
        return window
    newest = newest_times(planned, total) if total else set()
    start = min(newest, default=to_milliseconds(times.start))
    return to_milliseconds(times.end) - start + window
