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
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import TypeVar

from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.prometheus import query_batches as batch
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.data_coverage import coverage_query, coverage_times, share_between, share_present
from airflow_slo_provider.indicators.prometheus.large_windows.advice import with_advice
from airflow_slo_provider.indicators.prometheus.large_windows.window_parts import WindowParts, add_notes, window_times
from airflow_slo_provider.indicators.prometheus.merged_queries import merge_counts
from airflow_slo_provider.indicators.prometheus.paired_slices import compute_slices
from airflow_slo_provider.indicators.prometheus.planned_requests import Batch, PlannedRequest, doubt_of, witnessed_milliseconds
from airflow_slo_provider.indicators.prometheus.queries import (
    check_labels,
    compute_measurement,
    format_queries,
    milliseconds,
    write_lost_events,
    write_queries,
)  # fmt: skip
from airflow_slo_provider.indicators.prometheus.query_batches import EvaluationTimes, Query, Replies, Rows
from airflow_slo_provider.indicators.prometheus.request_limits import Client, LimitedClient
from airflow_slo_provider.indicators.prometheus.series import missing_series
from airflow_slo_provider.indicators.prometheus.series.missing_series import Doubt
from airflow_slo_provider.indicators.prometheus.series.series_groups import groups_with_events
from airflow_slo_provider.indicators.request_errors import result_or_error, unwrap
from airflow_slo_provider.indicators.span_slices import slice_count
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices, deadline_of
from airflow_slo_provider.slo.promql.event_queries import event_queries
from airflow_slo_provider.slo.promql.selectors import Count
from airflow_slo_provider.slo.promql.window_ranges import fill_window

