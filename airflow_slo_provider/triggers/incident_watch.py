"""Base class of the event triggers that start an incident's DAG: turn polls into one event per incident."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_slo_provider.incidents.incident import Incident
from airflow_slo_provider.incidents.incident_state import (
    BurnState,
    IncidentDurations,
    PollResult,
    WatchState,
    blind_incident,
    next_watch_state,
)

T = TypeVar("T")
#: The subject that stands for the trigger itself, for polls that failed as a whole.
ITSELF = ""
#: Seconds after which a yielded event is assumed to be in Airflow's database.
_HANDED_OVER = 5.0
#: Seconds between two events. Airflow queues only one run for an asset: an event that arrives while a run is queued, but after
#: the time up to which that run consumes events, starts no run.
APART = 10.0
#: Shortest ``poll_interval`` in seconds.
SHORTEST_INTERVAL = 1.0


@dataclass(frozen=True)
class Look:
    """The result of one poll.

    :param at: timestamp of the poll (aware)
    :param seen: the subjects that were found; a subject that is missing is calm
    :param problem: why the poll failed; empty if it did not
    """

    at: datetime
    seen: Sequence[PollResult] = ()
    problem: str = ""


class IncidentWatchTrigger(BaseEventTrigger):
    """Base class of the triggers that start an incident's DAG.

    The trigger's state is stored in the ledger, so that a triggerer that restarts during an incident does not start a second
    run. An incident is stored before its event is sent, and marked as sent some seconds later. If a crash may have lost an
    event in between, it is sent again with the same id, and the second run finds the incident already claimed.

    :param name: name of the trigger's state in the ledger
    :param poll_interval: seconds between two polls, at least 1
    :param cool_down: seconds without interruption for which a subject must be calm before the incident is over
    :param blind_after: seconds without a measurement before an event of kind ``blind`` is sent
    :raises ValueError: for numbers that are negative, too small or not finite
    """

    def __init__(self, *, name: str, poll_interval: float, cool_down: float, blind_after: float) -> None:
        super().__init__()
        self.name = name
        self.poll_interval = poll_interval
        self.cool_down = cool_down
        self.blind_after = blind_after
        for what, value, least in (
            ("poll_interval", poll_interval, SHORTEST_INTERVAL),
            ("cool_down", cool_down, 0),
            ("blind_after", blind_after, 0),
        ):
            if not isinstance(value, int | float) or not least <= value < float("inf"):
                raise ValueError(f"{what}={value!r}: write seconds, at least {least:g}")
        self._memories: dict[str, WatchState] | None = None
        self._unsaved: set[str] = set()
        self._told: dict[str, float] = {}
        self._waiting: list[Incident] = []
        self._last = float("-inf")
        self._since = datetime.now(UTC)
        self._blind_told = False

    @property
    def limits(self) -> IncidentDurations:
        """Return ``cool_down`` and ``blind_after`` as the limits of the state machine."""
        return IncidentDurations(timedelta(seconds=self.cool_down), timedelta(seconds=self.blind_after))

    async def events(self, looks: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each incident that starts, and one for each time that no measurement is available for too long.

        :param looks: the polls
        """
        loop = asyncio.get_running_loop()
        async with aclosing(looks) as incoming:  # type: ignore[type-var]
            pending: asyncio.Future[Look | None] | None = None
            try:
                while True:
                    # The task is kept over iterations: a waiting event must neither cancel a poll nor wait for the next one.
                    pending = pending or asyncio.ensure_future(anext(incoming, None))
                    await asyncio.wait({pending}, timeout=self._last + APART - loop.time() if self._waiting else None)
                    if pending.done():
                        look, pending = pending.result(), None
                        if look is None:
                            return
                        self._waiting += await self._taken(look)
                    now = loop.time()
                    if self._waiting and now - self._last >= APART:
                        one = self._waiting.pop(0)
                        self._last = self._told[one.id] = now
                        self.log.warning("Incident %s (%s): %s", one.id, one.kind, one.message)
                        yield TriggerEvent(one.to_dict())
            finally:
                # Awaited, because the generator cannot be closed while it runs.
                await _ended(pending)

    async def _taken(self, look: Look) -> list[Incident]:
        try:
            return await self._take(look)
        except Exception:  # one poll must never end the trigger
            self.log.exception("This look could not be taken in; the next one is")
            return []

    async def _take(self, look: Look) -> list[Incident]:
        if look.problem:
            self.log.warning("Nothing could be looked at: %s", look.problem)
        if self._memories is None:
            lost = await self._recall()
            if self._memories is None:
                return self._without_memory(look, lost)
            again = [one.incident for one in self._memories.values() if one.incident is not None and not one.sent]
        else:
            again = []
        begun = [*again, *self._remember(look)]
        changed, told = blind_incident(self._memories, look.at, self.limits, watch=self.name)
        self._change(changed)
        if told is not None:
            begun.append(told)
        await self._save()
        return begun

    def _remember(self, look: Look) -> list[Incident]:
        assert self._memories is not None
        if look.problem:
            seen = {
                subject: PollResult(subject, BurnState.UNKNOWN, message=look.problem) for subject in (ITSELF, *self._memories)
            }
        else:
            seen = {subject: PollResult(subject, BurnState.CALM) for subject in (ITSELF, *self._memories)}
            seen |= {one.subject: one for one in look.seen}
        begun, now = [], asyncio.get_running_loop().time()
        for subject, one in seen.items():
            before = self._memories.get(subject, WatchState())
            memory, incident = next_watch_state(before, one, look.at, self.limits)
            if incident is not None:
                begun.append(incident)
            elif (
                memory.incident is not None and not memory.sent and now - self._told.get(memory.incident.id, now) >= _HANDED_OVER
            ):
                memory = replace(memory, sent=True)
            if before.incident is not None and memory.incident is None:
                self.log.info("Incident %s is over", before.incident.id)
            self._change({subject: memory} if memory != before else {})
        return begun

    def _change(self, changed: Mapping[str, WatchState]) -> None:
        assert self._memories is not None
        self._memories |= changed
        self._unsaved |= set(changed)

    async def _recall(self) -> str:
        """Read the state from the ledger; return the error message if that is not possible, else an empty text."""
        from airflow_slo_provider.runtime.incidents.current_incident import load_watch_states
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

        def read() -> dict[str, WatchState]:
            with open_default_ledger() as ledger:
                return load_watch_states(ledger, self.name)

        try:
            self._memories = await in_thread(read)
        except Exception as error:
            return f"what was seen before cannot be read: {error}"
        return ""

    def _without_memory(self, look: Look, reason: str) -> list[Incident]:
        """Handle a poll while the state cannot be read: new and known incidents look alike, so the trigger is blind."""
        self.log.warning("%s", reason)
        lost = {ITSELF: WatchState(unknown_since=self._since, blind_sent=self._blind_told, reason=reason)}
        _, told = blind_incident(lost, look.at, self.limits, watch=self.name)
        self._blind_told = self._blind_told or told is not None
        return [told] if told is not None else []

    async def _save(self) -> None:
        """Write changed states to the ledger. If that fails, events are still sent and the next poll tries again."""
        from airflow_slo_provider.runtime.incidents.current_incident import save_watch_states
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

        assert self._memories is not None
        changed = {subject: self._memories[subject] for subject in self._unsaved}
        if not changed:
            return

        def write() -> None:
            with open_default_ledger() as ledger:
                save_watch_states(ledger, self.name, changed)

        try:
            await in_thread(write)
        except Exception as error:
            self.log.warning("What was seen cannot be written down, and will be with the next look: %s", error)
        else:
            self._unsaved -= set(changed)


