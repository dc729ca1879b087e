"""How far two datasets differ: profiles, population stability index, Kolmogorov-Smirnov, verdicts, reports.

The names below are imported when they are first used: naming the package in a DAG file costs nothing.
"""

from __future__ import annotations

from airflow_slo_provider.core.lazy_names import offer

_HOLDS = {
    "drift.columns": "ColumnProfile",
    "drift.comparison": "compare",
    "drift.distances": (
        "ChiSquare benjamini_hochberg chi_square js_distance quantile_edges quantiles total_variation wasserstein1"
    ),
    "drift.engines.local": "profile",
    "drift.engines.sql": "SQLData",
    "drift.gates": "Gates State",
    "drift.kolmogorov": "KS ks",
    "drift.profiles": "DatasetProfile load_profile",
    "drift.results": "ColumnDrift DriftReport",
    "drift.segments": "compare_segments",
    "drift.statistics": "PSI psi",
}

__all__ = sorted(name for names in _HOLDS.values() for name in names.split())
__getattr__ = offer(__name__, _HOLDS)
