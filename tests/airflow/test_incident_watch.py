"""How incidents leave a watch: apart from each other, and not at the pace of its polls."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_slo_provider.incidents.incident_state import BurnState, PollResult
from airflow_slo_provider.triggers import incident_watch
from airflow_slo_provider.triggers.burn_rate import BurnRateTrigger
from airflow_slo_provider.triggers.incident_watch import WatchPoll

MANY = 6


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setattr(incident_watch, "EVENT_INTERVAL", 0.1)


def burning() -> WatchPoll:
    return WatchPoll(datetime.now(UTC), [PollResult(f"slo-{one}", BurnState.BURNING, severity="page") for one in range(MANY)])


class Polls:
    """One poll at once, a second that never comes."""

    def __init__(self) -> None:
        self.began = self.broken_off = self.closed = 0

    async def __call__(self) -> AsyncIterator[WatchPoll]:
        try:
            yield burning()
            self.began += 1
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.broken_off += 1
                raise
            yield burning()
        finally:
            self.closed += 1


async def collect_events(polls: AsyncIterator[WatchPoll], *, most: int = MANY) -> list[tuple[str, float]]:
    """Return whose incidents are told of, and when: by the trigger's own clock, whenever this test comes to hear of it."""
    found: list[tuple[str, float]] = []
    trigger = BurnRateTrigger(slos="/x", poll_interval=300)
    async with aclosing(trigger.events(polls)) as events:
        async for event in events:
            found.append((event.payload["subject"], trigger._sent_at[event.payload["id"]]))
            if len(found) == most:
                break
    return found


def test_incidents_of_one_poll_are_sent_without_more_polls():
    polls = Polls()
    found = asyncio.run(asyncio.wait_for(collect_events(polls()), 20))
    assert [subject for subject, _ in found] == [f"slo-{one}" for one in range(MANY)]
    between = [later - sooner for (_, sooner), (_, later) in itertools.pairwise(found)]
    assert min(between) >= incident_watch.EVENT_INTERVAL
    assert (polls.began, polls.broken_off, polls.closed) == (1, 1, 1), "one poll ran all the while, and ended with the watch"


def test_closed_trigger_ends_its_polls():
    polls = Polls()

    async def play() -> None:
        task = asyncio.create_task(collect_events(polls(), most=99))
        while not polls.began:
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(play(), 20))
    assert (polls.began, polls.broken_off, polls.closed) == (1, 1, 1)


def test_error_in_polls_is_raised():
    complaints: list[Any] = []

    async def breaking() -> AsyncIterator[WatchPoll]:
        yield WatchPoll(datetime.now(UTC))
        raise ConnectionError("gone for good")

    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        with pytest.raises(ConnectionError, match="gone for good"):
            await collect_events(breaking())
        gc.collect()

    asyncio.run(play())
    assert complaints == []


def test_end_of_polls_ends_trigger():
    async def one() -> AsyncIterator[WatchPoll]:
        yield WatchPoll(datetime.now(UTC))

    assert asyncio.run(asyncio.wait_for(collect_events(one()), 20)) == []
