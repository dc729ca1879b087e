"""Check the queries of a catalog as gates read them: ``airflow slo validate`` reports every query that a gate always refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from airflow_slo_provider.documents.fields import DocumentScope, Fields, Findings
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.slo.documents.grouping import check_group_labels
from airflow_slo_provider.slo.documents.metadata import PREFIX, Metadata, locate
from airflow_slo_provider.slo.ledger_metric import find_ledger_problem
from airflow_slo_provider.slo.model import SLO, Indicator, Location, MetricSource, RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.additive_counts import why_not_additive
from airflow_slo_provider.slo.promql.query_roles import counts_are_declared, find_refusals
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery, UnreadableQuery, WrongGrouping
from airflow_slo_provider.slo.promql.result_labels import check_grouping, common_labels
from airflow_slo_provider.slo.promql.threshold_queries import check_threshold_query
from airflow_slo_provider.sql.statement import read_statement

COUNTS = PREFIX + "counts"
GROUP_BY = PREFIX + "group-by"
SPLIT_WINDOW = PREFIX + "split-window"


class QueryChecker:
    """Checks the indicators of SLOs, and then the SLI documents that no SLO uses.

    :param findings: collects the errors and warnings
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._used: set[Location] = set()
        self._declarations: dict[Location, tuple[Metadata, bool]] = {}

    def check_slo(self, slo: SLO, metadata: Metadata) -> SLO:
        """Check the queries of an SLO, and return the SLO with the counts that its annotations declare.

        :param slo: the SLO
        :param metadata: the metadata that its options were read from
        """
        if slo.options.counts is not None:
            objectives = tuple(replace(objective, indicator=_declare(objective.indicator)) for objective in slo.objectives)
            slo = replace(slo, indicator=_declare(slo.indicator), objectives=objectives)
        for indicator in _indicators(slo):
            self._used.add(indicator.metric.sources[0].location)
            self._check_labels(indicator, slo)
            if slo.options.split_window is not None and metadata.source is not None:
                _check_split(indicator, slo.name, metadata.source)
            operators = {objective.op for objective in slo.objectives if slo.indicator_of(objective) == indicator}
            declared = self._check(indicator, slo.location, operators)
            if slo.options.counts is not None and metadata.source is not None:
                place = locate(metadata.source, COUNTS)
                _, has_effect = self._declarations.get(place, (metadata, False))
                self._declarations[place] = metadata, has_effect or declared is not False
                if declared:
                    metadata.source.warn(COUNTS, f"{slo.name}: that its queries count events is declared, and not proven")
        return slo

    def finish(self, indicators: Iterable[Indicator]) -> None:
        """Check the SLI documents that no SLO uses, and report declarations without effect."""
        for indicator in indicators:
            if indicator.metric.sources[0].location not in self._used:
                self._check(indicator, Location(), {None}, is_used=False)
        for metadata, has_effect in self._declarations.values():
            if not has_effect and metadata.source is not None:
                metadata.source.warn(COUNTS, "has no effect: it is for good or bad, and total, that cannot be parsed as PromQL")

    def _check(
        self, indicator: Indicator, place: Location, operators: Iterable[str | None], *, is_used: bool = True
    ) -> bool | None:
        """Record the errors of an indicator's queries; return whether they are declared to count events, None after an error.

        :param place: where errors are reported of queries without a location
        :param operators: how its objectives compare the points of a threshold metric
        :param is_used: whether an SLO uses it. If none does, none could declare what it counts.
        """
        metric = indicator.metric
        if indicator.source_type == "Ledger" and (problem := find_ledger_problem(indicator)):
            self._report(metric.sources[0], place, problem)
        if indicator.source_type == "SQL":
            for source in metric.sources:
                if problem := _sql_problem(source.query):
                    self._report(source, place, problem)
        if indicator.source_type != "Prometheus":
            return False
        refusals = _find_refusals(metric, operators)
        for error in refusals:
            source, message = _locate_refusal(metric, error)
            self._report(source, place, message, is_error=is_used or not isinstance(error, UnreadableQuery))
        return None if refusals else counts_are_declared(metric)

    def _check_labels(self, indicator: Indicator, slo: SLO) -> None:
        """Report labels that divide the queries and not the SLO, and the reverse."""
        metric, labels = indicator.metric, slo.options.group_by
        if indicator.source_type != "Prometheus":
            if labels:
                message = f"an indicator of type {indicator.source_type} cannot be evaluated by labels; remove {GROUP_BY}"
                self._report(metric.sources[0], slo.location, message)
            return
        if not labels:
            found = ", ".join(common_labels(metric))
            if found:
                message = f"the result is divided by {found}, and gates refuse several series; write {GROUP_BY}: {found!r}"
                self._report(metric.sources[0], slo.location, f"{message} to evaluate each of them", is_error=False)
            return
        try:
            check_group_labels(labels)
            check_grouping(metric, labels)
        except WrongGrouping as error:
            source, message = _locate_refusal(metric, error)
            self._report(source, slo.location, message)
        except ValueError as error:  # of a query's labels, or of another tool's field: those of annotations are checked before
            self._report(metric.sources[0], slo.location, str(error))

    def _report(self, source: MetricSource, place: Location, message: str, *, is_error: bool = True) -> None:
        place = source.location if source.location.line else place
        scope = DocumentScope(place.document, place.file, self._findings)
        (scope.error if is_error else scope.warn)(message, place.path, place.line)


def _indicators(slo: SLO) -> Iterator[Indicator]:
    for indicator in (slo.indicator, *(objective.indicator for objective in slo.objectives)):
        if indicator is not None:
            yield indicator


def _check_split(indicator: Indicator, name: str, annotations: Fields) -> None:
    """Record an error where a window cannot be measured in parts."""
    problem = ""
    if indicator.source_type != "Prometheus":
        problem = f"data of type {indicator.source_type} is always measured at once"
    else:
        with contextlib.suppress(RefusedQuery):  # which is an error of the query
            problem = why_not_additive(indicator.metric)
    if problem:
        annotations.error(SPLIT_WINDOW, f"the window of {name} cannot be split into parts: {problem}")


def _declare(indicator: Indicator | None) -> Indicator | None:
    if indicator is None or not isinstance(indicator.metric, RatioMetric) or indicator.source_type != "Prometheus":
        return indicator
    return replace(indicator, metric=replace(indicator.metric, declares_events=True))


def _find_refusals(metric: RatioMetric | ThresholdMetric, operators: Iterable[str | None]) -> tuple[RefusedQuery, ...]:
    if isinstance(metric, RatioMetric):
        return find_refusals(metric)
    try:
        for operator in operators:
            check_threshold_query(metric.source.query, operator)
    except RefusedQuery as error:
        return (error,)
    return ()


def _locate_refusal(metric: RatioMetric | ThresholdMetric, error: RefusedQuery) -> tuple[MetricSource, str]:
    """Return the query that a refusal is about, and the message without its role; the first query if it is about both."""
    role, _, message = str(error).partition(": ")
    by_role = metric.by_role if isinstance(metric, RatioMetric) else {}
    return (by_role[role], message) if role in by_role else (metric.sources[0], str(error))


def _sql_problem(query: str) -> str:
    """Return why every database refuses a query, or an empty text; databases differ in how they read backslashes."""
    problems = []
    for backslashes in (False, True):
        try:
            read_statement(query, backslashes=backslashes)
        except QueryError as error:
            problems.append(error.message)
    return problems[0] if len(problems) == 2 else ""
