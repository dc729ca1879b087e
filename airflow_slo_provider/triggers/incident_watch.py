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
    renamed_states,
)

T = TypeVar("T")
#: The subject that stands for the trigger itself, for polls that failed as a whole.
TRIGGER_SUBJECT = ""
#: Seconds after which a yielded event is assumed to be in Airflow's database.
_DELIVERY_SECONDS = 5.0
#: Seconds between two events. Airflow queues only one run for an asset: an event that arrives while a run is queued, but after
#: the time up to which that run consumes events, starts no run.
EVENT_INTERVAL = 10.0
#: Shortest ``poll_interval`` in seconds.
SHORTEST_INTERVAL = 1.0


@dataclass(frozen=True)
class WatchPoll:
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
        self.name, self.poll_interval, self.cool_down, self.blind_after = name, poll_interval, cool_down, blind_after
        for parameter, minimum in {"poll_interval": SHORTEST_INTERVAL, "cool_down": 0, "blind_after": 0}.items():
            value = getattr(self, parameter)
            if not isinstance(value, int | float) or not minimum <= value < float("inf"):
                raise ValueError(f"{parameter}={value!r}: write seconds, at least {minimum:g}")
        self._states: dict[str, WatchState] | None = None
        self._unsaved: set[str] = set()
        self._sent_at: dict[str, float] = {}
        self._queue: list[Incident] = []
        self._last_sent = float("-inf")
        self._created_at = datetime.now(UTC)
        self._blind_sent = False

    @property
    def limits(self) -> IncidentDurations:
        """Return ``cool_down`` and ``blind_after`` as the limits of the state machine."""
        return IncidentDurations(timedelta(seconds=self.cool_down), timedelta(seconds=self.blind_after))

    async def events(self, polls: AsyncIterator[WatchPoll]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each incident that starts, and one for each time that no measurement is available for too long.

        :param polls: the polls
        """
        loop = asyncio.get_running_loop()
        async with aclosing(polls) as incoming:  # type: ignore[type-var]
            pending: asyncio.Future[WatchPoll | None] | None = None
            try:
                while True:
                    # The task is kept over iterations: a waiting event must neither cancel a poll nor wait for the next one.
                    pending = pending or asyncio.ensure_future(anext(incoming, None))
                    await asyncio.wait({pending}, timeout=self._last_sent + EVENT_INTERVAL - loop.time() if self._queue else None)
                    if pending.done():
                        poll, pending = pending.result(), None
                        if poll is None:
                            return
                        self._queue += await self._handle_safely(poll)
                    now = loop.time()
                    if self._queue and now - self._last_sent >= EVENT_INTERVAL:
                        incident = self._queue.pop(0)
                        self._last_sent = self._sent_at[incident.id] = now
                        self.log.warning("Incident %s (%s): %s", incident.id, incident.kind, incident.message)
                        yield TriggerEvent(incident.to_dict())
            finally:
                # Awaited, because the generator cannot be closed while it runs.
                await _cancel(pending)

    async def _handle_safely(self, poll: WatchPoll) -> list[Incident]:
        try:
            return await self._handle(poll)
        except Exception:  # one poll must never end the trigger
            self.log.exception("This poll could not be handled; the trigger goes on with the next one")
            return []

    async def _handle(self, poll: WatchPoll) -> list[Incident]:
        if poll.problem:
            self.log.warning("No measurement is available: %s", poll.problem)
        unsent: list[Incident] = []
        if self._states is None:
            error = await self._load_states()
            if self._states is None:
                return self._handle_without_states(poll, error)
            unsent = [state.incident for state in self._states.values() if state.incident is not None and not state.sent]
        begun = [*unsent, *self._update_states(poll)]
        changed, own_incident = blind_incident(self._states, poll.at, self.limits, watch=self.name)
        self._set_states(changed)
        await self._store_states()
        return begun if own_incident is None else [*begun, own_incident]

    def _update_states(self, poll: WatchPoll) -> list[Incident]:
        assert self._states is not None
        if poll.problem:
            seen = {
                subject: PollResult(subject, BurnState.UNKNOWN, message=poll.problem)
                for subject in (TRIGGER_SUBJECT, *self._states)
            }
        else:
            self._set_states(renamed_states(self._states, poll.seen))
            seen = {subject: PollResult(subject, BurnState.CALM) for subject in (TRIGGER_SUBJECT, *self._states)}
            seen |= {result.subject: result for result in poll.seen}
        begun, now = [], asyncio.get_running_loop().time()
        for subject, result in seen.items():
            before = self._states.get(subject, WatchState())
            state, incident = next_watch_state(before, result, poll.at, self.limits)
            if incident is not None:
                begun.append(incident)
            elif state.incident is not None and now - self._sent_at.get(state.incident.id, now) >= _DELIVERY_SECONDS:
                state = replace(state, sent=True)
            if before.incident is not None and state.incident is None:
                self.log.info("Incident %s is over", before.incident.id)
            self._set_states({subject: state} if state != before else {})
        return begun

    def _set_states(self, changed: Mapping[str, WatchState]) -> None:
        assert self._states is not None
        self._states |= changed
        self._unsaved |= set(changed)

    async def _load_states(self) -> str:
        """Read the state from the ledger; return the error message if that is not possible, else an empty text."""
        from airflow_slo_provider.runtime.incidents.current_incident import load_watch_states
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

        def read() -> dict[str, WatchState]:
            with open_default_ledger() as ledger:
                return load_watch_states(ledger, self.name)

        try:
            self._states = await in_thread(read)
        except Exception as error:
            return f"the trigger's state cannot be read: {error}"
        return ""

    def _handle_without_states(self, poll: WatchPoll, reason: str) -> list[Incident]:
        """Handle a poll while the state cannot be read: new and known incidents look alike, so the trigger is blind."""
        self.log.warning("%s", reason)
        lost = {TRIGGER_SUBJECT: WatchState(unknown_since=self._created_at, blind_sent=self._blind_sent, reason=reason)}
        _, incident = blind_incident(lost, poll.at, self.limits, watch=self.name)
        self._blind_sent = self._blind_sent or incident is not None
        return [] if incident is None else [incident]

    async def _store_states(self) -> None:
        """Write changed states to the ledger. If that fails, events are still sent and the next poll tries again."""
        from airflow_slo_provider.runtime.incidents.current_incident import save_watch_states
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

        assert self._states is not None
        changed = {subject: self._states[subject] for subject in self._unsaved}
        if not changed:
            return

        def write() -> None:
            with open_default_ledger() as ledger:
                save_watch_states(ledger, self.name, changed)

        try:
            await in_thread(write)
        except Exception as error:
            self.log.warning("The trigger's state cannot be written; it is written again after the next poll: %s", error)
        else:
            self._unsaved -= set(changed)


async def _cancel(task: asyncio.Future[Any] | None) -> None:
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


async def poll_in_thread(
    poll: Callable[[], T], interval: float, poll_timeout: float
) -> AsyncIterator[tuple[datetime, T | Exception]]:
    """Call a blocking function repeatedly in a thread and yield its results.

    A call that hangs is reported at each interval, and no second call is started while it runs.

    :param poll: the blocking function
    :param interval: seconds between the starts of two polls
    :param poll_timeout: seconds after which a running call is reported as a ``TimeoutError``
    """
    loop, pending = asyncio.get_running_loop(), None
    try:
        while True:
            started = loop.time()
            if pending is None:
                pending = asyncio.ensure_future(in_thread(poll))
            await asyncio.wait({pending}, timeout=poll_timeout)
            at = datetime.now(UTC)
            if not pending.done():
                yield at, TimeoutError(f"no answer after {poll_timeout:g} s, and none since")
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
