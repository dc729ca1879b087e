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
from airflow_slo_provider.indicators.prometheus import absent_failures
from airflow_slo_provider.indicators.prometheus import query_batches as batch
from airflow_slo_provider.indicators.prometheus.answers import to_milliseconds
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.data_coverage import coverage_query, coverage_times, share_present
from airflow_slo_provider.indicators.prometheus.merged_queries import merge_counts
from airflow_slo_provider.indicators.prometheus.paired_slices import compute_slices
from airflow_slo_provider.indicators.prometheus.queries import (
    compute_measurement,
    format_queries,
    milliseconds,
    one_series,
    write_queries,
)  # fmt: skip
from airflow_slo_provider.indicators.prometheus.query_batches import EvaluationTimes, Points, Query, Replies
from airflow_slo_provider.indicators.prometheus.request_limits import Client, LimitedClient
from airflow_slo_provider.indicators.request_errors import result_or_error, unwrap
from airflow_slo_provider.indicators.span_slices import slice_count
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices, deadline_of
from airflow_slo_provider.slo.model import RatioMetric
from airflow_slo_provider.slo.promql.selectors import Count, Selector

#: The times and the window (milliseconds) of queries that may be sent together.
_Group = tuple[EvaluationTimes, int]
_Result = TypeVar("_Result")
#: Milliseconds after which a server does not see a series any more.
_BLIND = 3_600_000


