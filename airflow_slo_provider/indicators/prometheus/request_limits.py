"""Asking a Prometheus server within an evaluation's deadline."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.time_limits import within
from airflow_slo_provider.indicators.prometheus.answers import RangeSeries, Sample
from airflow_slo_provider.slo.budget.deadline import Deadline


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

    def __init__(self, client: Client, deadline: Deadline, source: object) -> None:
        self._client, self._deadline, self._source = client, deadline, source
        self.url = client.url

    def instant(self, query: str, at: datetime) -> list[Sample]:
        """Ask at one instant.

        :raises QueryError: reason ``not_asked`` or ``deadline`` where the server is not asked
        """
        self._observe(query)
        try:
            with within(self._deadline.left):
                return self._client.instant(query, at)
        except QueryError as error:
            self._deadline.note(self._source, [error])
            raise

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> list[RangeSeries]:
        """Ask at several instants; errors as of :meth:`instant`."""
        self._observe(query)
        try:
            with within(self._deadline.left):
                return self._client.range(query, start, end, step)
        except QueryError as error:
            self._deadline.note(self._source, [error])
            raise

    def _observe(self, query: str) -> None:
        refusal = self._deadline.refusal(self._source)
        if refusal is not None:
            refusal.query, refusal.source = query, self.url
            raise refusal
