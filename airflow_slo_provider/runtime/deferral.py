"""How soon a deferred task may resume, and how long it may take in all.

A worker notices the exit of its task up to ``[workers] min_heartbeat_interval`` (5 s) late, and the scheduler hears of it after
that. The scheduler of Airflow 3.3 takes a task that is queued or runs again by then for one that was killed ("state mismatch",
``SchedulerJobRunner.process_executor_events``): it fails the try, or retries what has just succeeded.

Airflow's ``execution_timeout`` runs on a worker only, and anew each time a task resumes: a task that is deferred has none.
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

#: No deferral is shorter.
SHORTEST = timedelta(seconds=10)


def earliest() -> datetime:
    """Return the first moment at which a task that is deferred now may resume."""
    return datetime.now(UTC) + SHORTEST


async def wait_until(moment: str | None) -> None:
    """Wait, in a trigger, for the moment before which it must not fire.

    :param moment: ISO 8601 with a zone; None for no such moment
    """
    if moment is not None:
        await asyncio.sleep(max((datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds(), 0))


class BoundedDeferral(_Base):
    """An operator whose ``execution_timeout`` holds from the start of a try to its end, deferrals included.

    It comes before Airflow's classes among the bases.
    """

    def defer(
        self,
        *,
        trigger: Any,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: timedelta | float | None = None,
    ) -> Any:
        """Defer, at most for what is left of ``execution_timeout``.

        :raises AirflowTaskTimeout: when nothing is left
        """
        from airflow.sdk import get_current_context

        left = time_left(self.execution_timeout, get_current_context())
        if left is not None:
            bound = max(left, SHORTEST)
            asked = timedelta(seconds=timeout) if isinstance(timeout, int | float) else timeout
            timeout = bound if asked is None else min(asked, bound)
        super().defer(trigger=trigger, method_name=method_name, kwargs=kwargs, timeout=timeout)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Resume, for what is left of ``execution_timeout``.

        :raises AirflowTaskTimeout: when nothing is left
        """
        left = time_left(self.execution_timeout, context)
        if left is not None and threading.current_thread() is threading.main_thread():
            # Airflow has set its alarm to the whole of it, and takes the alarm back afterwards.
            rings = signal.getitimer(signal.ITIMER_REAL)[0]
            if rings:
                signal.setitimer(signal.ITIMER_REAL, min(rings, left.total_seconds()))
        return super().resume_execution(next_method, next_kwargs, context)


def time_left(execution_timeout: timedelta | None, context: Mapping[str, Any]) -> timedelta | None:
    """Return how much of an ``execution_timeout`` a try has left; None where there is none.

    :param execution_timeout: the task's
    :param context: Airflow's task context; the start of the try survives deferrals
    :raises AirflowTaskTimeout: when nothing is left
    """
    started = context["ti"].start_date
    if execution_timeout is None or started is None:
        return None
    left = execution_timeout - (datetime.now(UTC) - started)
    if left <= timedelta(0):
        from airflow.sdk.exceptions import AirflowTaskTimeout

        raise AirflowTaskTimeout(f"execution_timeout of {execution_timeout} is over: the try began at {started.isoformat()}")
    return left
