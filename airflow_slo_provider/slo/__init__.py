"""What an SLO is: documents, budgets, burn rates, policies, the monitor, rule export.

The names here are the package's face. What needs a backend is imported when it is asked for, so that importing an operator
costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import DocumentError, Fault, InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.slo.arithmetic import (
    BurnRate,
    BurnRateRule,
    ErrorBudget,
    burn_rate,
    burn_rate_rules,
    error_budget,
    time_to_exhaustion,
)
from airflow_slo_provider.slo.budgeting import SliceSummary, summarise
from airflow_slo_provider.slo.catalog import Service, SLOCatalog
from airflow_slo_provider.slo.durations import Duration, parse_duration
from airflow_slo_provider.slo.loading import Reading, load, read
from airflow_slo_provider.slo.measuring import IndicatorSource, Measurement, MeasureRequest, Slices
from airflow_slo_provider.slo.model import (
    SLO,
    AlertCondition,
    AlertPolicy,
    BudgetingMethod,
    CalendarDenominator,
    DataSource,
    Indicator,
    MetricSource,
    MissingSlices,
    Objective,
    Options,
    RatioMetric,
    ThresholdMetric,
    TimeWindow,
)
from airflow_slo_provider.slo.policy import DEFAULT_POLICY, Action, ErrorBudgetPolicy, OnUnknown, Override, PolicyRule, Signal
from airflow_slo_provider.slo.reports import Decision, Outcome, PolicyState, SLODecision, SLOReport, Status

# The function, which hides the module of its name: ``slo.rules(catalog)``.
from airflow_slo_provider.slo.rules import rules
from airflow_slo_provider.slo.windows import Span, span_at

if TYPE_CHECKING:
    from airflow_slo_provider.indicators.ledger import LedgerSource
    from airflow_slo_provider.indicators.prometheus import PrometheusSource
    from airflow_slo_provider.indicators.sql import SQLSource

#: Names that are imported when they are asked for, and the modules that hold them.
_LAZY = {
    "LedgerSource": "airflow_slo_provider.indicators.ledger",
    "PrometheusSource": "airflow_slo_provider.indicators.prometheus",
    "SQLSource": "airflow_slo_provider.indicators.sql",
}

__all__ = [
    "DEFAULT_POLICY",
    "SLO",
    "Action",
    "AlertCondition",
    "AlertPolicy",
    "BudgetingMethod",
    "BurnRate",
    "BurnRateRule",
    "CalendarDenominator",
    "DataSource",
    "Decision",
    "DocumentError",
    "Duration",
    "ErrorBudget",
    "ErrorBudgetPolicy",
    "Fault",
    "Indicator",
    "IndicatorSource",
    "InvalidMeasurement",
    "LedgerSource",
    "MeasureRequest",
    "Measurement",
    "MeasurementError",
    "MetricSource",
    "MissingSlices",
    "NoData",
    "Objective",
    "OnUnknown",
    "Options",
    "Outcome",
    "Override",
    "PolicyRule",
    "PolicyState",
    "PrometheusSource",
    "QueryError",
    "RatioMetric",
    "Reading",
    "SLOCatalog",
    "SLODecision",
    "SLOReport",
    "SQLSource",
    "Service",
    "Signal",
    "SliceSummary",
    "Slices",
    "Span",
    "Status",
    "ThresholdMetric",
    "TimeWindow",
    "burn_rate",
    "burn_rate_rules",
    "error_budget",
    "load",
    "parse_duration",
    "read",
    "rules",
    "span_at",
    "summarise",
    "time_to_exhaustion",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(module), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
