"""How soon a deferred task may resume.

A worker notices the exit of its task up to ``[workers] min_heartbeat_interval`` (5 s) late, and the scheduler hears of it after
that. The scheduler of Airflow 3.3 takes a task that is queued or runs again by then for one that was killed ("state mismatch",
``SchedulerJobRunner.process_executor_events``): it fails the try, or retries what has just succeeded.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

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
