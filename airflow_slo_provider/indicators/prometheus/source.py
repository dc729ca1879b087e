"""Measure indicators on a Prometheus server, in batches.

Meaning of a count: ``increase(x[W])`` at time t is the growth of the counters in (t - W, t]. It is exact in Prometheus 2 when
samples lie on both ends of the window (ranges are closed there); for windows off the samples' grid, and in Prometheus 3, whose
ranges exclude their start, the server extrapolates. ``rate`` is events per second, so ``sum(rate(x[{{.window}}]))`` is read as
``increase``; inside longer expressions it is not converted: their ratio is right, but their events are per second.

All queries of one request have the same evaluation time, the end of the request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import TypeVar

from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.prometheus import absent_failures as proof
from airflow_slo_provider.indicators.prometheus import query_batches as batch
from airflow_slo_provider.indicators.prometheus.answers import to_milliseconds
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.data_coverage import coverage_ask, coverage_times, share_present
from airflow_slo_provider.indicators.prometheus.merged_queries import plan
from airflow_slo_provider.indicators.prometheus.paired_slices import judge_slices
from airflow_slo_provider.indicators.prometheus.queries import asks, evidence, judge, milliseconds, one_series
from airflow_slo_provider.indicators.prometheus.query_batches import Ask, Replies, When
from airflow_slo_provider.indicators.prometheus.request_limits import Client, LimitedClient
from airflow_slo_provider.indicators.span_slices import slice_count
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices, deadline_of
from airflow_slo_provider.slo.model import RatioMetric
from airflow_slo_provider.slo.promql.selectors import Count, Selector

#: The times and the window (milliseconds) of queries that may be sent together.
_Group = tuple[When, int]


@dataclass(frozen=True)
class _Reading:
    """A request with its queries."""

    request: MeasureRequest
    group: _Group
    asks: dict[str, Ask]


_Found = TypeVar("_Found")
#: Milliseconds after which a server does not see a series any more.
_BLIND = 3_600_000


class PrometheusSource:
    """Measure indicators on a Prometheus server.

    Implements :class:`~airflow_slo_provider.slo.budget.indicator_source.IndicatorSource`.

    :param client: the client of the server
    :param name: name of the data source, for messages
    :param parallel: maximum number of concurrent queries
    """

    def __init__(self, client: PrometheusClient, *, name: str = "prometheus", parallel: int = 2) -> None:
        self.client = client
        self.name = name
        self._parallel = max(1, parallel)

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        """Measure each span.

        :param requests: the indicators and their spans
        :return: a measurement for each request, in order, or the error of that request
        """

        def read(request: MeasureRequest) -> _Reading:
            window = milliseconds(request.end - request.start)
            if window < 1:
                raise NoData(f"the window {request.start} to {request.end} is empty", reason="empty")
            return _Reading(request, (When(request.start, request.end), window), asks(request, window, source=self.client.url))

        def result(reading: _Reading, replies: Replies) -> Measurement:
            query = evidence(reading.asks, reading.request.end)
            series = {role: one_series(_rows(replies[ask]), ask) for role, ask in reading.asks.items()}
            values = {role: None if not points else next(iter(points.values())) for role, points in series.items()}
            return judge(reading.request, values, query)

        return self._answer(requests, read, result)

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        """Measure each span slice by slice; slice k covers (start + k * width, start + (k + 1) * width].

        :param requests: the indicators and their spans
        :param width: width of a slice
        :return: the slices of each request, in order, or the error of that request
        """

        def read(request: MeasureRequest) -> _Reading:
            end = request.start + width * slice_count(request.start, request.end, width)
            when = When(request.start + width, end, width)
            window = milliseconds(width)
            return _Reading(request, (when, window), asks(request, window, source=self.client.url))

        def result(reading: _Reading, replies: Replies) -> Slices:
            query = evidence(reading.asks, reading.group[0].end)
            series = {role: one_series(_rows(replies[ask]), ask) for role, ask in reading.asks.items()}
            return judge_slices(reading.request, series, reading.group[0], query)

        return self._answer(requests, read, result)

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Return the share of each span that holds data, in hundredths; see :mod:`.data_coverage`.

        :param requests: the spans
        :return: the share of each request, in order, or the error of that request
        """

        def read(request: MeasureRequest) -> _Reading:
            when = coverage_times(request.start, request.end)
            window, ask = coverage_ask(request, when, source=self.client.url)
            return _Reading(request, (when, window), {"present": ask})

        def result(reading: _Reading, replies: Replies) -> Fraction:
            return share_present(_rows(replies[reading.asks["present"]]), reading.group[0])

        return self._answer(requests, read, result)

    def _answer(
        self,
        requests: Sequence[MeasureRequest],
        read: Callable[[MeasureRequest], _Reading],
        result: Callable[[_Reading, Replies], _Found],
    ) -> list[_Found | MeasurementError]:
        """Write all queries, run them together, and compute the result of each request separately."""
        readings = [_caught(read, request) for request in requests]
        sound = [reading for reading in readings if isinstance(reading, _Reading)]
        deadline = deadline_of(requests)
        client: Client = self.client if deadline is None else LimitedClient(self.client, deadline, self)
        replies = self._ask({(reading.group, ask) for reading in sound for ask in reading.asks.values()}, client)
        doubts = self._doubts([reading for reading in sound if _is_doubtful(reading, replies[reading.group])], replies, client)
        out: list[_Found | MeasurementError] = []
        for reading in readings:
            if isinstance(reading, MeasurementError):
                out.append(reading)
            elif id(reading) in doubts:
                out.append(doubts[id(reading)])
            else:
                out.append(_caught(result, reading, replies[reading.group]))
        return out

    def _ask(self, wanted: Iterable[tuple[_Group, Ask]], client: Client) -> dict[_Group, Replies]:
        groups: dict[_Group, list[Ask]] = defaultdict(list)
        for group, ask in sorted(wanted, key=lambda item: item[1].text):
            groups[group].append(ask)
        jobs: list[tuple[_Group, batch.Job]] = []
        # Long windows first: they take longest, and short ones fill the remaining time.
        for group in sorted(groups, key=lambda group: -group[1]):
            jobs += [(group, job) for job in _jobs(groups[group], *group)]
        out: dict[_Group, Replies] = {group: {} for group in groups}
        if self._parallel == 1 or len(jobs) < 2:
            answers: Iterable[Replies] = [job(client) for _, job in jobs]
        else:
            try:
                _ = self.client.connect  # opened once, before threads share it
            except QueryError as error:
                return {group: dict.fromkeys(asks, error) for group, asks in groups.items()}
            with ThreadPoolExecutor(self._parallel) as pool:
                answers = list(pool.map(lambda item: item[1](client), jobs))
        for (group, _job), answer in zip(jobs, answers, strict=True):
            out[group].update(answer)
        return out

    def _doubts(
        self, readings: Sequence[_Reading], replies: Mapping[_Group, Replies], client: Client
    ) -> dict[int, MeasurementError]:
        """Check whether each missing ``bad`` means zero failures; return errors for those where this is uncertain."""
        found: dict[int, MeasurementError] = {}
        open_questions: list[tuple[_Reading, list[Selector]]] = []
        for reading in readings:
            witnesses = proof.witnesses(*_texts(reading))
            if witnesses is None:
                found[id(reading)] = self._missing(reading)
            else:
                open_questions.append((reading, sorted(witnesses, key=str)))
        # The end of the window first: that is cheap, and enough for every window that ends there.
        for at_end in (True, False):
            wanted: dict[int, list[tuple[_Group, Ask]]] = {}
            for reading, needed in open_questions:
                end = reading.group[0].end
                window = 1 if at_end else _witnessed(reading, replies[reading.group])
                asked = proof.asks_at_end(needed) if at_end else proof.asks_in_window(needed, window)
                wanted[id(reading)] = [((When(end, end), window), ask) for ask in asked]
            answers = self._ask({item for items in wanted.values() for item in items}, client)
            still = []
            for reading, needed in open_questions:
                rows = [answers[group][ask] for group, ask in wanted[id(reading)]]
                error = next((answer for answer in rows if isinstance(answer, QueryError)), None)
                if error is not None:
                    found[id(reading)] = error
                elif not all(rows):
                    still.append((reading, needed))
            open_questions = still
        return found | {id(reading): self._missing(reading) for reading, _ in open_questions}

    def _missing(self, reading: _Reading) -> NoData:
        return proof.missing(_texts(reading)[0], evidence(reading.asks, reading.request.end))