async def _ended(task: asyncio.Future[Any] | None) -> None:
    """Cancel a task and wait until it has ended."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # retrieved, because the event loop logs exceptions that are never retrieved


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a thread, in which Airflow's synchronous lookups of connections also work.

    :param function: the function
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(function, thread_sensitive=False)()


async def polled(look: Callable[[], T], interval: float, patience: float) -> AsyncIterator[tuple[datetime, T | Exception]]:
    """Call a blocking function repeatedly in a thread and yield its results.

    A call that hangs is reported at each interval, and no second call is started while it runs.

    :param look: the blocking function
    :param interval: seconds between the starts of two polls
    :param patience: seconds after which a running call is reported as a ``TimeoutError``
    """
    loop, pending = asyncio.get_running_loop(), None
    try:
        while True:
            started = loop.time()
            if pending is None:
                pending = asyncio.ensure_future(in_thread(look))
            await asyncio.wait({pending}, timeout=patience)
            at = datetime.now(UTC)
            if not pending.done():
                yield at, TimeoutError(f"no answer after {patience:g} s, and none since")
            else:
                finished, pending = pending, None
                error = finished.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield at, error if error is not None else finished.result()
            await asyncio.sleep(max(0.05, interval - (loop.time() - started)))
    finally:
        if pending is not None:
            pending.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await asyncio.wait({pending}, timeout=0)
