"""Check the queries of SLO documents on a Prometheus server: whether their metrics exist and the SLOs can be measured."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.core.slo_key import SLOKey, display_names
from airflow_slo_provider.exceptions import Fault, InvalidMeasurement, MeasurementError, NoData
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.budget.slo_groups import divide
from airflow_slo_provider.slo.budget.windows import nominal_length
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import SLO, Indicator, MetricSource, Objective, RatioMetric
from airflow_slo_provider.slo.promql.query_roles import read_metric
from airflow_slo_provider.slo.promql.selectors import Matcher
from airflow_slo_provider.slo.promql.syntax_tree import (
    WINDOW_TEXT,
    Binary,
    Node,
    PromQLSyntaxError,
    Series,
    parse,
    series_of,
    walk,
)
from airflow_slo_provider.slo.promql.text import window_text

_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
#: Reasons of errors that are in the documents; every other failed query is a fault of the server or the connection.
_IN_DOCUMENT = frozenset({"bad_query", "query_failed", "several_series", "wrong_grouping", "lost_events", "no_group"})


@dataclass
class ServerReport:
    """The result of checking documents on a server.

    :param lines: what was found, for the reader
    :param errors: queries that cannot be measured there, and metrics without series
    :param warnings: metrics without series, where that is a count of 0
    """

    lines: list[str] = field(default_factory=list)
    errors: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


def check_on_server(catalog: SLOCatalog, source: PrometheusSource, at: datetime) -> ServerReport:
    """Measure each Prometheus indicator over its SLO's window, and count the series of each selector in its queries.

    :param catalog: the SLOs; those with other sources are left out
    :param source: the server
    :param at: the time to check (aware)
    :raises MeasurementError: when the server or the connection fails
    """
    checker = _Checker(source, at, ServerReport())
    titles = display_names(SLOKey(slo.service, name) for slo in catalog for name, _ in slo.parts())
    for slo in catalog:
        checked = set()
        for part, objective in slo.parts():
            indicator, name = slo.indicator_of(objective), titles[SLOKey(slo.service, part)]
            measures = id(indicator), objective.op, objective.value
            if indicator.source_type == "Prometheus" and measures not in checked:
                checker.check(name, slo, objective, indicator)
                checked.add(measures)
    found = checker.report
    # SLOs may use the same SLI document.
    return ServerReport(found.lines, list(dict.fromkeys(found.errors)), list(dict.fromkeys(found.warnings)))


@dataclass
class _Checker:
    source: PrometheusSource
    at: datetime
    report: ServerReport
    _counts: dict[tuple[str, timedelta], int] = field(default_factory=dict)

    def check(self, name: str, slo: SLO, objective: Objective, indicator: Indicator) -> None:
        """Check the queries of one objective."""
        window = nominal_length(slo.window)
        end = self.at - slo.options.maturity_lag
        request = MeasureRequest(
            indicator, end - window, end, objective.op, objective.value, split_window=slo.options.split_window
        )
        result = self._measure_groups(name, request, slo) if slo.options.group_by else self._measure(name, request)
        is_measured = isinstance(result, Measurement) or result.reason == "no_events"
        if isinstance(result, MeasurementError) and not is_measured:
            self.report.errors.append(_fault(slo, indicator.metric.sources[0], result.message))
        if isinstance(result, Measurement) and result.ratio < Fraction(1, 2) < objective.target:
            message = f"{percent(1 - result.ratio, digits=1)} of all events are bad; are good and bad exchanged?"
            self.report.warnings.append(_fault(slo, indicator.metric.sources[0], message))
        for role, query in _queries(indicator):
            try:
                tree = parse(_text(indicator, role, query))
            except PromQLSyntaxError:
                self.report.lines.append(f"{name}: {role} cannot be parsed, so its metrics are not checked")
                continue
            for series in dict.fromkeys(series_of(tree)):
                selector = _write(series, window)
                count = self._count(selector, window)
                self.report.lines.append(f"{name}: {role} selects {count} series of {selector}")
                if count:
                    continue
                message = f"the server has no series of {selector} in {window_text(window)}"
                if is_measured and (role == "bad" or series in _alternatives(tree)):
                    self.report.warnings.append(_fault(slo, query, f"{message}; that counts as 0"))
                else:
                    self.report.errors.append(_fault(slo, query, f"{message}; check its name and labels"))

    def _measure_groups(self, name: str, request: MeasureRequest, slo: SLO) -> Measurement | MeasurementError:
        """Ask for the groups of an SLO that is evaluated by labels, and measure each of them, as a gate does."""
        labels = slo.options.group_by
        (found,) = self.source.groups([request], labels)
        if isinstance(found, MeasurementError) and not _is_in_document(found):
            raise found
        try:
            groups = divide(slo, [found], {})
        except MeasurementError as error:
            return error
        self.report.lines.append(f"{name}: {len(groups)} value{'s' * (len(groups) != 1)} of {', '.join(labels)}")
        results = [self._measure(f"{name}{each.group_text}", replace(request, group=each.group)) for each in groups]
        for each, result in zip(groups, results, strict=True):
            if isinstance(result, MeasurementError):
                return NoData(f"{each.group_text[1:-1]}: {result.message}", reason="group")
        return results[0]

    def _measure(self, name: str, request: MeasureRequest) -> Measurement | MeasurementError:
        began = time.monotonic()
        (result,) = self.source.measure([request])
        seconds, window = time.monotonic() - began, window_text(request.end - request.start)
        if isinstance(result, MeasurementError) and not _is_in_document(result):
            raise result
        found = f"SLI {percent(result.ratio, digits=4)}" if isinstance(result, Measurement) else result.message
        self.report.lines.append(f"{name}: measured over {window} in {seconds:.2f} s: {found}")
        return result

    def _count(self, selector: str, window: timedelta) -> int:
        """Return how many series a selector selects now; if there are none, how many it selected in the window."""
        key = selector, window
        if key not in self._counts:
            client: PrometheusClient = self.source.client
            ranged = f"count(present_over_time({selector}[{window_text(window)}]))"
            for query in (f"count({selector})", ranged):
                found = client.instant(query, self.at)
                self._counts[key] = int(found[0].value or 0) if found else 0
                if found:
                    break
        return self._counts[key]


def _is_in_document(error: MeasurementError) -> bool:
    return isinstance(error, NoData | InvalidMeasurement) or (error.reason in _IN_DOCUMENT and not error.transient)


def _queries(indicator: Indicator) -> Iterator[tuple[str, MetricSource]]:
    metric = indicator.metric
    yield from metric.by_role.items() if isinstance(metric, RatioMetric) else [("value", metric.source)]


def _text(indicator: Indicator, role: str, query: MetricSource) -> str:
    metric = indicator.metric
    return read_metric(metric).queries[role].text if isinstance(metric, RatioMetric) else query.query


def _alternatives(tree: Node) -> frozenset[Series]:
    """Return the selectors beside an ``or``, of which some may have no series."""
    joined = (node for node in walk(tree) if isinstance(node, Binary) and node.operator == "or")
    return frozenset(series for node in joined for series in series_of(node))


def _write(series: Series, window: timedelta) -> str:
    """Write a selector without its range and offset."""
    matchers = [Matcher(*matcher) for matcher in series.matchers]
    name = series.name
    if _PLAIN_NAME.fullmatch(name) is None and name:
        matchers.insert(0, Matcher("__name__", "=", name))
        name = ""
    text = name + (f"{{{','.join(map(str, matchers))}}}" if matchers else "")
    return text.replace(WINDOW_TEXT, window_text(window))


def _fault(slo: SLO, query: MetricSource, message: str) -> Fault:
    place = query.location if query.location.line else slo.location
    return Fault(message, place.path, place.document or f"SLO/{slo.name}", place.file, place.line)
