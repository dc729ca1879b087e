"""Create a DAG deadline from a freshness SLO.

A sensor notices late data only when a task waits for it. A deadline alert notices from outside that a run takes too long:
Airflow calls back when a run has not ended in time. The time counts from when the run was queued, which every run has; manual
and asset-triggered runs have no logical date.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import AsyncCallback, DeadlineAlert, SyncCallback

    from airflow_slo_provider.slo.model import SLO

_log = logging.getLogger(__name__)


def freshness_deadline(
    slo: SLO | timedelta, *, callback: AsyncCallback | SyncCallback | None = None, name: str | None = None
) -> DeadlineAlert:
    """Create the ``deadline=`` of a DAG from a freshness SLO.

    .. code-block:: python

        FRESH = slo.load("/opt/slos/freshness.yaml")["orders-fresh"]


        @dag(schedule="@hourly", deadline=freshness_deadline(FRESH))
        def orders(): ...

    :param slo: a freshness SLO: a threshold metric in seconds with the operator ``lte`` or ``lt`` and one value, the time that
        a run may take; or that time as a timedelta
    :param callback: called by Airflow with ``context`` and the callback's own keyword arguments; by default
        :func:`log_missed_deadline`, which writes a line into the triggerer's log
    :param name: name of the alert; the SLO's by default
    :raises ValueError: for an SLO without such a threshold, or a time that is not positive or too long
    """
    from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference

    interval = slo if isinstance(slo, timedelta) else max_age_of(slo)
    if interval <= timedelta(0):
        raise ValueError(f"a deadline of {interval} would be missed by every run")
    try:
        datetime.now(UTC) + interval
    except OverflowError:  # otherwise the scheduler would fail on every run
        raise ValueError(f"a deadline of {interval} would be after the year 9999: write the age in seconds") from None
    title = name or ("freshness" if isinstance(slo, timedelta) else slo.name)
    if callback is None:
        callback = AsyncCallback(log_missed_deadline, kwargs={"slo": title, "max_age_seconds": interval.total_seconds()})
    alert = DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=interval, callback=callback)
    alert.name = title  # set here because earlier releases of Airflow take no name
    return alert


def max_age_of(slo: SLO) -> timedelta:
    """Return the maximum age that a freshness SLO allows.

    :param slo: an SLO with a threshold in seconds and the operator ``lte`` or ``lt``
    :raises ValueError: when its threshold is not an age in seconds
    """
    from airflow_slo_provider.slo.model import ThresholdMetric

    values = {objective.value for objective in slo.objectives}
    ops = {objective.op for objective in slo.objectives}
    thresholds = all(isinstance(slo.indicator_of(objective).metric, ThresholdMetric) for objective in slo.objectives)
    if not thresholds or len(values) != 1 or not ops <= {"lte", "lt"}:
        rule = "a freshness SLO has a thresholdMetric and objectives with op lte and one value"
        raise ValueError(f"SLO {slo.name} has no single maximum age: {rule}")
    (value,) = values
    if value is None:
        raise ValueError(f"SLO {slo.name} has no value: write the age in seconds")
    try:
        return timedelta(seconds=float(value))
    except OverflowError:
        raise ValueError(f"SLO {slo.name} allows an age that is too long: write its value in seconds") from None


async def log_missed_deadline(context: Mapping[str, Any], slo: str, max_age_seconds: float) -> None:
    """Log that a run missed its deadline. Runs in the triggerer.

    :param context: the run and the deadline, as Airflow passes them to a deadline's callback
    :param slo: name of the SLO
    :param max_age_seconds: seconds that a run may take
    """
    run, deadline = context.get("dag_run") or {}, (context.get("deadline") or {}).get("deadline_time")
    message = "SLO %s: run %s of DAG %s has not ended within %g s of being queued (deadline %s)"
    _log.error(message, slo, run.get("dag_run_id"), run.get("dag_id"), max_age_seconds, deadline)
