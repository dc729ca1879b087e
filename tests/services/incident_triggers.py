"""Run the triggers of incidents as a triggerer does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import aclosing
from typing import Any

from airflow_slo_provider.triggers.incident_watch import IncidentWatchTrigger


async def collect_incidents(trigger: IncidentWatchTrigger, seconds: float, *, until: int = 99) -> list[dict[str, Any]]:
    """Run a trigger for some seconds, or until it has sent so many events; end it as a restart of the triggerer does."""
    found: list[dict[str, Any]] = []

    async def run() -> None:
        async with aclosing(trigger.run()) as events:
            async for event in events:
                found.append(json.loads(json.dumps(event.payload)))
                if len(found) == until:
                    return

    task = asyncio.create_task(run())
    await asyncio.wait({task}, timeout=seconds)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return found
