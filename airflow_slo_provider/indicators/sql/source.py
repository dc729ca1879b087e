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

from airflow_slo_provider.core.database_faults import query_error
from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.span_slices import slice_count
from airflow_slo_provider.indicators.sql.measurement import buckets, check_shape, coverage, measurement, text_of
from airflow_slo_provider.indicators.sql.result_rows import Answer, read_answer, read_zone
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices, deadline_of
from airflow_slo_provider.slo.model import MetricSource
from airflow_slo_provider.sql.runner import DbApiRunner, SQLRunner, dbapi_runner
from airflow_slo_provider.sql.statement import BACKSLASHES, read_statement

__all__ = ["DbApiRunner", "SQLRunner", "SQLSource", "dbapi_runner"]

#: Maximum number of one-query slices; 2,000 one-minute slices are a day and a half.
MOST_SLICE_QUERIES = 2_000

_T = TypeVar("_T")
_Cache = dict[tuple[str, datetime, datetime], Answer | MeasurementError]


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
        return self._each(requests, lambda request, cache: measurement(request, self._answers(request, cache)))

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
        return self._each(requests, lambda request, cache: coverage(request, self._answers(request, cache)))

    def _each(
        self, requests: Sequence[MeasureRequest], one: Callable[[MeasureRequest, _Cache], _T]
    ) -> list[_T | MeasurementError]:
        answers: list[_T | MeasurementError] = []
        cache: _Cache = {}
        self._deadline = deadline_of(requests)
        try:
            with self._session():
                for request in requests:
                    try:
                        answers.append(one(request, cache))
                    except MeasurementError as error:
                        error.source = error.source or self._name
                        answers.append(error)
        except Exception as error:  # drivers raise any exception when a connection fails
            fault = query_error(error, source=self._name)
            if self._deadline is not None and fault.transient:
                self._deadline.exclude(self, fault)  # the next attempt might wait for the network as long as this one
            return [fault] * len(requests)
        finally:
            self._deadline = None
        return answers

    def _session(self) -> AbstractContextManager[Any]:
        session = getattr(self._run, "session", None)
        return session() if session is not None else nullcontext()

    def _ask(self, source: MetricSource, start: datetime, end: datetime, cache: _Cache) -> Answer:
        key = (f"{source.spec.get('timeFormat')} {source.spec.get('timeZone')} {source.query}", start, end)
        if key not in cache:
            try:
                cache[key] = self._query(source, start, end)
            except MeasurementError as error:
                cache[key] = error
        answer = cache[key]
        if isinstance(answer, MeasurementError):
            raise answer
        return answer

    def _query(self, source: MetricSource, start: datetime, end: datetime) -> Answer:
        query = source.query.strip()
        zone = read_zone(source.spec.get("timeZone"))
        read_statement(query, backslashes=self._dialect in BACKSLASHES)
        parameters = {"date_from": self._date(start, source), "date_to": self._date(end, source)}
        self._observe_deadline(query)
        try:
            columns, rows = self._run(query, parameters)
        except Exception as error:  # drivers have no common base class
            fault = query_error(error, query=query, source=self._name)
            if self._deadline is not None:
                self._deadline.note(self, [fault])
            # Not chained: drivers quote rows and addresses, and a traceback would print them.
            raise fault from None
        return read_answer(columns, rows, query=query, zone=zone)

    def _observe_deadline(self, query: str) -> None:
        """Limit the next query to the time that the evaluation has left.

        :raises QueryError: reason ``not_asked`` or ``deadline``, when no more query may run
        """
        if self._deadline is None:
            return
        refusal = self._deadline.refusal(self)
        if refusal is not None:
            refusal.query = query
            raise refusal
        limit = getattr(self._run, "limit", None)
        if limit is not None:
            limit(self._deadline.left())

    def _date(self, moment: datetime, source: MetricSource) -> object:
        """Format a bound of the window as the query compares it."""
        form = source.spec.get("timeFormat", "iso" if self._dialect == "sqlite" else "timestamp")
        moment = moment.astimezone(UTC)
        if form == "timestamp":
            return moment
        if form == "iso":
            # The shortest form: text of any precision sorts correctly against it, unlike "...00.000000".
            return moment.replace(tzinfo=None).isoformat(" ").rstrip("0") if moment.microsecond else f"{moment:%Y-%m-%d %H:%M:%S}"
        if form == "epoch":
            seconds = moment.timestamp()
            return seconds if moment.microsecond else int(seconds)
        raise QueryError(
            f"metricSource.spec.timeFormat {form!r} is none of timestamp, iso, epoch", reason="bad_query", query=source.query
        )

    def _answers(self, request: MeasureRequest, cache: _Cache) -> tuple[Answer, ...]:
        """Run all queries of an indicator over a span."""
        metric = request.indicator.metric
        answers = tuple(self._ask(source, request.start, request.end, cache) for source in metric.sources)
        check_shape(metric, answers)
        return answers

    def _slices(self, request: MeasureRequest, width: timedelta, cache: _Cache) -> Slices:
        count = slice_count(request.start, request.end, width)
        answers = self._answers(request, cache)
        query = text_of(answers)
        if all(answer.timestamped for answer in answers):
            rows = [buckets(answer, request, width, count) for answer in answers]

            def one(number: int) -> Measurement:
                return measurement(request, answers, [found[number] for found in rows])
        else:
            _refuse_many(count * len(set(map(id, answers))), query)

            def one(number: int) -> Measurement:
                start = request.start + number * width
                part = replace(request, start=start, end=start + width)
                return measurement(part, self._answers(part, cache))

        return Slices(request.start, width, tuple(_or_none(one, number) for number in range(count)), query)


def _or_none(one: Callable[[int], Measurement], number: int) -> Measurement | None:
    try:
        return one(number)
    except NoData:
        return None


def _refuse_many(number: int, query: str) -> None:
    if number > MOST_SLICE_QUERIES:
        raise QueryError(
            f"{number} queries, one per slice, are more than {MOST_SLICE_QUERIES}; return rows with timestamp, good and total "
            "(GROUP BY the slice), then one query is enough",
            reason="too_many_slices",
            query=query,
        )
