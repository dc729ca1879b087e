"""Measure and judge freshness: the age of a DAG run, asset, table, file, metric, registered model or rollout.

Every source returns an :class:`~airflow_slo_provider.freshness.observation.Observation`: when the data was last fresh, and how
that is known. :func:`judge` compares its age with the limits.

>>> from datetime import UTC, datetime, timedelta
>>> from airflow_slo_provider import freshness
>>> freshness.judge(datetime(2026, 1, 1, 11, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC), timedelta(hours=4)).verdict
<Verdict.PASS: 'pass'>
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.freshness.age_verdict import Freshness, Reason, judge
    from airflow_slo_provider.freshness.assessment import Assessment, Limits, assess
    from airflow_slo_provider.freshness.limits import CLOCK_TOLERANCE, check_limits
    from airflow_slo_provider.freshness.observation import Observation

__all__ = [
    "CLOCK_TOLERANCE", "Assessment", "Freshness", "Limits", "Observation", "Reason", "assess", "check_limits", "judge",
]  # fmt: skip

#: Imported on first use: a sensor in a DAG file needs only the limits.
__getattr__ = offer(
    __name__,
    {
        "freshness.assessment": "Assessment Limits assess",
        "freshness.age_verdict": "Freshness Reason judge",
        "freshness.limits": "CLOCK_TOLERANCE check_limits",
        "freshness.observation": "Observation",
    },
)
