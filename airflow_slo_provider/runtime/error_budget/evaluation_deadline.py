"""Time limit for one evaluation of error budgets in a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Share of a task's ``execution_timeout`` that is reserved for reading documents and recording the decision.
_RESERVE = 0.1


def evaluation_deadline(context: Mapping[str, Any] | None = None) -> float:
    """Return the seconds that ``SLOMonitor`` may take: ``[slo] evaluation_deadline``, or less if the task has less time.

    A task that Airflow stops at its ``execution_timeout`` records nothing, while a task whose evaluation stops earlier records
    what it has measured.

    :param context: Airflow's task context; None outside of a task
    :raises ValueError: if the option is not a positive number
    """
    from airflow.sdk import conf

    from airflow_slo_provider.slo.budget.deadline import SECONDS

    text = str(conf.get("slo", "evaluation_deadline", fallback="") or "").strip() or str(SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise ValueError(f"[slo] evaluation_deadline is {text!r}; write a positive number of seconds")
    limit = getattr((context or {}).get("task"), "execution_timeout", None)
    return seconds if limit is None else min(seconds, max(1.0, limit.total_seconds() * (1 - _RESERVE)))
