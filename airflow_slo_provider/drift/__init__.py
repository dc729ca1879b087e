"""Measure drift between two datasets: profiles, PSI, Kolmogorov-Smirnov, verdicts, reports.

The names below are imported when they are first used, so that importing the package in a DAG file is cheap.
"""

from __future__ import annotations

from airflow_slo_provider.core.lazy_names import offer

_HOLDS = {
    "drift.profiles.columns": "ColumnProfile",
    "drift.verdict.comparison": "compare",
    "drift.statistics.distances": ("ChiSquare benjamini_hochberg chi_square js_distance quantiles total_variation"),
    "drift.engines.local": "profile",
    "drift.engines.sql": "SQLData",
    "drift.verdict.thresholds": "DriftState Gates",
    "drift.statistics.ks_pvalues": "KS",
    "drift.statistics.kolmogorov": "ks",
    "drift.profiles.dataset_profile": "DatasetProfile load_profile",
    "drift.report.html": "to_html",
    "drift.report.report_file": "save_report",
    "drift.verdict.results": "ColumnDrift DriftReport",
    "drift.verdict.segments": "compare_segments",
    "drift.statistics.population_stability": "PSI psi",
}

__all__ = sorted(name for names in _HOLDS.values() for name in names.split())
__getattr__ = offer(__name__, _HOLDS, renamed={"State": "DriftState"})
