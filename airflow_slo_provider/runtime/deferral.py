"""Minimum length of a deferral, and ``execution_timeout`` across deferrals.

A worker notices the exit of its task up to ``[workers] min_heartbeat_interval`` (5 s) late, and the scheduler is informed after
that. If the task is queued or running again by then, the scheduler of Airflow 3.3 assumes that it was killed ("state mismatch",
``SchedulerJobRunner.process_executor_events``): it fails the try, or retries a try that just succeeded.

Airflow's ``execution_timeout`` runs only on a worker and restarts each time a task resumes; a deferred task has none.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator as _Base
else:
    _Base = object

#: Minimum length of a deferral.
MIN_DEFERRAL = timedelta(seconds=10)


def earliest_resume() -> datetime:
    """Return the earliest time at which a task that is deferred now may resume."""
    return datetime.now(UTC) + MIN_DEFERRAL


async def wait_until(timestamp: str | None) -> None:
    """Wait in a trigger until the time before which it must not fire.

    :param timestamp: ISO 8601 with a time zone; None does not wait
    """
    if timestamp is not None:
        await asyncio.sleep(max((datetime.fromisoformat(timestamp) - datetime.now(UTC)).total_seconds(), 0))


class BoundedDeferral(_Base):
    """Mixin for operators whose ``execution_timeout`` counts from the start of a try to its end, including deferrals.

    It must come before Airflow's classes in the list of base classes.
    """

    def defer(
        self, *, trigger: Any, method_name: str, kwargs: dict[str, Any] | None = None, timeout: timedelta | float | None = None
    ) -> Any:
        """Defer, at most for what is left of ``execution_timeout``.

        :param trigger: the trigger
        :param method_name: name of the method to resume with
        :param kwargs: its arguments
        :param timeout: timeout of the deferral (a timedelta or seconds); none by default
        :raises AirflowTaskTimeout: if no time is left
        """
        from airflow.sdk import get_current_context

        left = time_left(self.execution_timeout, get_current_context())
        if left is not None:
            bound = max(left, MIN_DEFERRAL)
            limit = timedelta(seconds=timeout) if isinstance(timeout, int | float) else timeout
            timeout = bound if limit is None else min(limit, bound)
        super().defer(trigger=trigger, method_name=method_name, kwargs=kwargs, timeout=timeout)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Resume the task with what is left of ``execution_timeout``.

        :param next_method: name of the method to resume with
        :param next_kwargs: its arguments
        :param context: Airflow's task context
        :raises AirflowTaskTimeout: if no time is left
        """
        left = time_left(self.execution_timeout, context)
        if left is not None and threading.current_thread() is threading.main_thread():
            # Airflow has set its timer to the full execution_timeout, and removes it afterwards.
            remaining = signal.getitimer(signal.ITIMER_REAL)[0]
            if remaining:
                signal.setitimer(signal.ITIMER_REAL, min(remaining, left.total_seconds()))
        return super().resume_execution(next_method, next_kwargs, context)


def time_left(execution_timeout: timedelta | None, context: Mapping[str, Any]) -> timedelta | None:
    """Return how much of ``execution_timeout`` a try has left; None if there is no timeout.

    :param execution_timeout: that of the task
    :param context: Airflow's task context; its start of the try is kept across deferrals
    :raises AirflowTaskTimeout: if no time is left
    """
    started = context["ti"].start_date
    if execution_timeout is None or started is None:
        return None
    left = execution_timeout - (datetime.now(UTC) - started)
    if left <= timedelta(0):
        from airflow.sdk.exceptions import AirflowTaskTimeout

        raise AirflowTaskTimeout(f"execution_timeout of {execution_timeout} has passed: the try started at {started.isoformat()}")
    return left
