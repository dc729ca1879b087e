"""Send many queries in few requests: counts over the same metric are read once, other queries are joined.

A wrong query makes the whole batch fail; its members are then sent one by one, so that it does not affect the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.answers import parse_value, to_milliseconds
from airflow_slo_provider.indicators.prometheus.merged_queries import Merged
from airflow_slo_provider.indicators.prometheus.request_limits import Client
from airflow_slo_provider.slo.promql.selectors import Count
from airflow_slo_provider.slo.promql.tokens import is_balanced

#: Maximum number of queries in one union, and its maximum length in characters.
_UNION_SIZE = 25
_UNION_LENGTH = 50_000
_UNION_LABEL = "slo_q"
#: Reasons of refusals that may be due to one member, or to the size of the batch.
_SPLIT = frozenset(
    {
        "bad_query",
        "query_failed",
        "too_large",
        "request_too_large",
        "http_error",
        "status_error",
        "unexpected_shape",
        "unmergeable",
    }
)

#: An exact number, or ``NaN``, ``+Inf``, ``-Inf``.
Value = int | Fraction | str
#: Values of one series by unix milliseconds.
Points = dict[int, Value]
Rows = list[tuple[Mapping[str, str], Points]]


@dataclass(frozen=True)
class Ask:
    """One query.

    :param text: the query as it would be sent alone
    :param count: the count, if it may be merged with others
    """

    text: str
    count: Count | None = None


Replies = dict[Ask, Rows | QueryError]


@dataclass(frozen=True)
class When:
    """The evaluation times of a query: ``start``, ``start + step``, ... up to ``end``.

    :param start: the first time
    :param end: the last time
    :param step: distance of the times; None for a single evaluation at ``end``
    """

    start: datetime
    end: datetime
    step: timedelta | None = None

    def ask(self, client: Client, query: str) -> Rows:
        """Run a query.

        :raises QueryError: when no answer that can be trusted arrived
        """
        if self.step is None:
            key = to_milliseconds(self.end)
            return [
                (sample.labels, {key: sample.text if sample.value is None else sample.value})
                for sample in client.instant(query, self.end)
            ]
        try:
            return [
                (series.labels, {moment: _value(text) for moment, text in series.points})
                for series in client.range(query, self.start, self.end, self.step)
            ]
        except ValueError as error:
            raise QueryError(
                f"not a documented Prometheus answer: {error}", reason="unexpected_shape", query=query, source=client.url
            ) from None


#: A unit of work: queries the server and returns a reply for each of its members. Never raises QueryError.
Job = Callable[[Client], Replies]


def merged_job(merged: Merged, members: Sequence[tuple[Ask, Count]], when: When) -> Job:
    """Return a job that runs one merged query and assigns its rows to the members."""

    def together(client: Client) -> Replies:
        shares = merged.share(when.ask(client, merged.query), [count for _, count in members])
        return {
            ask: [({}, add([points for _, points in rows]))] if rows else []
            for (ask, _), rows in zip(members, shares, strict=True)
        }

    return _or_alone(together, [ask for ask, _ in members], when)


def union_jobs(asks: Sequence[Ask], when: When) -> list[Job]:
    """Return jobs that run several queries in one: each gets its own label and is joined with ``or``."""
    jobs, batch, length = [], list[Ask](), 0
    for ask in asks:
        if not is_balanced(ask.text):
            jobs.append(_or_alone(None, [ask], when))  # sent alone: in brackets it could merge with its neighbour
            continue
        if batch and (len(batch) == _UNION_SIZE or length + len(ask.text) > _UNION_LENGTH):
            jobs.append(_union_job(batch, when))
            batch, length = [], 0
        batch.append(ask)
        length += len(ask.text)
    return [*jobs, _union_job(batch, when)] if batch else jobs


def _union_job(asks: list[Ask], when: When) -> Job:
    if len(asks) == 1:
        return _or_alone(None, asks, when)

    numbered = {str(number): ask for number, ask in enumerate(asks)}

    def together(client: Client) -> Replies:
        # The newline ends a comment at the end of a query.
        parts = [f'label_replace((\n{ask.text}\n),"{_UNION_LABEL}","{number}","","")' for number, ask in numbered.items()]
        ask_text = " or ".join(parts)
        replies: dict[Ask, Rows] = {ask: [] for ask in asks}
        for labels, points in when.ask(client, ask_text):
            ask = numbered.get(labels.get(_UNION_LABEL, ""))
            if ask is None:
                raise QueryError("a series that belongs to no query", reason="unmergeable", query=ask_text)
            replies[ask].append(({name: text for name, text in labels.items() if name != _UNION_LABEL}, points))
        return dict(replies)

    return _or_alone(together, asks, when)


def _or_alone(together: Job | None, asks: Sequence[Ask], when: When) -> Job:
    """Return a job that runs the queries together, and one by one if one member may have caused a refusal."""

    def job(client: Client) -> Replies:
        if together is not None:
            try:
                return together(client)
            except QueryError as error:
                if error.transient or error.reason not in _SPLIT:
                    return {ask: of(error, ask.text) for ask in asks}
        replies: Replies = {}
        for ask in asks:
            try:
                replies[ask] = when.ask(client, ask.text)
            except QueryError as error:
                replies[ask] = of(error, ask.text)
        return replies

    return job


def of(error: QueryError, query: str) -> QueryError:
    """Return the error with a member's own query."""
    return QueryError(
        error.message,
        reason=error.reason, transient=error.transient, query=query, http_status=error.http_status, source=error.source,
    )  # fmt: skip


def add(series: Sequence[Points]) -> Points:
    """Add series up point by point; a point of only some of them is the sum of those, as with ``sum``."""
    if len(series) == 1:
        return series[0]
    total: Points = {}
    for points in series:
        for moment, value in points.items():
            total[moment] = _sum(total[moment], value) if moment in total else value
    return total


def _sum(left: Value, right: Value) -> Value:
    if isinstance(left, str) or isinstance(right, str):
        marks = {value for value in (left, right) if isinstance(value, str)}
        return marks.pop() if len(marks) == 1 else "NaN"
    return left + right


def _value(text: str) -> Value:
    if text.isdigit() and text.isascii() and len(text) < 309:
        return int(text)
    value = parse_value(text)
    return text if value is None else value
