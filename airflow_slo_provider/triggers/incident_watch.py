"""What the triggers share that start an incident's DAG: looks come in, and each incident goes out once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_slo_provider.incidents.incident import Incident
from airflow_slo_provider.incidents.incident_state import Limits, Memory, Seen, Sighting, blind, remember

T = TypeVar("T")
#: The subject that stands for the watch itself: what is unknown when nothing at all could be looked at.
ITSELF = ""
#: Seconds after which an event that was handed over has certainly reached Airflow's database.
_HANDED_OVER = 5.0
#: Seconds between two events. Airflow queues a run for an asset once: an event that comes while one is queued, and after the
#: moment up to which that run takes events, starts nothing.
APART = 10.0
#: No server need be asked more often.
SHORTEST_INTERVAL = 1.0


@dataclass(frozen=True)
class Look:
    """One look.

    :param at: when (aware)
    :param seen: what was seen; whatever is not in it is calm
    :param problem: why nothing could be seen
    """

    at: datetime
    seen: Sequence[Sighting] = ()
    problem: str = ""


class IncidentWatchTrigger(BaseEventTrigger):
    """Base of the triggers that start an incident's DAG.

    What it remembers stands in the ledger, so that a triggerer that is restarted during an incident starts no second run. It
    writes down an incident before it tells of it, and that it has told some seconds later: an event that a crash may have lost
    in between is told again with the same id, and the run that comes second finds the incident taken.

    :param name: name of the watch, which its memory is kept under
    :param poll_interval: seconds between two looks
    :param cool_down: seconds it must be calm without a break before the incident is over
    :param blind_after: seconds nothing may be known before an event of kind ``blind`` tells of it
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
        self._memories: dict[str, Memory] | None = None
        self._unsaved: set[str] = set()
        self._told: dict[str, float] = {}
        self._waiting: list[Incident] = []
        self._last = float("-inf")
        self._since = datetime.now(UTC)
        self._blind_told = False

    @property
    def limits(self) -> Limits:
        """How long things last before they count."""
        return Limits(timedelta(seconds=self.cool_down), timedelta(seconds=self.blind_after))

    async def events(self, looks: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each incident that begins, and one for each time that nothing is known for too long."""
        loop = asyncio.get_running_loop()
        async with aclosing(looks) as incoming:  # type: ignore[type-var]
            pending: asyncio.Future[Look | None] | None = None
            try:
                while True:
                    # A task that is kept: what waits to be told must not break off a look, nor wait until the next has come.
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
                # Waited for: as long as it runs, what it comes from cannot be closed.
                await _ended(pending)

    async def _taken(self, look: Look) -> list[Incident]:
        try:
            return await self._take(look)
        except Exception:  # one look must never end the watch
            self.log.exception("This look could not be taken in; the next one is")
            return []

    async def _take(self, look: Look) -> list[Incident]:
        if look.problem:
            self.log.warning("Nothing could be looked at: %s", look.problem)
        if self._memories is None:
            lost = await self._recall()
            if self._memories is None:
                return self._without_memory(look, lost)
            again = [one.incident for one in self._memories.values() if one.incident is not None and not one.told]
        else:
            again = []
        begun = [*again, *self._remember(look)]
        changed, told = blind(self._memories, look.at, self.limits, watch=self.name)
        self._change(changed)
        if told is not None:
            begun.append(told)
        await self._save()
        return begun

    def _remember(self, look: Look) -> list[Incident]:
        assert self._memories is not None
        if look.problem:
            seen = {subject: Sighting(subject, Seen.UNKNOWN, message=look.problem) for subject in (ITSELF, *self._memories)}
        else:
            seen = {subject: Sighting(subject, Seen.CALM) for subject in (ITSELF, *self._memories)}
            seen |= {one.subject: one for one in look.seen}
        begun, now = [], asyncio.get_running_loop().time()
        for subject, one in seen.items():
            before = self._memories.get(subject, Memory())
            memory, incident = remember(before, one, look.at, self.limits)
            if incident is not None:
                begun.append(incident)
            elif (
                memory.incident is not None and not memory.told and now - self._told.get(memory.incident.id, now) >= _HANDED_OVER
            ):
                memory = replace(memory, told=True)
            if before.incident is not None and memory.incident is None:
                self.log.info("Incident %s is over", before.incident.id)
            self._change({subject: memory} if memory != before else {})
        return begun

    def _change(self, changed: Mapping[str, Memory]) -> None:
        assert self._memories is not None
        self._memories |= changed
        self._unsaved |= set(changed)

    async def _recall(self) -> str:
        """Read what is remembered; return why that is not possible."""
        from airflow_slo_provider.runtime.incidents.current_incident import recall
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

        def read() -> dict[str, Memory]:
            with open_default_ledger() as ledger:
                return recall(ledger, self.name)

        try:
            self._memories = await in_thread(read)
        except Exception as error:
            return f"what was seen before cannot be read: {error}"
        return ""

    def _without_memory(self, look: Look, reason: str) -> list[Incident]:
        """Without memory nobody can tell an incident that begins from one that goes on: that is not knowing, too."""
        self.log.warning("%s", reason)
        lost = {ITSELF: Memory(unknown_since=self._since, blind_told=self._blind_told, reason=reason)}
        _, told = blind(lost, look.at, self.limits, watch=self.name)
        self._blind_told = self._blind_told or told is not None
        return [told] if told is not None else []

    async def _save(self) -> None:
        """Write down what has changed. A ledger that cannot be written silences no incident."""
        from airflow_slo_provider.runtime.incidents.current_incident import keep
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

        assert self._memories is not None
        changed = {subject: self._memories[subject] for subject in self._unsaved}
        if not changed:
            return

        def write() -> None:
            with open_default_ledger() as ledger:
                keep(ledger, self.name, changed)

        try:
            await in_thread(write)
        except Exception as error:
            self.log.warning("What was seen cannot be written down, and will be with the next look: %s", error)
        else:
            self._unsaved -= set(changed)


async def _ended(task: asyncio.Future[Any] | None) -> None:
    """Break a task off and wait until it has ended, however it ends."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at, or the event loop complains of it


async def in_thread(function: Callable[[], T]) -> T:
    """Run something that blocks beside the event loop. Airflow's own look-ups work in it, too."""
    from asgiref.sync import sync_to_async

    return await sync_to_async(function, thread_sensitive=False)()


async def polled(look: Callable[[], T], interval: float, patience: float) -> AsyncIterator[tuple[datetime, T | Exception]]:
    """Look again and again, in a thread; a look that hangs is told of each time, and no second one is begun beside it.

    :param look: what blocks
    :param interval: seconds between the beginnings of two looks
    :param patience: seconds after which a look is said to hang
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