_Result = TypeVar("_Result")


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
        self._answered: dict[tuple[Batch, Query], Rows | QueryError] = {}

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        """Measure each span.

        :param requests: the indicators and their spans
        :return: a measurement for each request, in order, or the error of that request
        """

        def compute(planned: PlannedRequest, replies: Replies) -> Measurement:
            series = planned.series(replies)
            values = {role: None if not points else next(iter(points.values())) for role, points in series.items()}
            return compute_measurement(planned.request, values, planned.text)

        def answer(requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
            return self._answer(requests, self._plan, compute)

        return add_notes(requests, answer(requests), answer, self.continuity)

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        """Measure each span slice by slice; slice k covers (start + k * width, start + (k + 1) * width].

        :param requests: the indicators and their spans
        :param width: width of a slice
        :return: the slices of each request, in order, or the error of that request
        """

        def plan(request: MeasureRequest) -> PlannedRequest:
            end = request.start + width * slice_count(request.start, request.end, width)
            times, window = EvaluationTimes(request.start + width, end, width), milliseconds(width)
            return self._planned(request, times, window)

        def compute(planned: PlannedRequest, replies: Replies) -> Slices:
            times, _ = planned.group
            return compute_slices(planned.request, planned.series(replies), times, format_queries(planned.queries, times.end))

        return self._answer(requests, plan, compute)

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Return the share of each span that holds data, in hundredths; see :mod:`.data_coverage`.

        :param requests: the spans
        :return: the share of each request, in order, or the error of that request
        """
        return self._shares(requests, share_present)

    def continuity(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Return the share of each span between its first and its last data that holds data: less than 1 if there is a gap.

        :param requests: the spans
        :return: the share of each request, in order, or the error of that request
        """
        return self._shares(requests, share_between)

    def _shares(
        self, requests: Sequence[MeasureRequest], share: Callable[[Rows, EvaluationTimes], Fraction]
    ) -> list[Fraction | MeasurementError]:
        def plan(request: MeasureRequest) -> PlannedRequest:
            times = coverage_times(request.start, request.end)
            window, query = coverage_query(request, times, source=self.client.url)
            return PlannedRequest(request, (times, window), {"present": query})

        def compute(planned: PlannedRequest, replies: Replies) -> Fraction:
            return share(unwrap(planned.rows(replies)["present"]), planned.group[0])

        return self._answer(requests, plan, compute)

    def groups(
        self, requests: Sequence[MeasureRequest], labels: Sequence[str]
    ) -> list[list[Mapping[str, str]] | MeasurementError]:
        """Return the values of labels with events in each span; see :class:`.GroupedSource`.

        The answers are kept for the measurement of the same spans that follows.

        :param requests: the indicators and their spans
        :param labels: the labels
        :return: the groups of each request, in order, or the error of that request
        """
        self._answered = {}
        planned = [result_or_error(self._plan_leading, request, labels) for request in requests]
        known = [item for item in planned if isinstance(item, PlannedRequest)]
        replies = self._run({(item.group, query) for item in known for query in item.queries.values()}, self._client(requests))
        self._answered = {(group, query): rows for group, found in replies.items() for query, rows in found.items()}

        def answer(outcome: PlannedRequest | MeasurementError) -> list[Mapping[str, str]]:
            request = unwrap(outcome)
            found: dict[tuple[str, ...], Mapping[str, str]] = {}
            for role, query in request.queries.items():
                rows = unwrap(replies[request.group][query])
                for group in groups_with_events(rows, labels, query, is_ratio=role == "raw"):
                    found[tuple(group.values())] = group
            return list(found.values())

        return [result_or_error(answer, outcome) for outcome in planned]

    def _plan(self, request: MeasureRequest) -> PlannedRequest:
        times, length = window_times(request)
        window = milliseconds(length)
        if window < 1:
            raise NoData(f"the window {request.start} to {request.end} is empty", reason="empty")
        return self._planned(request, times, window)

    def _planned(self, request: MeasureRequest, times: EvaluationTimes, window: int) -> PlannedRequest:
        queries = write_queries(request, window, source=self.client.url)
        return PlannedRequest(request, (times, window), queries, write_lost_events(request, window, source=self.client.url))

    def _plan_leading(self, request: MeasureRequest, labels: Sequence[str]) -> PlannedRequest:
        """Plan the query of all events, or of the raw ratio, and a query for each selector."""
        metric = request.indicator.metric
        check_labels(metric, labels, self.client.url)
        planned = self._plan(request)
        role, window = "raw" if "raw" in planned.queries else "total", timedelta(milliseconds=planned.group[1])
        # A condition may remove a group, and a group without good events may have no total.
        events = {text: Query(fill_window(text, window)) for text in event_queries(metric, labels)}
        return replace(planned, queries={role: planned.queries[role], **events})

    def _client(self, requests: Sequence[MeasureRequest]) -> Client:
        deadline = deadline_of(requests)
        return self.client if deadline is None else LimitedClient(self.client, deadline, self)

    def _answer(
        self,
        requests: Sequence[MeasureRequest],
        plan: Callable[[MeasureRequest], PlannedRequest],
        compute: Callable[[PlannedRequest, Replies], _Result],
    ) -> list[_Result | MeasurementError]:
        """Write all queries, run them together, and compute the result of each request separately."""
        outcomes = [result_or_error(plan, request) for request in requests]
        planned = [outcome for outcome in outcomes if isinstance(outcome, PlannedRequest)]
        client = self._client(requests)
        sent = {(item.group, query) for item in planned for query in (*item.queries.values(), *(lost for lost, _ in item.lost))}
        replies = self._run(sent, client)
        doubts = {id(item): doubt for item in planned if (doubt := doubt_of(item, replies[item.group]))}
        errors = self._resolve([(item, doubts[id(item)]) for item in planned if id(item) in doubts], replies, client)

        def answer(outcome: PlannedRequest | MeasurementError) -> _Result:
            request = unwrap(outcome)
            if id(request) in errors:
                raise errors[id(request)]
            request.refuse_lost_events(replies[request.group])
            return compute(request, replies[request.group])

        return [result_or_error(answer, outcome) for outcome in outcomes]

    def _run(self, queries: Iterable[tuple[Batch, Query]], client: Client) -> dict[Batch, Replies]:
        """Run queries, those of a group in as few requests as possible."""
        groups: dict[Batch, list[Query]] = defaultdict(list)
        replies: dict[Batch, Replies] = defaultdict(dict)
        for group, query in sorted(queries, key=lambda item: item[1].text):
            if (group, query) in self._answered:
                replies[group][query] = self._answered[group, query]
            else:
                groups[group].append(query)
        # Long windows first: they take longest, and short ones fill the remaining time.
        jobs = [(group, job) for group in sorted(groups, key=lambda group: -group[1]) for job in _jobs(groups[group], *group)]
        if self._parallel == 1 or len(jobs) < 2:
            answers = [job(client) for _, job in jobs]
        else:
            try:
                _ = self.client.connect  # opened once, before threads share it
            except QueryError as error:
                return {group: replies[group] | dict.fromkeys(members, error) for group, members in groups.items()}
            with ThreadPoolExecutor(self._parallel) as pool:
                answers = list(pool.map(lambda item: item[1](client), jobs))
        for (group, _), answer in zip(jobs, answers, strict=True):
            replies[group].update(with_advice(answer, group[1]))
        return replies

    def _resolve(
        self, doubts: Sequence[tuple[PlannedRequest, Doubt]], replies: Mapping[Batch, Replies], client: Client
    ) -> dict[int, MeasurementError]:
        """Check whether the series exist that a doubt is about; return the errors."""
        errors: dict[int, MeasurementError] = {id(planned): doubt.if_missing for planned, doubt in doubts if not doubt.needed}
        unproven = [(planned, doubt, sorted(doubt.needed, key=str)) for planned, doubt in doubts if doubt.needed]
        # The end of the window first: that is cheap, and enough for every window that ends there.
        for at_end in (True, False):
            needed: dict[int, list[tuple[Batch, Query]]] = {}
            for planned, _, selectors in unproven:
                end = planned.group[0].end
                window = 1 if at_end else witnessed_milliseconds(planned, replies[planned.group])
                write = missing_series.queries_at_end if at_end else missing_series.queries_in_window
                in_parts = isinstance(planned.group[0], WindowParts) and not at_end
                times = planned.group[0] if in_parts else EvaluationTimes(end, end)
                needed[id(planned)] = [((times, window), query) for query in write(selectors, window)]
            answers = self._run({item for items in needed.values() for item in items}, client)
            remaining = []
            for planned, doubt, selectors in unproven:
                rows = [answers[group][query] for group, query in needed[id(planned)]]
                error = next((answer for answer in rows if isinstance(answer, QueryError)), None)
                if error is None and not all(rows):
                    remaining.append((planned, doubt, selectors))
                elif found := error or doubt.if_present:
                    errors[id(planned)] = found
            unproven = remaining
        return errors | {id(planned): doubt.if_missing for planned, doubt, _ in unproven}


def _jobs(queries: Sequence[Query], times: EvaluationTimes, window: int) -> list[batch.Job]:
    """Return the jobs of one group: mergeable counts together, other queries in unions."""
    by_count: dict[Count, Query] = {query.count: query for query in queries if query.count is not None}
    merged = [
        batch.merged_job(merged, [(by_count[count], count) for count in counts], times)
        for merged, counts in merge_counts(by_count, window)
    ]
    return merged + batch.union_jobs([query for query in queries if query.count is None], times)
