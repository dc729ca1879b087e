"""SLOs whose windows have numbers of their own, so that one may contradict itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from typing import Any

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import MeasurementError
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import PolicyState, SLODecision, SLOReport
from airflow_slo_provider.slo.policy.decisions import decide
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, PolicyRule, Signal
from tests.unit.slo.monitor_builders import AT, MINUTE, MemorySource, catalog, slo

FIVE = 5 * MINUTE
#: Rates by window; the other windows have no failures.
Windows = dict[timedelta, tuple[int, int] | MeasurementError]


class Windowed(MemorySource):
    """Answers each window with its own good events and all events."""

    def __init__(self, windows: Windows, default: tuple[int, int] = (100, 100)) -> None:
        super().__init__()
        self.windows, self.default = windows, default

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        return [self._answer(self.windows.get(request.end - request.start, self.default)) for request in requests]

    @staticmethod
    def _answer(numbers: tuple[int, int] | MeasurementError) -> Measurement | MeasurementError:
        if isinstance(numbers, MeasurementError):
            return numbers
        try:
            return Measurement.of_counts(*map(Fraction, numbers))
        except MeasurementError as error:
            return error


def decided(windows: Windows, *rules: PolicyRule, before: PolicyState | None = None, **fields: Any) -> SLODecision:
    """Decide about one SLO of 99 % in 30 days."""
    options = {name: fields.pop(name) for name in ("min_events", "max_silence") if name in fields}
    one = slo(target="0.99", error_budget_policy="p", **options)
    documents = catalog(one, policies=[ErrorBudgetPolicy("p", rules, **fields)])
    reports = SLOMonitor(documents, Windowed(windows)).evaluate(AT)
    (found,) = decide(reports, documents, previous={"api": before} if before else None).slos
    return found


def reported(windows: Windows, **fields: Any) -> SLOReport:
    return decided(windows, **fields).report


def burns(window: str, action: Action = Action.FREEZE) -> PolicyRule:
    return PolicyRule("burns", action, Signal.BURN_RATE, "gt", Fraction(10), Fraction(10), parse_duration(window))
