"""How old something is: a DAG, an asset, a table, a file, a metric, a registered model, a rollout.

Every source answers one question, "when was this last fresh, and how do you know", with an
:class:`~airflow_slo_provider.freshness.observation.Observation`; :func:`judge` holds its age against the limits.

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

#: Imported when asked for: a sensor in a DAG file needs the limits alone.
__getattr__ = offer(
    __name__,
    {
        "freshness.assessment": "Assessment Limits assess",
        "freshness.age_verdict": "Freshness Reason judge",
        "freshness.limits": "CLOCK_TOLERANCE check_limits",
        "freshness.observation": "Observation",
    },
)
