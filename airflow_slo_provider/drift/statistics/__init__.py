"""Statistics of two profiles: PSI, Kolmogorov-Smirnov, distances, p-values."""

from __future__ import annotations

from airflow_slo_provider.core.lazy_names import offer

__getattr__ = offer(
    __name__,
    {
        "drift.statistics.ks_pvalues": "KS",
        "drift.statistics.kolmogorov": "ks",
        "drift.statistics.population_stability": "PSI psi",
    },
)