@dataclass(frozen=True)
class _PlannedRequest:
    """A request with its queries by role, and the group that they are sent in."""

    request: MeasureRequest
    group: _Group
    queries: dict[str, Query]

    @property
    def texts(self) -> tuple[str, str]:
        """The texts of ``bad`` and ``total``, as the indicator has them."""
        metric = self.request.indicator.metric
        assert isinstance(metric, RatioMetric)
        assert metric.bad is not None
        assert metric.total is not None
        return metric.bad.query, metric.total.query

    def series(self, replies: Replies) -> dict[str, Points | None]:
        """Return the only series of each query, by role."""
        return {role: one_series(unwrap(replies[query]), query) for role, query in self.queries.items()}


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

        def plan(request: MeasureRequest) -> _PlannedRequest:
            window = milliseconds(request.end - request.start)
            if window < 1:
                raise NoData(f"the window {request.start} to {request.end} is empty", reason="empty")
            queries = write_queries(request, window, source=self.client.url)
            return _PlannedRequest(request, (EvaluationTimes(request.start, request.end), window), queries)

        def compute(planned: _PlannedRequest, replies: Replies) -> Measurement:
            series = planned.series(replies)
            values = {role: None if not points else next(iter(points.values())) for role, points in series.items()}
            return compute_measurement(planned.request, values, format_queries(planned.queries, planned.request.end))

        return self._answer(requests, plan, compute)

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        """Measure each span slice by slice; slice k covers (start + k * width, start + (k + 1) * width].

        :param requests: the indicators and their spans
        :param width: width of a slice
        :return: the slices of each request, in order, or the error of that request
        """

        def plan(request: MeasureRequest) -> _PlannedRequest:
            end = request.start + width * slice_count(request.start, request.end, width)
            times, window = EvaluationTimes(request.start + width, end, width), milliseconds(width)
            return _PlannedRequest(request, (times, window), write_queries(request, window, source=self.client.url))

        def compute(planned: _PlannedRequest, replies: Replies) -> Slices:
            times, _ = planned.group
            return compute_slices(planned.request, planned.series(replies), times, format_queries(planned.queries, times.end))

        return self._answer(requests, plan, compute)

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Return the share of each span that holds data, in hundredths; see :mod:`.data_coverage`.

        :param requests: the spans
        :return: the share of each request, in order, or the error of that request
        """

        def plan(request: MeasureRequest) -> _PlannedRequest:
            times = coverage_times(request.start, request.end)
            window, query = coverage_query(request, times, source=self.client.url)
            return _PlannedRequest(request, (times, window), {"present": query})

        def compute(planned: _PlannedRequest, replies: Replies) -> Fraction:
            return share_present(unwrap(replies[planned.queries["present"]]), planned.group[0])

        return self._answer(requests, plan, compute)

    def _answer(
        self,
        requests: Sequence[MeasureRequest],
        plan: Callable[[MeasureRequest], _PlannedRequest],
        compute: Callable[[_PlannedRequest, Replies], _Result],
    ) -> list[_Result | MeasurementError]:
        """Write all queries, run them together, and compute the result of each request separately."""
        outcomes = [result_or_error(plan, request) for request in requests]
        planned = [outcome for outcome in outcomes if isinstance(outcome, _PlannedRequest)]
        deadline = deadline_of(requests)
        client: Client = self.client if deadline is None else LimitedClient(self.client, deadline, self)
        replies = self._run({(item.group, query) for item in planned for query in item.queries.values()}, client)
        uncertain = [item for item in planned if _lacks_failures(item, replies[item.group])]
        errors = self._check_absent_failures(uncertain, replies, client)

        def answer(outcome: _PlannedRequest | MeasurementError) -> _Result:
            request = unwrap(outcome)
            if id(request) in errors:
                raise errors[id(request)]
            return compute(request, replies[request.group])

        return [result_or_error(answer, outcome) for outcome in outcomes]

    def _run(self, queries: Iterable[tuple[_Group, Query]], client: Client) -> dict[_Group, Replies]:
        """Run queries, those of a group in as few requests as possible."""
        groups: dict[_Group, list[Query]] = defaultdict(list)
        for group, query in sorted(queries, key=lambda item: item[1].text):
            groups[group].append(query)
        # Long windows first: they take longest, and short ones fill the remaining time.
        jobs = [(group, job) for group in sorted(groups, key=lambda group: -group[1]) for job in _jobs(groups[group], *group)]
        if self._parallel == 1 or len(jobs) < 2:
            answers = [job(client) for _, job in jobs]
        else:
            try:
                _ = self.client.connect  # opened once, before threads share it
            except QueryError as error:
                return {group: dict.fromkeys(members, error) for group, members in groups.items()}
            with ThreadPoolExecutor(self._parallel) as pool:
                answers = list(pool.map(lambda item: item[1](client), jobs))
        replies: dict[_Group, Replies] = {group: {} for group in groups}
        for (group, _), answer in zip(jobs, answers, strict=True):
            replies[group].update(answer)
        return replies

    def _check_absent_failures(
        self, uncertain: Sequence[_PlannedRequest], replies: Mapping[_Group, Replies], client: Client
    ) -> dict[int, MeasurementError]:
        """Check whether each missing ``bad`` means zero failures; return errors for those where this is uncertain."""
        errors: dict[int, MeasurementError] = {}
        unproven: list[tuple[_PlannedRequest, list[Selector]]] = []
        for planned in uncertain:
            witnesses = absent_failures.witnesses(*planned.texts)
            if witnesses is None:
                errors[id(planned)] = _missing(planned)
            else:
                unproven.append((planned, sorted(witnesses, key=str)))
        # The end of the window first: that is cheap, and enough for every window that ends there.
        for at_end in (True, False):
            needed: dict[int, list[tuple[_Group, Query]]] = {}
            for planned, selectors in unproven:
                end = planned.group[0].end
                window = 1 if at_end else _witnessed(planned, replies[planned.group])
                write = absent_failures.queries_at_end if at_end else absent_failures.queries_in_window
                needed[id(planned)] = [((EvaluationTimes(end, end), window), query) for query in write(selectors, window)]
            answers = self._run({item for items in needed.values() for item in items}, client)
            remaining = []
            for planned, selectors in unproven:
                rows = [answers[group][query] for group, query in needed[id(planned)]]
                error = next((answer for answer in rows if isinstance(answer, QueryError)), None)
                if error is not None:
                    errors[id(planned)] = error
                elif not all(rows):
                    remaining.append((planned, selectors))
            unproven = remaining
        return errors | {id(planned): _missing(planned) for planned, _ in unproven}


def _missing(planned: _PlannedRequest) -> NoData:
    return absent_failures.missing(planned.texts[0], format_queries(planned.queries, planned.request.end))


def _lacks_failures(planned: _PlannedRequest, replies: Replies) -> bool:
    """Return whether there were events but no series of bad events, in the window or in the newest slices with events.

    A gap that has ended does not make older slices uncertain.
    """
    if "bad" not in planned.queries:
        return False
    bad, total = replies[planned.queries["bad"]], replies[planned.queries["total"]]
    if isinstance(bad, QueryError) or isinstance(total, QueryError):
        return False
    newest = _newest(planned, total)
    return bool(newest) and not any(time >= min(newest) for _, points in bad for time in points)


def _newest(planned: _PlannedRequest, total: batch.Rows) -> set[int]:
    """Return the times of the last hour at which there were events; all times with events if there were none in that hour."""
    times = {time for _, points in total for time, value in points.items() if value != 0}
    recent = to_milliseconds(planned.group[0].end) - max(_BLIND, planned.group[1])
    return {time for time in times if time > recent} or times


def _witnessed(planned: _PlannedRequest, replies: Replies) -> int:
    """Return within how many milliseconds before the end a witness must have had samples."""
    total = replies[planned.queries["total"]]
    if planned.group[0].step is None or isinstance(total, QueryError):
        return planned.group[1]
    return to_milliseconds(planned.group[0].end) - min(_newest(planned, total)) + planned.group[1]


def _jobs(queries: Sequence[Query], times: EvaluationTimes, window: int) -> list[batch.Job]:
    """Return the jobs of one group: mergeable counts together, other queries in unions."""
    by_count: dict[Count, Query] = {query.count: query for query in queries if query.count is not None}
    merged = [
        batch.merged_job(merged, [(by_count[count], count) for count in counts], times)
        for merged, counts in merge_counts(by_count, window)
    ]
    return merged + batch.union_jobs([query for query in queries if query.count is None], times)
