"""Determine the evaluation timestamp of a task instance: ``at``, the end of a backfill's interval, a partition, or now.

====================================================  ================================================================
run                                                   evaluation timestamp
====================================================  ================================================================
any, with ``at``                                      ``at``
backfill                                              the end of its data interval
partitioned, also a backfill (Airflow 3.3)            ``partition_date``: the start of its partition, the only time that
                                                      Airflow provides for a partition
partitioned without a date (a key that is not a       none: an error, ``at`` is required
time; Airflow 3.2, which provides only the key)
scheduled, also late or caught up; manual; by asset   now
====================================================  ================================================================

A timestamp in the future is an error in all cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

#: A scheduled run whose interval ended longer ago is logged as late, because it evaluates the present and not its interval.
_LATE = timedelta(minutes=5)


@dataclass(frozen=True)
class EvaluationTime:
    """An evaluation timestamp and its origin.

    :param at: the timestamp (aware); None for now
    :param origin: the origin, for the log
    """

    at: datetime | None
    origin: str


def evaluation_time(at: datetime | str | None, context: Mapping[str, Any], *, parameter: str = "at") -> EvaluationTime:
    """Return the evaluation timestamp of a task; see the table above.

    :param at: the task's parameter: an aware datetime, ISO 8601 text, or None
    :param context: Airflow's task context
    :param parameter: name of the task's parameter, for messages
    :raises ValueError: if it is not a valid timestamp, lies in the future or cannot be determined
    """
    from airflow_slo_provider.slo.budget.evaluation_time import read_evaluation_time, refuse_future

    if at is not None:
        return EvaluationTime(read_evaluation_time(at, what=parameter), f"{parameter} is set")
    run = context.get("dag_run")
    end: datetime | None = getattr(run, "data_interval_end", None)
    if is_backfill(context) and end is not None:
        refuse_future(end, what="the run is a backfill, and its data_interval_end")
        return EvaluationTime(end, "the end of this backfill run's data interval")
    partition: datetime | None = getattr(run, "partition_date", None)
    if partition is not None:
        refuse_future(partition, what="partition_date")
        return EvaluationTime(
            partition, f"the start of this run's partition {getattr(run, 'partition_key', None) or ''}".rstrip()
        )
    unknown = _unknown_time(run, context)
    if unknown:
        example = f'{parameter}="{{{{ dag_run.run_after }}}}"'
        raise ValueError(f"{unknown}: its evaluation timestamp is unknown, and is not now; set {parameter}=, e.g. {example}")
    return EvaluationTime(None, _describe_now(end))


def is_backfill(context: Mapping[str, Any]) -> bool:
    """Return whether the run belongs to a backfill, with or without partitions. A catchup run does not.

    :param context: Airflow's task context
    """
    kind = getattr(context.get("dag_run"), "run_type", None)
    return bool(getattr(kind, "value", kind) == "backfill")


def scheduled_start(context: Mapping[str, Any]) -> datetime | None:
    """Return the earliest time at which the scheduler could have started the run; None outside of a run.

    :param context: Airflow's task context
    """
    run_after: datetime | None = getattr(context.get("dag_run"), "run_after", None)
    return run_after


def _unknown_time(run: Any, context: Mapping[str, Any]) -> str:
    key = getattr(run, "partition_key", None)
    if key:
        return f"this run is about the partition {key!r}, and Airflow provides no partition_date for it"
    return "this run is a backfill without data_interval_end and partition_date" if is_backfill(context) else ""


def _describe_now(end: datetime | None) -> str:
    if end is None or end > datetime.now(UTC) - _LATE:
        return "now"
    return (
        f"now, not the run's interval, which ended {end.isoformat()}: only a backfill or at= is about the past, a run that is "
        "late or caught up is not"
    )
