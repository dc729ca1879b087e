"""Evaluate every SLO of a catalog at a given time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from airflow_slo_provider.core.slo_key import SLOKey, display_names
from airflow_slo_provider.exceptions import MeasurementError, QueryError
from airflow_slo_provider.slo.budget.deadline import SECONDS, Deadline
from airflow_slo_provider.slo.budget.error_budgets import ErrorBudget
from airflow_slo_provider.slo.budget.evaluation_time import refuse_future
from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource
from airflow_slo_provider.slo.budget.measurement_requests import (
    Groups,
    MeasurementPlan,
    SourceFactory,
    SourcePool,
    plan_measurements,
)
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from airflow_slo_provider.slo.budget.slo_groups import check_group, divide, mark_retired, pinned, worst_first
from airflow_slo_provider.slo.budget.status import add_coverage, add_error, create_report
from airflow_slo_provider.slo.catalog import Selection, SLOCatalog
from airflow_slo_provider.slo.model import SLO, DataSource, Objective
from airflow_slo_provider.slo.policy.error_budget_policy import Signal

if TYPE_CHECKING:
    from airflow_slo_provider.slo.code_first import SLIDefinition, SLOConfig


@dataclass(frozen=True)
class Evaluation:
    """SLOs to evaluate at one time.

    :param at: time of the evaluation (UTC)
    :param slos: the SLOs; one that is evaluated by labels is in it once for each group
    :param deadline: deadline of the evaluation
    :param errors: by report key, why the groups of an SLO are not known; it is in ``slos`` as a whole
    :param requested: whether the groups were chosen by the caller, so that each of them must exist
    """

    at: datetime
    slos: tuple[SLO, ...]
    deadline: Deadline
    errors: Mapping[SLOKey, MeasurementError]
    requested: bool


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
        self,
        at: datetime | None = None,
        select: Selection | None = None,
        *,
        group: Mapping[str, str] | None = None,
        covering: Collection[SLOKey | str] = (),
    ) -> list[SLOReport]:
        """Evaluate SLOs. Failed measurements are reported in the status and never raised.

        :param at: time of the evaluation (aware); now when None. A past time is evaluated from the history; the future is
            refused.
        :param select: names of the SLOs (``service/name`` where services share a name), or a function that chooses them; all when
            None
        :param group: values of labels: evaluate only these groups of the SLOs, which are evaluated by these labels
        :param covering: keys or names of reports that include the coverage of their window whatever budget remains: those that
            were frozen, so that a lost history does not unfreeze them
        :return: one report for each objective, in the catalog's order; of an SLO that is evaluated by labels one for each group,
            the worst first
        :raises ValueError: for a time that is naive or in the future, an unknown name, when nothing is selected, or for a group
            of labels that an SLO is not evaluated by
        """
        return self.measure(self.prepare(at, select, group=group), covering=covering)

    def prepare(
        self, at: datetime | None = None, select: Selection | None = None, *, group: Mapping[str, str] | None = None
    ) -> Evaluation:
        """Choose the SLOs to evaluate, and ask for the groups of those that are evaluated by labels.

        :param at: time of the evaluation, as for :meth:`evaluate`
        :param select: as for :meth:`evaluate`
        :param group: as for :meth:`evaluate`
        :raises ValueError: as :meth:`evaluate` does
        """
        if at is not None:
            if at.tzinfo is None:
                raise ValueError(f"the timestamp {at} has no time zone")
            refuse_future(at, what="the timestamp")
        at = (at or datetime.now(UTC)).astimezone(UTC)
        chosen, deadline, group = self.catalog.select(select), Deadline(self._seconds), group or {}
        check_group(chosen, group)
        found = self._find_groups([slo for slo in chosen if slo.options.group_by and not pinned(slo, group)], at, deadline)
        slos, errors = list[SLO](), dict[SLOKey, MeasurementError]()
        for slo in chosen:
            one = pinned(slo, group)
            if one is not None or not slo.options.group_by:
                slos.append(one or slo)
                continue
            keys = [SLOKey(slo.service, name) for name, _ in slo.parts()]
            try:
                slos += divide(slo, [found[key] for key in keys], group)
            except MeasurementError as error:
                slos.append(slo)
                errors |= dict.fromkeys(keys, error)
        return Evaluation(at, tuple(slos), deadline, errors, requested=bool(group))

    def measure(self, evaluation: Evaluation, *, covering: Collection[SLOKey | str] = ()) -> list[SLOReport]:
        """Measure the SLOs of an evaluation.

        :param evaluation: what :meth:`prepare` returned
        :param covering: as for :meth:`evaluate`
        :return: the reports, as :meth:`evaluate` returns them
        """
        plans, at = list[MeasurementPlan](), evaluation.at
        objectives = {SLOKey(slo.service, part[0]): (slo, *part) for slo in evaluation.slos for part in slo.parts()}
        reports: dict[SLOKey, SLOReport] = {}
        for key, (slo, name, objective) in objectives.items():
            try:
                if key in evaluation.errors:
                    raise evaluation.errors[key]
                plans.append(self._plan(slo, name, objective, at, evaluation.deadline))
            except MeasurementError as error:
                empty = SLOReport(name=name, slo=slo, objective=objective, at=at, start=at, end=at, status=Status.NO_DATA)
                reports[key] = add_error(empty, error)
        measured = self._sources.measure(plans)
        reports |= {plan.key: create_report(plan, measured[plan.key]) for plan in plans}
        self._add_coverage(plans, reports, covering)
        had_events = {plan.key for plan in plans if not isinstance(measured[plan.key].whole, MeasurementError)}
        may_vanish = set[SLOKey]() if evaluation.requested else had_events
        return worst_first(mark_retired(reports[key]) if key in may_vanish else reports[key] for key in objectives)

    def _find_groups(self, slos: Sequence[SLO], at: datetime, deadline: Deadline) -> dict[SLOKey, Groups | MeasurementError]:
        """Return the groups of each objective that have events in its window, or the error of asking for them."""
        plans, found = list[MeasurementPlan](), dict[SLOKey, Groups | MeasurementError]()
        for slo in slos:
            for name, objective in slo.parts():
                try:
                    plans.append(self._plan(slo, name, objective, at, deadline))
                except MeasurementError as error:
                    found[SLOKey(slo.service, name)] = error
        return {**found, **self._sources.groups(plans)}

    def check_sli(self, sli: SLIDefinition | str, at: datetime | None = None) -> Fraction:
        """Measure one SLI: the share of good events over its window.

        :param sli: the definition, or ``name`` or ``service/name`` of an SLO; of one with several objectives, ``name[1]``
            and so on
        :param at: time of the evaluation (aware); now when None
        :return: the share, as an exact rational
        :raises NoData: when no data is available
        :raises QueryError: when the query failed
        :raises ValueError: for a name that is unknown or used by several services, and for an SLO with several objectives
        """
        return self.compute_error_budget(sli, at).sli

    def compute_error_budget(self, sli: SLIDefinition | str, at: datetime | None = None) -> ErrorBudget:
        """Measure one SLI and compute its error budget.

        :param sli: the definition, or ``name`` or ``service/name`` of an SLO; of one with several objectives, ``name[1]``
            and so on
        :param at: time of the evaluation (aware); now when None
        :raises NoData: when no data is available
        :raises QueryError: when the query failed
        :raises ValueError: for a name that is unknown or used by several services, and for an SLO with several objectives
        """
        wanted = sli if isinstance(sli, str) else sli.slo_name
        slo, name, _ = self.catalog.part(wanted)
        reports = {report.name: report for report in self.evaluate(at, slo.key.qualified)}
        if name not in reports:
            raise ValueError(f"the SLO {wanted!r} has several groups; name one of {', '.join(reports)}")
        report = reports[name]
        if report.budget is None:
            assert report.error is not None
            raise report.error
        return report.budget

    def get_status(self, at: datetime | None = None) -> dict[str, Status]:
        """Evaluate all SLOs and return the status of each objective by name; by ``service/name`` if services share a name.

        :param at: time of the evaluation (aware); now when None
        """
        names = {sli.slo_name: sli.name for sli in self.config.slis} if self.config else {}
        reports = self.evaluate(at)
        shown = display_names(report.key for report in reports)
        return {names.get(report.name, shown[report.key]): report.status for report in reports}

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

    def _add_coverage(
        self, plans: list[MeasurementPlan], reports: dict[SLOKey, SLOReport], covering: Collection[SLOKey | str]
    ) -> None:
        """Measure the coverage of the windows where it decides: where a low budget might freeze deployments, or did."""
        always = [plan.key in covering or plan.name in covering for plan in plans]
        wanted = [
            plan for plan, known in zip(plans, always, strict=True) if _needs_coverage(reports[plan.key], plan, always=known)
        ]
        for key, answer in self._sources.coverage(wanted).items():
            reports[key] = add_coverage(reports[key], answer)


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
            return True  # it may hold whatever budget remains
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
