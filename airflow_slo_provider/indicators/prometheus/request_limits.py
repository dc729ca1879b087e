"""Query a Prometheus server within an evaluation's deadline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Protocol

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.http.time_limits import within
from airflow_slo_provider.indicators.prometheus.answers import RangeSeries, Sample
from airflow_slo_provider.indicators.request_errors import check_deadline
from airflow_slo_provider.slo.budget.deadline import Deadline


class Client(Protocol):
    """The client interface that queries need."""

    @property
    def url(self) -> str:
        """URL of the server, for messages."""
        ...

    def instant(self, query: str, at: datetime) -> list[Sample]:
        """Run an instant query."""
        ...

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> list[RangeSeries]:
        """Run a range query."""
        ...


class LimitedClient:
    """A client that observes an evaluation's deadline, and sends no more queries after the server did not answer in time.

    :param client: the client that runs the queries
    :param deadline: deadline of the evaluation
    :param source: key by which the deadline remembers a failed source
    """

    def __init__(self, client: Client, deadline: Deadline, source: object) -> None:
        self._client, self._deadline, self._source = client, deadline, source
        self.url = client.url

    def instant(self, query: str, at: datetime) -> list[Sample]:
        """Run an instant query.

        :raises QueryError: reason ``not_asked`` or ``deadline`` if the query is not sent
        """
        with self._limited(query):
            return self._client.instant(query, at)

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> list[RangeSeries]:
        """Run a range query; errors are those of :meth:`instant`."""
        with self._limited(query):
            return self._client.range(query, start, end, step)

    @contextmanager
    def _limited(self, query: str) -> Iterator[None]:
        check_deadline(self._deadline, self._source, query=query, url=self.url)
        try:
            with within(self._deadline.left):
                yield
        except QueryError as error:
            self._deadline.note(self._source, [error])
            raise
