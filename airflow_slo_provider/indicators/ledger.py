"""Measure indicators from the provider's own ledger: the history of a check is the SLI.

The query is the name of a check. ``metricSource.spec`` may hold

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
from typing import NamedTuple, TypeVar

from airflow_slo_provider.core.exact_numbers import exact
from airflow_slo_provider.exceptions import InvalidMeasurement, LedgerError, MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.request_errors import check_deadline, result_or_error, result_or_none, unwrap
from airflow_slo_provider.indicators.span_slices import covered_share, holds, slice_count
from airflow_slo_provider.ledger.observations import REPEATED
from airflow_slo_provider.ledger.records import Point
from airflow_slo_provider.ledger.store import Ledger
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices, deadline_of
from airflow_slo_provider.slo.ledger_metric import find_ledger_problem
from airflow_slo_provider.slo.model import Indicator, ThresholdMetric

MOST_POINTS = 1_000_000
_OWN_KINDS = ("slo", "decision")
_T = TypeVar("_T")


class _CheckName(NamedTuple):
    """The checks to read; indicators over the same checks read them once."""

    name: str
    kind: str | None
    service: str | None

    @property
    def text(self) -> str:
        of = f" of {self.service}" if self.service else ""
        return f"ledger: {self.kind or '*'}/{self.name}{of}"


@dataclass(frozen=True)
class _CheckIndicator:
    """The checks of an indicator, and how they are counted."""

    checks: _CheckName
    ignore_unknown: bool
    events: bool


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

        def measure_slices(request: MeasureRequest, indicator: _CheckIndicator, points: Sequence[Point]) -> Slices:
            count = slice_count(request.start, request.end, width)
            edges = [request.start + number * width for number in range(count + 1)]
            parts = (_between(points, low, high) for low, high in pairwise(edges))
            values = tuple(result_or_none(_measure, request, indicator, part) for part in parts)
            return Slices(request.start, width, values, indicator.checks.text)

        return self._each(requests, measure_slices)

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Return the share of each span's hundredths that hold a check.

        :param requests: the spans
        :return: the share of each request, in order, or the error of that request
        """

        def measure_coverage(request: MeasureRequest, _: _CheckIndicator, points: Sequence[Point]) -> Fraction:
            return covered_share((point.checked_at for point in points), request.start, request.end)

        return self._each(requests, measure_coverage)

    def _each(
        self, requests: Sequence[MeasureRequest], compute: Callable[[MeasureRequest, _CheckIndicator, Sequence[Point]], _T]
    ) -> list[_T | MeasurementError]:
        indicators = [result_or_error(_read_indicator, request.indicator) for request in requests]
        spans: dict[_CheckName, tuple[datetime, datetime]] = {}
        for request, indicator in zip(requests, indicators, strict=True):
            if isinstance(indicator, _CheckIndicator):
                low, high = spans.get(indicator.checks, (request.start, request.end))
                spans[indicator.checks] = min(low, request.start), max(high, request.end)
        deadline = deadline_of(requests)
        points = {checks: result_or_error(self._read, checks, *span, deadline) for checks, span in spans.items()}

        def answer(request: MeasureRequest, outcome: _CheckIndicator | MeasurementError) -> _T:
            indicator = unwrap(outcome)
            return compute(request, indicator, _between(unwrap(points[indicator.checks]), request.start, request.end))

        answers = [result_or_error(answer, *pair) for pair in zip(requests, indicators, strict=True)]
        for error in answers:
            if isinstance(error, MeasurementError):
                error.source = error.source or self._ledger.where
        return answers

    def _read(self, checks: _CheckName, start: datetime, end: datetime, deadline: Deadline | None) -> list[Point]:
        name, service, query = checks.name, checks.service, checks.text
        check_deadline(deadline, self, query=query)
        evidence = {"service": service} if service else None
        try:
            kind = checks.kind or self._only_kind(name, query)
            if kind == "slo" and not service:
                self._refuse_several_services(name, start, end, query)
            points = list(islice(self._ledger.points(kind, name, start, end, evidence=evidence), MOST_POINTS + 1))
        except LedgerError as cause:
            where = self._ledger.where
            error = QueryError(cause.message, reason=cause.reason, transient=cause.transient, query=query, source=where)
            if deadline is not None:
                deadline.note(self, [error])
            raise error from None
        if len(points) > MOST_POINTS:
            raise QueryError(f"more than {MOST_POINTS} checks; use a shorter window", reason="too_many_rows", query=query)
        return points

    def _refuse_several_services(self, name: str, start: datetime, end: datetime, query: str) -> None:
        services = self._ledger.services("slo", name, start, end)
        if len(services) > 1:
            message = f"services {', '.join(services)} have an SLO named {name!r}; set metricSource.spec.service"
            raise QueryError(message, reason="bad_query", query=query)

    def _only_kind(self, name: str, query: str) -> str:
        kinds = [kind for kind in self._ledger.kinds(name) if kind not in _OWN_KINDS and not kind.endswith(REPEATED)]
        if not kinds:
            raise NoData(f"no check named {name!r} was ever recorded", reason="no_checks", query=query)
        if len(kinds) > 1:
            message = f"checks of kinds {', '.join(kinds)} are named {name!r}; set metricSource.spec.kind"
            raise QueryError(message, reason="bad_query", query=query)
        return kinds[0]


