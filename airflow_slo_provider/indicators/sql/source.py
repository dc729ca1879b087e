"""Measure indicators in a SQL database.

A query is one SELECT that counts (or lists) the events of ``[:date_from, :date_to)``. Its result has one of these shapes:

- one row ``good, total`` (or ``bad, total``);
- one row and one column, where good (or bad) and total are two queries, or for a raw ratio;
- rows ``timestamp, good, total``: the same over time, which gives time slices and coverage with one query;
- rows ``timestamp, value`` for a threshold metric: each point is good if ``value op threshold`` holds.

``metricSource.spec`` may define how dates are compared and returned: ``timeFormat`` is ``timestamp`` (an aware datetime; the
default), ``iso`` (``YYYY-MM-DD HH:MM:SS[.ffffff]`` text in UTC, the default for SQLite, which has only text) or ``epoch``
(seconds since 1970); ``timeZone`` is the time zone of naive timestamps in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, TypeVar

from airflow_slo_provider.core.database_faults import database_error
from airflow_slo_provider.exceptions import MeasurementError, QueryError
from airflow_slo_provider.indicators.request_errors import check_deadline, result_or_error, result_or_none, unwrap
from airflow_slo_provider.indicators.span_slices import slice_count
from airflow_slo_provider.indicators.sql.measurement import check_shape, coverage, group_by_slice, measurement, query_text
from airflow_slo_provider.indicators.sql.result_rows import QueryResult, read_result, read_zone
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices, deadline_of
from airflow_slo_provider.slo.model import MetricSource
from airflow_slo_provider.sql.runner import DbApiRunner, SQLRunner, dbapi_runner
from airflow_slo_provider.sql.statement import BACKSLASHES, read_statement

__all__ = ["DbApiRunner", "SQLRunner", "SQLSource", "dbapi_runner"]

#: Maximum number of one-query slices; 2,000 one-minute slices are a day and a half.
MOST_SLICE_QUERIES = 2_000

_T = TypeVar("_T")
_Cache = dict[tuple[str, datetime, datetime], QueryResult | MeasurementError]


class SQLSource:
    """Measure indicators with SQL (an ``IndicatorSource``).

    :param run: a callable that runs one statement with named parameters and returns (column names, rows). If it has a method
        ``session()``, a context manager, all queries of one call run inside it. If it has a method ``limit(seconds)``, it is
        called with the time limit of the next query. Its ``dialect`` (``sqlite``, ``postgresql``, ...), if it has one, decides
        the default ``timeFormat``
    :param name: name of the database, for messages; no credentials
    """

    def __init__(self, run: SQLRunner, *, name: str) -> None:
        self._run = run
        self._name = name
        self._dialect = getattr(run, "dialect", None)
        self._deadline: Deadline | None = None

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        """Measure each span with one query (two if good and total are separate); equal queries run once.

        :param requests: the indicators and their spans
        :return: a measurement for each request, in order, or the error of that request
        """
        return self._each(requests, lambda request, cache: measurement(request, self._results(request, cache)))

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        """Measure each span slice by slice: one query for the whole span if rows have timestamps, otherwise one per slice.

        :param requests: the indicators and their spans
        :param width: width of a slice
        :return: the slices of each request, in order, or the error of that request
        """
        return self._each(requests, lambda request, cache: self._slices(request, width, cache))

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Return the share of each span's hundredths that hold rows.

        An aggregate has no timestamps: its coverage is an error with reason ``coverage_unknown``.

        :param requests: the spans
        :return: the share of each request, in order, or the error of that request
        """
        return self._each(requests, lambda request, cache: coverage(request, self._results(request, cache)))

    def _each(
        self, requests: Sequence[MeasureRequest], compute: Callable[[MeasureRequest, _Cache], _T]
    ) -> list[_T | MeasurementError]:
        answers: list[_T | MeasurementError] = []
        cache: _Cache = {}
        self._deadline = deadline_of(requests)
        try:
            with self._session():
                answers = [result_or_error(compute, request, cache) for request in requests]
        except Exception as cause:  # drivers raise any exception when a connection fails
            error = database_error(cause, source=self._name)
            if self._deadline is not None and error.transient:
                self._deadline.exclude(self, error)  # the next attempt might wait for the network as long as this one
            return [error] * len(requests)
        finally:
            self._deadline = None
        for answer in answers:
            if isinstance(answer, MeasurementError):
                answer.source = answer.source or self._name
        return answers

    def _session(self) -> AbstractContextManager[Any]:
        session = getattr(self._run, "session", None)
        return session() if session is not None else nullcontext()

    def _cached(self, source: MetricSource, start: datetime, end: datetime, cache: _Cache) -> QueryResult:
        key = (f"{source.spec.get('timeFormat')} {source.spec.get('timeZone')} {source.query}", start, end)
        if key not in cache:
            cache[key] = result_or_error(self._query, source, start, end)
        return unwrap(cache[key])

    def _query(self, source: MetricSource, start: datetime, end: datetime) -> QueryResult:
        query = source.query.strip()
        zone = read_zone(source.spec.get("timeZone"))
        read_statement(query, backslashes=self._dialect in BACKSLASHES)
        parameters = {"date_from": self._date(start, source), "date_to": self._date(end, source)}
        check_deadline(self._deadline, self, query=query)
        if self._deadline is not None and hasattr(self._run, "limit"):
            self._run.limit(self._deadline.left())
        try:
            columns, rows = self._run(query, parameters)
        except Exception as cause:  # drivers have no common base class
            error = database_error(cause, query=query, source=self._name)
            if self._deadline is not None:
                self._deadline.note(self, [error])
            # Not chained: drivers quote rows and addresses, and a traceback would print them.
            raise error from None
        return read_result(columns, rows, query=query, zone=zone)

    def _date(self, bound: datetime, source: MetricSource) -> object:
        """Format a bound of the window as the query compares it."""
        form = source.spec.get("timeFormat", "iso" if self._dialect == "sqlite" else "timestamp")
        bound = bound.astimezone(UTC)
        if form == "timestamp":
            return bound
        if form == "iso":
            # The shortest form: text of any precision sorts correctly against it, unlike "...00.000000".
            return bound.replace(tzinfo=None).isoformat(" ").rstrip("0") if bound.microsecond else f"{bound:%Y-%m-%d %H:%M:%S}"
        if form == "epoch":
            return bound.timestamp() if bound.microsecond else int(bound.timestamp())
        message = f"metricSource.spec.timeFormat {form!r} is none of timestamp, iso, epoch"
        raise QueryError(message, reason="bad_query", query=source.query)

    def _results(self, request: MeasureRequest, cache: _Cache) -> tuple[QueryResult, ...]:
        """Run all queries of an indicator over a span."""
        metric = request.indicator.metric
        results = tuple(self._cached(source, request.start, request.end, cache) for source in metric.sources)
        check_shape(metric, results)
        return results

    def _slices(self, request: MeasureRequest, width: timedelta, cache: _Cache) -> Slices:
        count = slice_count(request.start, request.end, width)
        results = self._results(request, cache)
        query = query_text(results)
        if all(result.timestamped for result in results):
            rows = [group_by_slice(result, request, width, count) for result in results]

            def measure_slice(number: int) -> Measurement:
                return measurement(request, results, [slices[number] for slices in rows])
        else:
            _refuse_many(count * len(set(map(id, results))), query)

            def measure_slice(number: int) -> Measurement:
                start = request.start + number * width
                part = replace(request, start=start, end=start + width)
                return measurement(part, self._results(part, cache))

        return Slices(request.start, width, tuple(result_or_none(measure_slice, number) for number in range(count)), query)


def _refuse_many(number: int, query: str) -> None:
    if number > MOST_SLICE_QUERIES:
        message = (
            f"{number} queries, one per slice, are more than {MOST_SLICE_QUERIES}; return rows with timestamp, good and total "
            "(GROUP BY the slice), then one query is enough"
        )
        raise QueryError(message, reason="too_many_slices", query=query)