def _texts(reading: _Reading) -> tuple[str, str]:
    metric = reading.request.indicator.metric
    assert isinstance(metric, RatioMetric)
    assert metric.bad is not None
    assert metric.total is not None
    return metric.bad.query, metric.total.query


def _is_doubtful(reading: _Reading, replies: Replies) -> bool:
    """Return whether there were events but no series of bad events, in the window or in the newest slices with events.

    A gap that has ended does not make older slices doubtful.
    """
    if "bad" not in reading.asks:
        return False
    bad, total = replies[reading.asks["bad"]], replies[reading.asks["total"]]
    if isinstance(bad, QueryError) or isinstance(total, QueryError):
        return False
    newest = _newest(reading, total)
    return bool(newest) and not any(moment >= min(newest) for _, points in bad for moment in points)


def _newest(reading: _Reading, total: batch.Rows) -> set[int]:
    """Return the times of the last hour at which there were events; all times with events if there were none in that hour."""
    moments = {moment for _, points in total for moment, value in points.items() if value != 0}
    recent = to_milliseconds(reading.group[0].end) - max(_BLIND, reading.group[1])
    return {moment for moment in moments if moment > recent} or moments


def _witnessed(reading: _Reading, replies: Replies) -> int:
    """Return within how many milliseconds before the end a witness must have had samples."""
    total = replies[reading.asks["total"]]
    if reading.group[0].step is None or isinstance(total, QueryError):
        return reading.group[1]
    return to_milliseconds(reading.group[0].end) - min(_newest(reading, total)) + reading.group[1]


def _jobs(asks: Sequence[Ask], when: When, window: int) -> list[batch.Job]:
    by_count: dict[Count, Ask] = {}
    others = []
    for ask in asks:
        if ask.count is None:
            others.append(ask)
        else:
            by_count[ask.count] = ask
    jobs = [
        batch.merged_job(merged, [(by_count[count], count) for count in counts], when)
        for merged, counts in plan(by_count, window)
    ]
    return jobs + batch.union_jobs(others, when)


def _rows(reply: batch.Rows | QueryError) -> batch.Rows:
    if isinstance(reply, QueryError):
        raise reply
    return reply


def _caught(function: Callable[..., _Found], *arguments: object) -> _Found | MeasurementError:
    try:
        return function(*arguments)
    except MeasurementError as error:
        return error
