"""Service level objectives: documents, error budgets, burn rates, policies, the monitor, rule export.

The names below are the public interface of the package. Each is imported on first access: a DAG file that needs one class does
not load the document reader, and ``slo.SLOCatalog`` does not load a Prometheus client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.documents.durations import Duration, parse_duration
    from airflow_slo_provider.exceptions import DocumentError, Fault, InvalidMeasurement, MeasurementError, NoData, QueryError
    from airflow_slo_provider.indicators.ledger import LedgerSource
    from airflow_slo_provider.indicators.prometheus.evaluator import PrometheusEvaluator
    from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
    from airflow_slo_provider.indicators.sql.source import SQLSource
    from airflow_slo_provider.slo.budget.error_budgets import (
        BurnRate,
        BurnRateRule,
        ErrorBudget,
        burn_rate,
        burn_rate_rules,
        error_budget,
        time_to_exhaustion,
    )
    from airflow_slo_provider.slo.budget.indicator_source import IndicatorSource, Measurement, MeasureRequest, Slices
    from airflow_slo_provider.slo.budget.monitor import SLOMonitor
    from airflow_slo_provider.slo.budget.reports import Decision, GateOutcome, PolicyState, SLODecision, SLOReport, Status
    from airflow_slo_provider.slo.budget.time_slices import SliceSummary, summarise
    from airflow_slo_provider.slo.budget.windows import WindowSpan, span_at
    from airflow_slo_provider.slo.catalog import Service, SLOCatalog
    from airflow_slo_provider.slo.code_first import SLIDefinition, SLIType, SLOConfig
    from airflow_slo_provider.slo.documents.document_files import Reading, load, read
    from airflow_slo_provider.slo.export.prometheus_rules import rules
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
    from airflow_slo_provider.slo.policy.decisions import decide
    from airflow_slo_provider.slo.policy.error_budget_policy import (
        DEFAULT_POLICY,
        Action,
        ErrorBudgetPolicy,
        OnUnknown,
        Override,
        PolicyRule,
        Signal,
    )

__all__ = [  # noqa: RUF022
    "Action", "AlertCondition", "AlertPolicy", "BudgetingMethod", "BurnRate", "BurnRateRule", "CalendarDenominator",
    "DEFAULT_POLICY", "DataSource", "Decision", "DocumentError", "Duration", "ErrorBudget", "ErrorBudgetPolicy", "Fault",
    "Indicator", "IndicatorSource", "InvalidMeasurement", "LedgerSource", "MeasureRequest", "Measurement", "MeasurementError",
    "GateOutcome", "MetricSource", "MissingSlices", "NoData", "Objective", "OnUnknown", "Options", "Override", "PolicyRule",
    "PolicyState", "PrometheusEvaluator", "PrometheusSource", "QueryError", "RatioMetric", "Reading", "SLIDefinition",
    "SLIType", "SLO", "SLOCatalog", "SLOConfig", "SLODecision", "SLOMonitor", "SLOReport", "SQLSource", "Service", "Signal",
    "SliceSummary", "Slices", "Status", "ThresholdMetric", "TimeWindow", "WindowSpan", "burn_rate", "burn_rate_rules", "decide",
    "error_budget", "load", "parse_duration", "read", "rules", "span_at", "summarise", "time_to_exhaustion",
]  # fmt: skip

#: The module of each public name; the imports above tell editors and type checkers the same.
__getattr__ = offer(
    __name__,
    {
        "exceptions": "DocumentError Fault InvalidMeasurement MeasurementError NoData QueryError",
        "indicators.ledger": "LedgerSource",
        "indicators.prometheus.source": "PrometheusSource",
        "indicators.prometheus.evaluator": "PrometheusEvaluator",
        "indicators.sql.source": "SQLSource",
        "slo.budget.error_budgets": "BurnRate BurnRateRule ErrorBudget burn_rate burn_rate_rules error_budget time_to_exhaustion",
        "slo.budget.time_slices": "SliceSummary summarise",
        "slo.catalog": "SLOCatalog Service",
        "slo.code_first": "SLIDefinition SLIType SLOConfig",
        "slo.policy.decisions": "decide",
        "documents.durations": "Duration parse_duration",
        "slo.documents.document_files": "Reading load read",
        "slo.budget.indicator_source": "IndicatorSource MeasureRequest Measurement Slices",
        "slo.model": (
            "AlertCondition AlertPolicy BudgetingMethod CalendarDenominator DataSource Indicator MetricSource MissingSlices "
            "Objective Options RatioMetric SLO ThresholdMetric TimeWindow"
        ),
        "slo.budget.monitor": "SLOMonitor",
        "slo.policy.error_budget_policy": "Action DEFAULT_POLICY ErrorBudgetPolicy OnUnknown Override PolicyRule Signal",
        "slo.budget.reports": "Decision GateOutcome PolicyState SLODecision SLOReport Status",
        "slo.export.prometheus_rules": "rules",
        "slo.budget.windows": "WindowSpan span_at",
    },
    renamed={"Outcome": "GateOutcome", "Span": "WindowSpan"},
)
