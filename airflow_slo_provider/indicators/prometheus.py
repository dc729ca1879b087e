"""Indicators read from a Prometheus server, in batches.

What a count means. ``increase(x[W])`` at time t is what the counters grew by in (t - W, t]. It is exact in Prometheus 2 when
samples lie on both ends of the window (ranges are closed there); off the samples' grid, and in Prometheus 3, whose ranges
leave their start out, the server extrapolates. ``rate`` is events per second, so ``sum(rate(x[{{.window}}]))`` is read as
``increase``; inside longer expressions it is left alone: their ratio is right, but their events are per second.

All queries of one request are asked at one explicit time, the request's end.
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
from airflow_slo_provider.indicators import prometheus_batch as batch
from airflow_slo_provider.indicators import prometheus_proof as proof
from airflow_slo_provider.indicators.prometheus_batch import Ask, Replies, When
from airflow_slo_provider.indicators.prometheus_client import PrometheusClient
from airflow_slo_provider.indicators.prometheus_coverage import coverage_ask, coverage_times, share_present
from airflow_slo_provider.indicators.prometheus_merge import plan
from airflow_slo_provider.indicators.prometheus_readings import asks, evidence, judge, milliseconds, one_series
from airflow_slo_provider.indicators.prometheus_slices import judge_slices
from airflow_slo_provider.indicators.promql import Count, Selector
from airflow_slo_provider.indicators.slicing import slice_count
from airflow_slo_provider.slo.measuring import Measurement, MeasureRequest, Slices
from airflow_slo_provider.slo.model import RatioMetric

#: The instants and the window (milliseconds) that queries share when they may be asked together.
_Group = tuple[When, int]


@dataclass(frozen=True)
class _Reading:
    """One request with its queries."""

    request: MeasureRequest
    group: _Group
    asks: dict[str, Ask]


_Found = TypeVar("_Found")
#: The moments at which a missing ``bad`` means that nothing failed; None for all.
_Settled = frozenset[int] | None


class PrometheusSource:
    """Implements :class:`~airflow_slo_provider.slo.measuring.IndicatorSource`.

    :param client: the server to ask
    :param name: name of the data source, for messages
    :param parallel: how many queries may be under way at once
    """

    def __init__(self, client: PrometheusClient, *, name: str = "prometheus", parallel: int = 2) -> None:
        self.client = client
        self.name = name
        self._parallel = max(1, parallel)

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        """Answer all requests, in order; an error stands in the place of its request."""

        def read(request: MeasureRequest) -> _Reading:
            window = milliseconds(request.end - request.start)
            if window < 1:
                raise NoData(f"the window {request.start} to {request.end} is empty", reason="empty")
            return _Reading(request, (When(request.start, request.end), window), asks(request, window, source=self.client.url))

        def result(reading: _Reading, replies: Replies, _: _Settled) -> Measurement:
            query = evidence(reading.asks, reading.request.end)
            series = {role: one_series(_rows(replies[ask]), ask) for role, ask in reading.asks.items()}
            values = {role: None if not points else next(iter(points.values())) for role, points in series.items()}
            return judge(reading.request, values, query)

        return self._answer(requests, read, result)

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        """Answer all requests slice by slice; slice k covers (start + k * width, start + (k + 1) * width]."""

        def read(request: MeasureRequest) -> _Reading:
            end = request.start + width * slice_count(request.start, request.end, width)
            when = When(request.start + width, end, width)
            window = milliseconds(width)
            return _Reading(request, (when, window), asks(request, window, source=self.client.url))

        def result(reading: _Reading, replies: Replies, settled: _Settled) -> Slices:
            query = evidence(reading.asks, reading.group[0].end)
            series = {role: one_series(_rows(replies[ask]), ask) for role, ask in reading.asks.items()}
            return judge_slices(reading.request, series, reading.group[0], query, settled)

        return self._answer(requests, read, result)

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Say which share of each span holds data, looked at in hundredths; see ``prometheus_coverage``."""

        def read(request: MeasureRequest) -> _Reading:
            when = coverage_times(request.start, request.end)
            window, ask = coverage_ask(request, when, source=self.client.url)
            return _Reading(request, (when, window), {"present": ask})

        def result(reading: _Reading, replies: Replies, _: _Settled) -> Fraction:
            return share_present(_rows(replies[reading.asks["present"]]), reading.group[0])

        return self._answer(requests, read, result)

    def _answer(
        self,
        requests: Sequence[MeasureRequest],
        read: Callable[[MeasureRequest], _Reading],
        result: Callable[[_Reading, Replies, _Settled], _Found],
    ) -> list[_Found | MeasurementError]:
        """Write all queries, ask them together, settle what a missing ``bad`` means, and judge every request by itself."""
        readings = [_caught(read, request) for request in requests]
        sound = [reading for reading in readings if isinstance(reading, _Reading)]
        replies = self._ask({(reading.group, ask) for reading in sound for ask in reading.asks.values()})
        doubtful = [reading for reading in sound if _is_doubtful(reading, replies[reading.group])]
        settled = self._settled(doubtful)
        out: list[_Found | MeasurementError] = []
        for reading in readings:
            if isinstance(reading, MeasurementError):
                out.append(reading)
                continue
            known = settled.get(id(reading))
            if isinstance(known, MeasurementError):
                out.append(known)
            else:
                out.append(_caught(result, reading, replies[reading.group], known))
        return out

    def _ask(self, wanted: Iterable[tuple[_Group, Ask]]) -> dict[_Group, Replies]:
        groups: dict[_Group, list[Ask]] = defaultdict(list)
        for group, ask in sorted(wanted, key=lambda item: item[1].text):
            groups[group].append(ask)
        jobs: list[tuple[_Group, batch.Job]] = []
        # Long windows first: they take longest, and short ones fill what is left.
        for group in sorted(groups, key=lambda group: -group[1]):
            jobs += [(group, job) for job in _jobs(groups[group], *group)]
        out: dict[_Group, Replies] = {group: {} for group in groups}
        if self._parallel == 1 or len(jobs) < 2:
            answers: Iterable[Replies] = [job(self.client) for _, job in jobs]
        else:
            try:
                _ = self.client.connect  # opened once, before threads share it
            except QueryError as error:
                return {group: dict.fromkeys(asks, error) for group, asks in groups.items()}
            with ThreadPoolExecutor(self._parallel) as pool:
                answers = list(pool.map(lambda item: item[1](self.client), jobs))
        for (group, _job), answer in zip(jobs, answers, strict=True):
            out[group].update(answer)
        return out

    def _settled(self, readings: Sequence[_Reading]) -> dict[int, frozenset[int] | MeasurementError]:
        """Ask for each missing ``bad`` whether it means that nothing failed, and of slices in which.

        :return: by the reading's id: the slices, or why that is not sure; a window of which it is sure is left out
        """
        found: dict[int, frozenset[int] | MeasurementError] = {}
        windows: dict[int, tuple[_Reading, frozenset[Selector]]] = {}
        sliced: dict[int, tuple[_Group, list[Ask]]] = {}
        for reading in readings:
            needed = proof.witnesses(*_texts(reading))
            if needed is None:
                found[id(reading)] = self._missing(reading)
            elif reading.group[0].step is None:
                windows[id(reading)] = (reading, needed)
            else:
                sliced[id(reading)] = (reading.group, proof.asks_in_window(needed, reading.group[1]))
        slices = self._seen(sliced)
        # At the end of the window first: that is cheap, and enough for every window that ends there.
        for whole in (False, True):
            wanted = {}
            for key, (reading, needed) in windows.items():
                end, window = reading.request.end, reading.group[1] if whole else 1
                asked = proof.asks_in_window(needed, window) if whole else proof.asks_at_end(needed)
                wanted[key] = ((When(end, end), window), asked)
            seen = self._seen(wanted)
            found |= {key: answer for key, answer in seen.items() if isinstance(answer, MeasurementError)}
            windows = {key: windows[key] for key, answer in seen.items() if answer == frozenset()}
        missing = {id(reading): self._missing(reading) for reading in readings}
        return found | {key: missing[key] for key in windows} | {key: slices[key] or missing[key] for key in slices}

    def _seen(self, wanted: Mapping[int, tuple[_Group, list[Ask]]]) -> dict[int, frozenset[int] | MeasurementError]:
        """Return the moments at which all queries of a group answer something, or the first error."""
        replies = self._ask({(group, ask) for group, asks in wanted.values() for ask in asks})
        seen: dict[int, frozenset[int] | MeasurementError] = {}
        for key, (group, asked) in wanted.items():
            answers = [replies[group][ask] for ask in asked]
            error = next((answer for answer in answers if isinstance(answer, MeasurementError)), None)
            moments = [frozenset(moment for _, points in _rows(rows) for moment in points) for rows in answers if not error]
            seen[key] = error or frozenset.intersection(*moments)
        return seen

    def _missing(self, reading: _Reading) -> NoData:
        return proof.missing(_texts(reading)[0], evidence(reading.asks, reading.request.end))


def _texts(reading: _Reading) -> tuple[str, str]:
    metric = reading.request.indicator.metric
    assert isinstance(metric, RatioMetric)
    assert metric.bad is not None
    assert metric.total is not None
    return metric.bad.query, metric.total.query


def _is_doubtful(reading: _Reading, replies: Replies) -> bool:
    """Whether there was a moment with events, and no series for the bad ones."""
    if "bad" not in reading.asks:
        return False
    bad, total = replies[reading.asks["bad"]], replies[reading.asks["total"]]
    if isinstance(bad, QueryError) or isinstance(total, QueryError):
        return False
    answered = {moment for _, points in bad for moment in points}
    return any(value != 0 and moment not in answered for _, points in total for moment, value in points.items())


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
