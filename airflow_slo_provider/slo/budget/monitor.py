"""Evaluate every SLO of a catalog at a given time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from airflow_slo_provider.exceptions import MeasurementError, QueryError
from airflow_slo_provider.slo.budget.deadline import SECONDS, Deadline
from airflow_slo_provider.slo.budget.error_budgets import ErrorBudget
from airflow_slo_provider.slo.budget.evaluation_time import refuse_future
from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource
from airflow_slo_provider.slo.budget.measurement_requests import MeasurementPlan, SourceFactory, SourcePool, plan_measurements
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from airflow_slo_provider.slo.budget.status import add_coverage, add_error, create_report
from airflow_slo_provider.slo.catalog import Selection, SLOCatalog
from airflow_slo_provider.slo.model import SLO, DataSource, Objective
from airflow_slo_provider.slo.policy.error_budget_policy import Signal

if TYPE_CHECKING:
    from airflow_slo_provider.slo.code_first import SLIDefinition, SLOConfig


class SLOMonitor:
    """Evaluate SLOs at a given time. All objectives of one source are measured together, in as few queries as possible.

    :param catalog: the SLOs: a catalog, or an :class:`~airflow_slo_provider.slo.code_first.SLOConfig` written in code
    :param sources: the indicator sources: a function of the type of data and its DataSource document, a mapping from type
        (``Prometheus``, ``SQL``, ``Ledger``) to source, or one source for everything. For an ``SLOConfig`` also a Prometheus
        client: its URL, a ``PrometheusHook``, or prometheus-api-client's ``PrometheusConnect``.
    :param deadline: seconds one evaluation may take over all its sources: the limits of single queries shrink to the time left.
        An objective not measured by the deadline gets the status QUERY_ERROR; a source that did not answer in time is not
        queried again in that evaluation.
    :raises ValueError: for a deadline that is not a positive number
    """

    def __init__(
        self,
        catalog: SLOCatalog | SLOConfig,
        sources: SourceFactory | Mapping[str, IndicatorSource] | IndicatorSource | Any,
        *,
        deadline: float = SECONDS,
    ) -> None:
        from airflow_slo_provider.slo.code_first import SLOConfig, client_source

        self.config = catalog if isinstance(catalog, SLOConfig) else None
        if isinstance(catalog, SLOConfig):
            sources = client_source(sources)
            catalog = catalog.catalog()
        self.catalog = catalog
        self._seconds = Deadline(deadline).seconds
        self._sources = SourcePool(_factory(sources), catalog.data_sources)

    def evaluate(
        self, at: datetime | None = None, select: Selection | None = None, *, covering: Collection[str] = ()
    ) -> list[SLOReport]:
        """Evaluate SLOs. Failed measurements are reported in the status and never raised.

        :param at: time of the evaluation (aware); now when None. A past time is evaluated from the history; the future is
            refused.
        :param select: names of the SLOs, or a function that chooses them; all when None
        :param covering: names of reports that include the coverage of their window whatever budget remains: those that were
            frozen, so that a lost history does not unfreeze them
        :return: one report for each objective, in the catalog's order
        :raises ValueError: for a time that is naive or in the future, an unknown name, or when nothing is selected
        """
        if at is not None:
            if at.tzinfo is None:
                raise ValueError(f"the timestamp {at} has no time zone")
            refuse_future(at, what="the timestamp")
        at = (at or datetime.now(UTC)).astimezone(UTC)
        plans, deadline = list[MeasurementPlan](), Deadline(self._seconds)
        objectives = {name: (slo, objective) for slo in self.catalog.select(select) for name, objective in slo.parts()}
        reports: dict[str, SLOReport] = {}
        for name, (slo, objective) in objectives.items():
            try:
                plans.append(self._plan(slo, name, objective, at, deadline))
            except MeasurementError as error:
                empty = SLOReport(name=name, slo=slo, objective=objective, at=at, start=at, end=at, status=Status.NO_DATA)
                reports[name] = add_error(empty, error)
        measured = self._sources.measure(plans)
        reports |= {plan.name: create_report(plan, measured[plan.name]) for plan in plans}
        self._add_coverage(plans, reports, covering)
        return [reports[name] for name in objectives]

    def check_sli(self, sli: SLIDefinition | str, at: datetime | None = None) -> Fraction:
        """Measure one SLI: the share of good events over its window.

        :param sli: the definition, or the name of an SLO; of one with several objectives, ``name[1]`` and so on
        :param at: time of the evaluation (aware); now when None
        :return: the share, as an exact rational
        :raises NoData: when no data is available
        :raises QueryError: when the query failed
        :raises ValueError: for an unknown name, and for an SLO with several objectives
        """
        return self.compute_error_budget(sli, at).sli

    def compute_error_budget(self, sli: SLIDefinition | str, at: datetime | None = None) -> ErrorBudget:
        """Measure one SLI and compute its error budget.

        :param sli: the definition, or the name of an SLO; of one with several objectives, ``name[1]`` and so on
        :param at: time of the evaluation (aware); now when None
        :raises NoData: when no data is available
        :raises QueryError: when the query failed
        :raises ValueError: for an unknown name, and for an SLO with several objectives
        """
        wanted = sli if isinstance(sli, str) else sli.slo_name
        slo = next((slo for slo in self.catalog for name, _ in slo.parts() if name == wanted), None)
        reports = {report.name: report for report in self.evaluate(at, slo.name if slo else wanted)}
        if wanted not in reports:
            raise ValueError(f"the SLO {wanted!r} has several objectives; name one of {', '.join(reports)}")
        report = reports[wanted]
        if report.budget is None:
            assert report.error is not None
            raise report.error
        return report.budget

    def get_status(self, at: datetime | None = None) -> dict[str, Status]:
        """Evaluate all SLOs and return the status of each objective by name.

        :param at: time of the evaluation (aware); now when None
        """
        names = {sli.slo_name: sli.name for sli in self.config.slis} if self.config else {}
        return {names.get(report.name, report.name): report.status for report in self.evaluate(at)}

    def should_allow_deployment(self, at: datetime | None = None) -> bool:
        """Return whether the policies allow an automatic deployment. An UNKNOWN status does not allow it by default.

        :param at: time of the evaluation (aware); now when None
        """
        from airflow_slo_provider.slo.policy.decisions import decide

        return decide(self.evaluate(at), self.catalog).allowed

    def _plan(self, slo: SLO, name: str, objective: Objective, at: datetime, deadline: Deadline) -> MeasurementPlan:
        indicator = slo.indicator_of(objective)
        document = self.catalog.data_source_of(indicator)
        source = (indicator.source_type, document.name if document else None)
        return plan_measurements(name, slo, objective, self.catalog.policy_of(slo), at, source, deadline)

    def _add_coverage(self, plans: list[MeasurementPlan], reports: dict[str, SLOReport], covering: Collection[str]) -> None:
        """Measure the coverage of the windows where it decides: where a low budget might freeze deployments, or did."""
        wanted = [plan for plan in plans if _needs_coverage(reports[plan.name], plan, always=plan.name in covering)]
        for name, answer in self._sources.coverage(wanted).items():
            reports[name] = add_coverage(reports[name], answer)


def _needs_coverage(report: SLOReport, plan: MeasurementPlan, *, always: bool) -> bool:
    if plan.slice_width is not None or report.budget is None or not plan.slo.options.min_coverage:
        return False
    if always:
        return True
    levels: list[Fraction | None] = [plan.policy.warning_level]
    for rule in plan.policy.rules:
        if rule.signal is Signal.REMAINING_BUDGET:
            levels += [rule.enter, rule.exit]
        elif rule.signal is Signal.TIME_TO_EXHAUSTION:
            levels.append(Fraction(1))
    return any(level is not None and report.budget.remaining <= level for level in levels)


def _factory(sources: Any) -> SourceFactory:
    if isinstance(sources, Mapping):
        return partial(_source_of_type, sources)
    if hasattr(sources, "measure"):
        return lambda _kind, _document: cast("IndicatorSource", sources)
    if callable(sources):
        return cast("SourceFactory", sources)
    raise TypeError(f"sources must be a function, a mapping or an indicator source, not {type(sources).__name__}")


def _source_of_type(sources: Mapping[str, IndicatorSource], kind: str, _document: DataSource | None) -> IndicatorSource:
    if kind not in sources:
        known = ", ".join(sorted(sources)) or "nothing"
        raise QueryError(f"data of type {kind!r} cannot be measured here, only {known}", reason="unknown_source")
    return sources[kind]
