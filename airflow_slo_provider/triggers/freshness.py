"""Trigger of the freshness sensors: poll a source and resume the task when it is fresh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_slo_provider.exceptions import MeasurementError
from airflow_slo_provider.freshness import Limits, Reason, assess
from airflow_slo_provider.runtime.deferral import MIN_DEFERRAL, earliest_resume, wait_until
from airflow_slo_provider.runtime.freshness.source_parameters import FreshnessSource
from airflow_slo_provider.triggers.shared_polls import polls

#: Consecutive failed polls after which the task is resumed. A server may restart while thousands of sensors wait for it.
MAX_ERRORS = 3
#: Longest difference of two datetimes. A longer limit has the same effect and might overflow as a number of seconds.
_MAX_AGE = timedelta(days=366 * 10_000)


def trigger_for(question: FreshnessSource, limits: Limits, interval: timedelta, left: timedelta) -> BaseTrigger:
    """Return the trigger for a sensor: one that polls the source itself, or one that resumes the task for the next poke.

    :param question: the source
    :param limits: the limits of freshness
    :param interval: time between two polls
    :param left: time left until the sensor's timeout
    """
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger

    from airflow_slo_provider.runtime.freshness.checks import can_poll_in_trigger

    try:
        polls_itself = can_poll_in_trigger(question)
    except Exception:  # the connection cannot be read here; the next poke on a worker reports the error or goes on
        polls_itself = False
    if polls_itself:
        return FreshnessTrigger(
            kind=question.kind,
            conn_id=str(question.conn_id),
            arguments=dict(question.arguments),
            interval=interval.total_seconds(),
            max_age=min(limits.max_age, _MAX_AGE).total_seconds(),
            quantile=None if limits.quantile is None else str(limits.quantile),
            tolerance=min(limits.tolerance, _MAX_AGE).total_seconds(),
            until=(datetime.now(UTC) + max(left, timedelta(0))).isoformat(),
            not_before=earliest_resume().isoformat(),
        )
    return DateTimeTrigger(moment=datetime.now(UTC) + max(min(interval, left), MIN_DEFERRAL))


class FreshnessTrigger(BaseTrigger):
    """Fire when a source is fresh, on an error that waiting cannot fix, after three consecutive errors, or at the timeout.

    The sensors create this trigger. The event only resumes the task; the task measures again itself. Triggers with the same
    source and arguments share their polls, and triggers with the same connection share its client.

    :param kind: kind of the source
    :param conn_id: the Airflow connection
    :param arguments: arguments of the source
    :param interval: seconds between two polls
    :param max_age: maximum age in seconds
    :param quantile: share of the groups that must be fresh; all by default
    :param tolerance: seconds by which a timestamp may lie in the future
    :param until: when the sensor's timeout is over (ISO 8601 with a time zone); None for never
    :param not_before: earliest time to fire (ISO 8601 with a time zone); None for no limit
    """

    def __init__(
        self,
        *,
        kind: str,
        conn_id: str,
        arguments: dict[str, Any],
        interval: float,
        max_age: float,
        quantile: str | None = None,
        tolerance: float = 60,
        until: str | None = None,
        not_before: str | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.conn_id, self.arguments, self.interval = kind, conn_id, arguments, interval
        self.max_age, self.quantile, self.tolerance = max_age, quantile, tolerance
        self.until, self.not_before = until, not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments of this trigger."""
        names = ("kind", "conn_id", "arguments", "interval", "max_age", "quantile", "tolerance", "until", "not_before")
        return "airflow_slo_provider.triggers.freshness.FreshnessTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until there is an event, and yield it not before ``not_before``."""
        event = await self._event()
        await wait_until(self.not_before)
        yield event

    async def _event(self) -> TriggerEvent:
        question = FreshnessSource(kind=self.kind, conn_id=self.conn_id, arguments=self.arguments)
        limits = Limits(timedelta(seconds=self.max_age), quantile=self.quantile, tolerance=timedelta(seconds=self.tolerance))
        errors = 0
        async with aclosing(polls().observations(question, self.interval)) as observations:
            while True:
                try:
                    async with asyncio.timeout(self._seconds_left()):
                        observation = await anext(observations)
                except TimeoutError:
                    return TriggerEvent({"status": "timeout"})
                if isinstance(observation, MeasurementError):
                    errors += 1
                    self.log.warning("Freshness cannot be measured: %s", observation)
                    if not observation.transient or errors >= MAX_ERRORS:
                        return TriggerEvent({"status": "error", "reason": observation.reason})
                    continue
                errors = 0
                found = assess(observation, datetime.now(UTC), limits)
                self.log.debug("Freshness of %s", found.message)
                if found.freshness.fresh or found.freshness.reason is Reason.CLOCK_SKEW:
                    self.log.info("Freshness of %s", found.message)
                    return TriggerEvent({"status": found.freshness.reason.value})

    def _seconds_left(self) -> float | None:
        return None if self.until is None else max((datetime.fromisoformat(self.until) - datetime.now(UTC)).total_seconds(), 0.0)
