"""Evaluate every SLO of a catalog at a given time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import MeasurementError, QueryError
from airflow_slo_provider.slo.budget.deadline import SECONDS, Deadline
from airflow_slo_provider.slo.budget.error_budgets import ErrorBudget
from airflow_slo_provider.slo.budget.evaluation_time import refuse_future
from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource
from airflow_slo_provider.slo.budget.measurement_requests import Asker, Part, SourceFactory, part_of
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from airflow_slo_provider.slo.budget.status import judge, unknown, with_coverage
from airflow_slo_provider.slo.budget.windows import Span
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
        An objective that is not measured by then gets the status QUERY_ERROR; a source that did not answer in time is not
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
        self._asker = Asker(_factory(sources), catalog.data_sources)

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
                raise ValueError(f"the instant {at} has no time zone")
            refuse_future(at, what="the instant")
        at = (at or datetime.now(UTC)).astimezone(UTC)
        places = [(slo, name, objective) for slo in self.catalog.select(select) for name, objective in slo.parts()]
        parts, deadline = list[Part](), Deadline(self._seconds)
        reports: dict[str, SLOReport] = {}
        for slo, name, objective in places:
            try:
                parts.append(self._part(slo, name, objective, at, deadline))
            except MeasurementError as error:
                reports[name] = unknown(self._empty_part(slo, name, objective, at), error)
        answers = self._asker.ask(parts)
        for part in parts:
            reports[part.name] = judge(part, answers[part.name])
        self._add_coverage(parts, reports, covering)
        return [reports[name] for _, name, _ in places]

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
        asked = sli if isinstance(sli, str) else sli.slo_name
        slo = next((slo for slo in self.catalog for name, _ in slo.parts() if name == asked), None)
        reports = self.evaluate(at, slo.name if slo else asked)
        report = next((one for one in reports if one.name == asked), None)
        if report is None:
            names = ", ".join(one.name for one in reports)
            raise ValueError(f"the SLO {asked!r} has several objectives; name one of {names}")
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

    def _part(self, slo: SLO, name: str, objective: Objective, at: datetime, deadline: Deadline) -> Part:
        indicator = slo.indicator_of(objective)
        document = self.catalog.data_source_of(indicator)
        source = (indicator.source_type, document.name if document else None)
        return part_of(name, slo, objective, self.catalog.policy_of(slo), at, source, deadline)

    def _empty_part(self, slo: SLO, name: str, objective: Objective, at: datetime) -> Part:
        return Part(name, slo, objective, self.catalog.policy_of(slo), at, Span(at, at, at), (), (), ("", None))

    def _add_coverage(self, parts: list[Part], reports: dict[str, SLOReport], covering: Collection[str]) -> None:
        """Measure the coverage of the windows where it decides: where a low budget might freeze deployments, or did."""
        wanted = [part for part in parts if _needs_coverage(reports[part.name], part, always=part.name in covering)]
        for name, answer in self._asker.coverage(wanted).items():
            reports[name] = with_coverage(reports[name], answer)


def _needs_coverage(report: SLOReport, part: Part, *, always: bool) -> bool:
    if part.slice_width is not None or report.budget is None or not part.slo.options.min_coverage:
        return False
    if always:
        return True
    levels = [rule.enter for rule in part.policy.rules if rule.signal is Signal.REMAINING_BUDGET]
    levels += [rule.exit for rule in part.policy.rules if rule.signal is Signal.REMAINING_BUDGET]
    levels += [Fraction(1) for rule in part.policy.rules if rule.signal is Signal.TIME_TO_EXHAUSTION]
    return report.budget.remaining <= max([part.policy.warning_level, *(level for level in levels if level is not None)])


def _factory(sources: Any) -> SourceFactory:
    def look_up(kind: str, _document: DataSource | None) -> IndicatorSource:
        if kind not in sources:
            known = ", ".join(sorted(sources)) or "nothing"
            raise QueryError(f"data of type {kind!r} cannot be measured here, only {known}", reason="unknown_source")
        found: IndicatorSource = sources[kind]
        return found

    def only(_kind: str, _document: DataSource | None) -> IndicatorSource:
        found: IndicatorSource = sources
        return found

    if isinstance(sources, Mapping):
        return look_up
    if hasattr(sources, "measure"):
        return only
    if callable(sources):
        factory: SourceFactory = sources
        return factory
    raise TypeError(f"sources must be a function, a mapping or an indicator source, not {type(sources).__name__}")
