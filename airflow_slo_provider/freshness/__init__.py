"""How old something is: a DAG, an asset, a table, a file, a metric, a registered model, a rollout.

Every source answers one question, "when was this last fresh, and how do you know", with an
:class:`~airflow_slo_provider.freshness.observation.Observation`; :func:`judge` holds its age against the limits.

>>> from datetime import UTC, datetime, timedelta
>>> from airflow_slo_provider import freshness
>>> freshness.judge(datetime(2026, 1, 1, 11, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC), timedelta(hours=4)).verdict
<Verdict.PASS: 'pass'>
"""

from airflow_slo_provider.freshness.assessing import Assessment, Limits, assess
from airflow_slo_provider.freshness.judging import CLOCK_TOLERANCE, Freshness, Reason, check_limits, judge
from airflow_slo_provider.freshness.observation import Observation

__all__ = [
    "CLOCK_TOLERANCE",
    "Assessment",
    "Freshness",
    "Limits",
    "Observation",
    "Reason",
    "assess",
    "check_limits",
    "judge",
]