def _read_indicator(indicator: Indicator) -> _CheckIndicator:
    """Read the options of an indicator.

    :raises QueryError: for a ratio over two different checks, or an unknown option
    """
    sources = indicator.metric.sources
    name, spec = sources[0].query.strip(), sources[0].spec
    kind, service = spec.get("kind"), spec.get("service")
    problem = find_ledger_problem(indicator)
    if problem:
        raise QueryError(problem, reason="bad_query", query=f"ledger: {kind or '*'}/{name}")
    return _CheckIndicator(
        _CheckName(name, None if kind is None else str(kind), service), spec.get("unknown") == "ignore", spec.get("events", False)
    )


def _between(points: Sequence[Point], start: datetime, end: datetime) -> Sequence[Point]:
    """Return the points of [start, end); they are sorted by time."""
    low, high = (bisect_left(points, edge, key=lambda point: point.checked_at) for edge in (start, end))
    return points[low:high]


def _measure(request: MeasureRequest, indicator: _CheckIndicator, points: Sequence[Point]) -> Measurement:
    query = indicator.checks.text
    if indicator.events:
        return _sum_events(indicator, points)
    counted = [point for point in points if not (indicator.ignore_unknown and _is_unknown(request, point))]
    if not counted:
        raise NoData("no checks in the window", reason="no_checks", query=query)
    good = sum(_is_good(request, point) for point in counted)
    measured = Measurement.of_counts(Fraction(good), Fraction(len(counted)), query=query)
    return replace(measured, newest=counted[-1].checked_at)


def _is_unknown(request: MeasureRequest, point: Point) -> bool:
    valueless = isinstance(request.indicator.metric, ThresholdMetric) and point.value is None
    return valueless or point.verdict is Verdict.UNKNOWN


def _is_good(request: MeasureRequest, point: Point) -> bool:
    """Return whether a check counts as good. A check with the verdict UNKNOWN does not, whatever stale value it carries."""
    if isinstance(request.indicator.metric, ThresholdMetric):
        if point.value is None or point.verdict is Verdict.UNKNOWN:
            return False
        return holds(exact(point.value), request.op, request.value)
    return point.verdict in (Verdict.PASS, Verdict.WARN)


def _sum_events(indicator: _CheckIndicator, points: Sequence[Point]) -> Measurement:
    """Add up counted events. A check that counted none has as many events as the others on average, all of them bad."""
    query = indicator.checks.text
    counted = [point for point in points if point.verdict is not Verdict.UNKNOWN or point.total is not None]
    if not counted:
        raise NoData("no checks in the window", reason="no_checks", query=query)
    good, total = Fraction(0), Fraction(0)
    for point in counted:
        if point.good is None or point.total is None:
            message = f"the check of {point.checked_at.isoformat()} counted no events; remove events: true from metricSource.spec"
            raise InvalidMeasurement(message, reason="no_counts", query=query)
        good, total = good + exact(point.good), total + exact(point.total)
    if not indicator.ignore_unknown:
        total += total / len(counted) * (len(points) - len(counted))
    newest = next((point.checked_at for point in reversed(points) if point.total), None)
    return replace(Measurement.of_counts(good, total, query=query), newest=newest)
