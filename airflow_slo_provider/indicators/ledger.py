"""Measure indicators from the provider's own ledger: the history of a check is the SLI.

``metricSource.spec`` names a ``check``, and may hold

- ``kind``: the kind of the check, if several have that name (``slo`` and ``decision`` are used only when named, because they
  are results of SLOs themselves);
- ``service``: the service, if several have an SLO of that name (only for ``kind: slo``);
- ``unknown``: ``bad`` (the default) or ``ignore``: how a check with the verdict UNKNOWN counts;
- ``events: true``: add up the good and total events that the checks counted, instead of counting checks. A check that counted
  none is ``bad``, with as many events as the others had on average.

A ratio metric counts checks that passed or warned as good. A threshold metric compares each check's value with the objective.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import islice, pairwise
from typing import Any, TypeVar

from airflow_slo_provider.core.exact_numbers import exact
from airflow_slo_provider.exceptions import InvalidMeasurement, LedgerError, MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.span_slices import covered, holds, slice_count
from airflow_slo_provider.ledger.observations import REPEATED
from airflow_slo_provider.ledger.records import Point
from airflow_slo_provider.ledger.store import Ledger
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices, deadline_of
from airflow_slo_provider.slo.model import Indicator, RatioMetric, ThresholdMetric

MOST_POINTS = 1_000_000
_OWN_KINDS = ("slo", "decision")
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Question:
    """The checks of an indicator, and how they are counted."""

    name: str
    kind: str | None
    ignore_unknown: bool
    events: bool
    service: str | None = None

    @property
    def text(self) -> str:
        of = f" of {self.service}" if self.service else ""
        return f"ledger: {self.kind or '*'}/{self.name}{of}"

    @property
    def rows(self) -> tuple[str, str | None, str | None]:
        """The rows to read; indicators over the same rows read them once."""
        return self.name, self.kind, self.service


class LedgerSource:
    """Measure indicators from recorded checks (an ``IndicatorSource``).

    :param ledger: the ledger with the checks; it stays open
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        """Measure each span; spans over the same checks are read once.

        :param requests: the indicators and their spans
        :return: a measurement for each request, in order, or the error of that request
        """
        return self._each(requests, _measure)

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        """Measure each span slice by slice; a slice without checks is None.

        :param requests: the indicators and their spans
        :param width: width of a slice
        :return: the slices of each request, in order, or the error of that request
        """

        def one(request: MeasureRequest, question: _Question, points: Sequence[Point]) -> Slices:
            count = slice_count(request.start, request.end, width)
            edges = [request.start + number * width for number in range(count + 1)]
            values = tuple(_or_none(request, question, _between(points, low, high)) for low, high in pairwise(edges))
            return Slices(request.start, width, values, question.text)

        return self._each(requests, one)

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Return the share of each span's hundredths that hold a check.

        :param requests: the spans
        :return: the share of each request, in order, or the error of that request
        """

        def one(request: MeasureRequest, _: _Question, points: Sequence[Point]) -> Fraction:
            return covered((point.checked_at for point in points), request.start, request.end)

        return self._each(requests, one)

    def _each(
        self, requests: Sequence[MeasureRequest], one: Callable[[MeasureRequest, _Question, Sequence[Point]], _T]
    ) -> list[_T | MeasurementError]:
        questions = [_caught(_question, request.indicator) for request in requests]
        spans: dict[tuple[str, str | None, str | None], tuple[_Question, datetime, datetime]] = {}
        for request, question in zip(requests, questions, strict=True):
            if isinstance(question, _Question):
                _, low, high = spans.get(question.rows, (question, request.start, request.end))
                spans[question.rows] = (question, min(low, request.start), max(high, request.end))
        deadline = deadline_of(requests)
        read = {key: _caught(self._read, *span, deadline) for key, span in spans.items()}
        answers: list[_T | MeasurementError] = []
        for request, question in zip(requests, questions, strict=True):
            points = question if isinstance(question, MeasurementError) else read[question.rows]
            if isinstance(question, MeasurementError) or isinstance(points, MeasurementError):
                answers.append(question if isinstance(question, MeasurementError) else points)  # type: ignore[arg-type]
                continue
            answers.append(_caught(one, request, question, _between(points, request.start, request.end)))
        for answer in answers:
            if isinstance(answer, MeasurementError):
                answer.source = answer.source or self._ledger.where
        return answers

    def _read(self, question: _Question, start: datetime, end: datetime, deadline: Deadline | None) -> list[Point]:
        name, query = question.name, question.text
        refusal = None if deadline is None else deadline.refusal(self)
        if refusal is not None:
            refusal.query = query
            raise refusal
        evidence = {"service": question.service} if question.service else None
        try:
            kind = question.kind or self._only_kind(name, query)
            if kind == "slo" and not question.service:
                self._refuse_several_services(name, start, end, query)
            points = list(islice(self._ledger.points(kind, name, start, end, evidence=evidence), MOST_POINTS + 1))
        except LedgerError as error:
            fault = QueryError(
                error.message, reason=error.reason, transient=error.transient, query=query, source=self._ledger.where
            )
            if deadline is not None:
                deadline.note(self, [fault])
            raise fault from None
        if len(points) > MOST_POINTS:
            raise QueryError(f"more than {MOST_POINTS} checks; use a shorter window", reason="too_many_rows", query=query)
        return points

    def _refuse_several_services(self, name: str, start: datetime, end: datetime, query: str) -> None:
        services = self._ledger.services("slo", name, start, end)
        if len(services) > 1:
            raise QueryError(
                f"services {', '.join(services)} have an SLO named {name!r}; say which with metricSource.spec.service",
                reason="bad_query",
                query=query,
            )

    def _only_kind(self, name: str, query: str) -> str:
        kinds = [kind for kind in self._ledger.kinds(name) if kind not in _OWN_KINDS and not kind.endswith(REPEATED)]
        if not kinds:
            raise NoData(f"no check named {name!r} was ever recorded", reason="no_checks", query=query)
        if len(kinds) > 1:
            raise QueryError(
                f"checks of kinds {', '.join(kinds)} are named {name!r}; say which with metricSource.spec.kind",
                reason="bad_query",
                query=query,
            )
        return kinds[0]


def _caught(function: Callable[..., _T], *arguments: Any) -> _T | MeasurementError:
    try:
        return function(*arguments)
    except MeasurementError as error:
        return error


def _or_none(request: MeasureRequest, question: _Question, points: Sequence[Point]) -> Measurement | None:
    try:
        return _measure(request, question, points)
    except NoData:
        return None


def _question(indicator: Indicator) -> _Question:
    """Read the options of an indicator.

    :raises QueryError: for a ratio over two different checks, or an unknown option
    """
    sources = indicator.metric.sources
    name, spec = sources[0].query.strip(), sources[0].spec
    kind, unknown, events = spec.get("kind"), spec.get("unknown", "bad"), spec.get("events", False)
    service = spec.get("service")
    keys = ("kind", "service", "unknown", "events")
    asked = [(source.query.strip(), *(source.spec.get(key) for key in keys)) for source in sources]
    problem = None
    if any(item != asked[0] for item in asked):
        problem = "good and total name different checks; a ledger ratio is the share of one check that passed"
    elif not name:
        problem = "the query is empty; write the name of a check"
    elif service is not None and (kind != "slo" or not service):
        problem = f"metricSource.spec.service {service!r} belongs to kind: slo, and names one"
    elif unknown not in ("bad", "ignore"):
        problem = f"metricSource.spec.unknown {unknown!r} is neither bad nor ignore"
    elif not isinstance(events, bool):
        problem = f"metricSource.spec.events {events!r} is neither true nor false"
    elif isinstance(indicator.metric, RatioMetric) and indicator.metric.raw_type == "failure":
        problem = "a raw ratio of type failure means nothing for checks; use good and total"
    elif isinstance(indicator.metric, ThresholdMetric) and events:
        problem = "metricSource.spec.events belongs to a ratio metric; a threshold metric looks at each check's value"
    if problem:
        raise QueryError(problem, reason="bad_query", query=f"ledger: {kind or '*'}/{name}")
    return _Question(name, None if kind is None else str(kind), unknown == "ignore", events, service)


def _between(points: Sequence[Point], start: datetime, end: datetime) -> Sequence[Point]:
    """Return the points of [start, end); they are sorted by time."""
    low, high = (bisect_left(points, moment, key=lambda point: point.checked_at) for moment in (start, end))
    return points[low:high]


def _measure(request: MeasureRequest, question: _Question, points: Sequence[Point]) -> Measurement:
    if question.events:
        return _events(question, points)
    judged = [point for point in points if not (question.ignore_unknown and _unknown(request, point))]
    if not judged:
        raise NoData("no checks in the window", reason="no_checks", query=question.text)
    good = sum(_good(request, point) for point in judged)
    found = Measurement.of_counts(Fraction(good), Fraction(len(judged)), query=question.text)
    return replace(found, newest=judged[-1].checked_at)


def _unknown(request: MeasureRequest, point: Point) -> bool:
    if isinstance(request.indicator.metric, ThresholdMetric) and point.value is None:
        return True
    return point.verdict is Verdict.UNKNOWN


def _good(request: MeasureRequest, point: Point) -> bool:
    """Return whether a check counts as good. A check with the verdict UNKNOWN does not, whatever stale value it carries."""
    if _unknown(request, point):
        return False
    if isinstance(request.indicator.metric, ThresholdMetric):
        return point.value is not None and holds(exact(point.value), request.op, request.value)
    return point.verdict in (Verdict.PASS, Verdict.WARN)


def _events(question: _Question, points: Sequence[Point]) -> Measurement:
    """Add up counted events. A check that counted none has as many events as the others on average, all of them bad."""
    blind = [point for point in points if point.verdict is Verdict.UNKNOWN and point.total is None]
    counted = [point for point in points if point.verdict is not Verdict.UNKNOWN or point.total is not None]
    if not counted:
        raise NoData("no checks in the window", reason="no_checks", query=question.text)
    good, total = Fraction(0), Fraction(0)
    for point in counted:
        if point.good is None or point.total is None:
            raise InvalidMeasurement(
                f"the check of {point.checked_at.isoformat()} counted no events; remove events: true from metricSource.spec",
                reason="no_counts",
                query=question.text,
            )
        good, total = good + exact(point.good), total + exact(point.total)
    if not question.ignore_unknown:
        total += total / len(counted) * len(blind)
    return replace(Measurement.of_counts(good, total, query=question.text), newest=_newest_event(points))


def _newest_event(points: Sequence[Point]) -> datetime | None:
    """Return when a check last counted an event; None if none did."""
    return next((point.checked_at for point in reversed(points) if point.total), None)
