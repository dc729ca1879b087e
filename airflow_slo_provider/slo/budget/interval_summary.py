"""Summarise an SLO over a time interval, e.g. since a rollback or during an incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.exceptions import MeasurementError, NoData
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.budget.error_budgets import BurnRate, budget_share
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.budget.measurement_requests import SourceFactory
from airflow_slo_provider.slo.budget.reports import SLOReport
from airflow_slo_provider.slo.budget.windows import nominal_length
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import SLO, BudgetingMethod, Objective


@dataclass(frozen=True)
class SpentBudget:
    """The error budget that a time interval spent.

    :param bad: bad events of the interval
    :param total: all events of the interval
    :param share: share of the whole error budget that they spent; None if the window's events are not counted
    :param minutes: the same in minutes of complete outage within the window
    """

    bad: Fraction
    total: Fraction
    share: Fraction | None
    minutes: Fraction | None


def measure_burn_rate(catalog: SLOCatalog, sources: SourceFactory, name: str, start: datetime, end: datetime) -> BurnRate:
    """Measure the burn rate of an SLO between two timestamps.

    :param catalog: the SLOs
    :param sources: creates the indicator sources
    :param name: the SLO or one of its objectives, as a report names it, or ``service/name``
    :param start: start (aware)
    :param end: end, exclusive (aware)
    :raises NoData: when there were no events
    :raises QueryError: when the query failed
    :raises ValueError: for an unknown name, or an SLO of time slices, whose rate cannot be measured over an arbitrary interval
    """
    _, objective, measured = _measure(catalog, sources, name, start, end)
    rate = (1 - measured.ratio) / budget_share(objective.target)
    return BurnRate(end - start, rate, measured.good, measured.total)


def measure_spent_budget(
    catalog: SLOCatalog, sources: SourceFactory, report: SLOReport, start: datetime, end: datetime
) -> SpentBudget:
    """Measure the error budget that a time interval spent.

    The share is bad events over the events that may be bad in the whole window: (1 - target) * total.

    :param catalog: the SLOs
    :param sources: creates the indicator sources
    :param report: the SLO's state at the end
    :param start: start (aware)
    :param end: end, exclusive (aware)
    :raises NoData: when there were no events, or they are not counted
    """
    name = SLOKey(report.slo.service, report.recorded_name).qualified
    slo, objective, measured = _measure(catalog, sources, name, start, end, report.slo.group)
    if measured.good is None or measured.total is None:
        raise NoData(f"{report.name} is measured as a ratio; its events are not counted", reason="not_counted")
    bad = measured.total - measured.good
    allowed = report.budget.allowed_events if report.budget else None
    share = bad / allowed if allowed else None
    window = Fraction(int(nominal_length(slo.window).total_seconds()), 60)
    return SpentBudget(bad, measured.total, share, share * budget_share(objective.target) * window if share is not None else None)


def _measure(
    catalog: SLOCatalog,
    sources: SourceFactory,
    name: str,
    start: datetime,
    end: datetime,
    group: Mapping[str, str] | None = None,
) -> tuple[SLO, Objective, Measurement]:
    slo, _, objective = catalog.part(name)
    if slo.method is not BudgetingMethod.OCCURRENCES:
        raise ValueError(f"{name} counts time slices; only an SLO of Occurrences can be measured over any interval")
    indicator = slo.indicator_of(objective)
    source = sources(indicator.source_type, catalog.data_source_of(indicator))
    span = (start.astimezone(UTC), end.astimezone(UTC))
    request = MeasureRequest(indicator, *span, objective.op, objective.value, deadline=Deadline(), group=group or {})
    (measured,) = source.measure([request])
    if isinstance(measured, MeasurementError):
        raise measured
    return slo, objective, measured
