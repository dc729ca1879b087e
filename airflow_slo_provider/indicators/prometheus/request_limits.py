"""Asking a Prometheus server within an evaluation's deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.answers import RangeSeries, Sample
from airflow_slo_provider.slo.budget.deadline import Deadline

if TYPE_CHECKING:
    from airflow_slo_provider.indicators.prometheus.client import PrometheusClient

#: The deadline of the evaluation that this thread asks for.
_ASKING = threading.local()


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """Let this thread's requests take no longer than a deadline allows, their repetitions included."""
    before, _ASKING.deadline = current_deadline(), deadline
    try:
        yield
    finally:
        _ASKING.deadline = before


def current_deadline() -> Deadline | None:
    """Return the deadline that this thread's requests have, if any."""
    found: Deadline | None = getattr(_ASKING, "deadline", None)
    return found


def at_most(seconds: float) -> float:
    """Return these seconds, or what is left of the deadline: never nothing, which would mean no limit."""
    deadline = current_deadline()
    return seconds if deadline is None else max(0.001, min(seconds, deadline.left()))


class Client(Protocol):
    """What queries are asked with."""

    @property
    def url(self) -> str:
        """The server, for messages."""
        ...

    def instant(self, query: str, at: datetime) -> list[Sample]:
        """Ask at one instant."""
        ...

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> list[RangeSeries]:
        """Ask at several instants."""
        ...


class LimitedClient:
    """A client that asks no longer than an evaluation may, and not at all once the server did not answer in time.

    :param client: asks
    :param deadline: of the evaluation
    :param source: whose client it is: what the deadline remembers
    """

    def __init__(self, client: PrometheusClient, deadline: Deadline, source: object) -> None:
        self._client, self._deadline, self._source = client, deadline, source
        self.url = client.url

    def instant(self, query: str, at: datetime) -> list[Sample]:
        """Ask at one instant.

        :raises QueryError: reason ``not_asked`` or ``deadline`` where the server is not asked
        """
        self._observe(query)
        try:
            with within(self._deadline):
                return self._client.instant(query, at)
        except QueryError as error:
            self._deadline.note(self._source, [error])
            raise

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> list[RangeSeries]:
        """Ask at several instants; errors as of :meth:`instant`."""
        self._observe(query)
        try:
            with within(self._deadline):
                return self._client.range(query, start, end, step)
        except QueryError as error:
            self._deadline.note(self._source, [error])
            raise

    def _observe(self, query: str) -> None:
        refusal = self._deadline.refusal(self._source)
        if refusal is not None:
            refusal.query, refusal.source = query, self.url
            raise refusal
