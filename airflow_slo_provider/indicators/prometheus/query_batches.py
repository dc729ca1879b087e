"""Send many queries in few requests: counts over the same metric are read once, other queries are joined.

A wrong query makes the whole batch fail; its members are then sent one by one, so that it does not affect the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.answer_checks import shape_error
from airflow_slo_provider.indicators.prometheus.answers import SURELY_FINITE, parse_value, to_milliseconds
from airflow_slo_provider.indicators.prometheus.merged_queries import MergedQuery
from airflow_slo_provider.indicators.prometheus.request_limits import Client
from airflow_slo_provider.slo.promql.selectors import Count
from airflow_slo_provider.slo.promql.syntax_tree import is_readable

#: Maximum number of queries in one union, and its maximum length in characters.
_UNION_SIZE = 25
_UNION_LENGTH = 50_000
_UNION_LABEL = "slo_q"
#: Reasons of refusals that may be due to one member, or to the size of the batch.
_SPLIT = frozenset({
    "bad_query", "query_failed", "too_large", "request_too_large",
    "http_error", "status_error", "unexpected_shape", "unmergeable",
})  # fmt: skip

#: An exact number, or ``NaN``, ``+Inf``, ``-Inf``.
Value = int | Fraction | str
#: Values of one series by unix milliseconds.
Points = dict[int, Value]
Rows = list[tuple[Mapping[str, str], Points]]


@dataclass(frozen=True)
class Query:
    """One query.

    :param text: the query as it would be sent alone
    :param count: the count, if it may be merged with others
    """

    text: str
    count: Count | None = field(default=None, hash=False)  # the text tells queries apart, and is hashed once


Replies = dict[Query, Rows | QueryError]


@dataclass(frozen=True)
class EvaluationTimes:
    """The evaluation times of a query: ``start``, ``start + step``, ... up to ``end``.

    :param start: the first time
    :param end: the last time
    :param step: distance of the times; None for a single evaluation at ``end``
    """

    start: datetime
    end: datetime
    step: timedelta | None = None

    def run(self, client: Client, text: str) -> Rows:
        """Run a query.

        :raises QueryError: when no answer that can be trusted arrived
        """
        if self.step is None:
            key = to_milliseconds(self.end)
            found = client.instant(text, self.end)
            return [(sample.labels, {key: sample.text if sample.value is None else sample.value}) for sample in found]
        try:
            return [
                (series.labels, {time: _parse(value) for time, value in series.points})
                for series in client.range(text, self.start, self.end, self.step)
            ]
        except ValueError as error:
            raise shape_error(str(error), text, client.url) from None


#: A unit of work: queries the server and returns a reply for each of its members. Never raises QueryError.
Job = Callable[[Client], Replies]


def merged_job(merged: MergedQuery, members: Sequence[tuple[Query, Count]], times: EvaluationTimes) -> Job:
    """Return a job that runs one merged query and assigns its rows to the members."""

    def run(client: Client) -> Replies:
        shares = merged.assign(times.run(client, merged.query), [count for _, count in members])
        return {
            query: [({}, add_series([points for _, points in rows]))] if rows else []
            for (query, _), rows in zip(members, shares, strict=True)
        }

    return _with_fallback(run, [query for query, _ in members], times)


def union_jobs(queries: Sequence[Query], times: EvaluationTimes) -> list[Job]:
    """Return jobs that run several queries in one: each gets its own label and is joined with ``or``."""
    jobs, batch, length = [], list[Query](), 0
    for query in queries:
        if not is_readable(query.text):
            jobs.append(_with_fallback(None, [query], times))  # sent alone: in brackets it could merge with its neighbour
            continue
        if batch and (len(batch) == _UNION_SIZE or length + len(query.text) > _UNION_LENGTH):
            jobs.append(_union_job(batch, times))
            batch, length = [], 0
        batch.append(query)
        length += len(query.text)
    return [*jobs, _union_job(batch, times)] if batch else jobs


def _union_job(queries: list[Query], times: EvaluationTimes) -> Job:
    if len(queries) == 1:
        return _with_fallback(None, queries, times)
    numbered = {str(number): query for number, query in enumerate(queries)}

    def run(client: Client) -> Replies:
        # The newline ends a comment at the end of a query.
        parts = (f'label_replace((\n{query.text}\n),"{_UNION_LABEL}","{number}","","")' for number, query in numbered.items())
        union = " or ".join(parts)
        replies: dict[Query, Rows] = {query: [] for query in queries}
        for labels, points in times.run(client, union):
            query = numbered.get(labels.get(_UNION_LABEL, ""))
            if query is None:
                raise QueryError("a series that belongs to no query", reason="unmergeable", query=union)
            replies[query].append(({name: text for name, text in labels.items() if name != _UNION_LABEL}, points))
        return dict(replies)

    return _with_fallback(run, queries, times)


def _with_fallback(run_together: Job | None, queries: Sequence[Query], times: EvaluationTimes) -> Job:
    """Return a job that runs the queries together, and one by one if one member may have caused a refusal."""

    def run(client: Client) -> Replies:
        if run_together is not None:
            try:
                return run_together(client)
            except QueryError as error:
                if error.transient or error.reason not in _SPLIT:
                    return {query: _with_query(error, query.text) for query in queries}
        replies: Replies = {}
        for query in queries:
            try:
                replies[query] = times.run(client, query.text)
            except QueryError as error:
                replies[query] = _with_query(error, query.text)
        return replies

    return run


def _with_query(error: QueryError, query: str) -> QueryError:
    """Return the error with a member's own query."""
    return QueryError(
        error.message,
        reason=error.reason, transient=error.transient, query=query, http_status=error.http_status, source=error.source,
    )  # fmt: skip


def add_series(series: Sequence[Points]) -> Points:
    """Add series up point by point; a point of only some of them is the sum of those, as with ``sum``."""
    if len(series) == 1:
        return series[0]
    total: Points = {}
    for points in series:
        for time, value in points.items():
            total[time] = _sum(total[time], value) if time in total else value
    return total


def _sum(left: Value, right: Value) -> Value:
    if isinstance(left, str) or isinstance(right, str):
        marks = {value for value in (left, right) if isinstance(value, str)}
        return marks.pop() if len(marks) == 1 else "NaN"
    return left + right


def _parse(text: str) -> Value:
    if text.isdigit() and text.isascii() and len(text) < SURELY_FINITE:
        return int(text)
    value = parse_value(text)
    return text if value is None else value
