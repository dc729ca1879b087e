"""Share polls between triggers with the same source, and HTTP clients between triggers with the same connection.

A thousand sensors that wait for one DAG make one request per interval, not a thousand. All state lives in the single event loop
of the triggerer, so no locks against other threads are needed, and it is removed when the last trigger ends.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import MeasurementError, QueryError
from airflow_slo_provider.freshness import Observation
from airflow_slo_provider.runtime.freshness.source_parameters import FreshnessSource

#: Maximum number of concurrent requests to one server.
MAX_REQUESTS = 8
#: Shortest interval between two polls in seconds.
SHORTEST_INTERVAL = 0.1

ObservationOrError = Observation | MeasurementError


@dataclass
class _SharedClient:
    """The client of one connection, and the number of polls that use it."""

    users: int = 0
    client: Any = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    semaphore: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_REQUESTS))

    async def open(self, question: FreshnessSource) -> Any:
        """Return the client; the first caller opens it."""
        async with self.lock:
            if self.client is None:
                self.client = await (await _client(question)).__aenter__()
            return self.client

    async def close(self) -> None:
        """Close the client; the next caller opens a new one and reads the connection again."""
        async with self.lock:
            client, self.client = self.client, None
            if client is not None:
                with suppress(Exception):  # an error while closing must not end the polls
                    await client.__aexit__(None, None, None)


class _Poll:
    """One source that is polled repeatedly while there are listeners."""

    def __init__(self, question: FreshnessSource, interval: float, delay: float, clients: _Clients) -> None:
        self.listeners = 0
        self.next: asyncio.Future[ObservationOrError] = asyncio.get_running_loop().create_future()
        self._question, self._interval, self._clients = question, interval, clients
        self._task = asyncio.create_task(self._run(delay))

    async def _run(self, delay: float) -> None:
        async with self._clients.use(self._question) as client:
            await asyncio.sleep(delay)
            while True:
                self._publish(await self._query(client))
                await asyncio.sleep(self._interval)

    async def _query(self, client: _SharedClient) -> ObservationOrError:
        try:
            async with client.semaphore:
                return await _query(await client.open(self._question), self._question)
        except MeasurementError as error:
            if error.reason in ("unauthorized", "forbidden", "tls", "bad_url"):
                await client.close()  # the connection may have been changed: read it again
            return error
        except Exception as error:
            # E.g. a deleted connection or a failing secrets backend: the task must get the error, not only the triggerer's log.
            return QueryError(f"{type(error).__name__}: {server_text(error)}", reason="connection", transient=True)

    def _publish(self, result: ObservationOrError) -> None:
        current, self.next = self.next, asyncio.get_running_loop().create_future()
        current.set_result(result)

    def stop(self) -> None:
        """Stop polling."""
        self._task.cancel()


class Polls:
    """The polls that run in one event loop."""

    def __init__(self) -> None:
        self._polls: dict[str, _Poll] = {}
        self._clients = _Clients()

    async def observations(self, question: FreshnessSource, interval: float) -> AsyncIterator[ObservationOrError]:
        """Yield every result of polling a source from now on, as an observation or an error.

        The first poll is made within one interval, because a worker has just polled. Different sources are spread over the
        interval.

        :param question: the source
        :param interval: seconds between two polls, at least 0.1
        """
        interval = max(interval, SHORTEST_INTERVAL)
        key = json.dumps([question.kind, question.conn_id, dict(question.arguments), interval], sort_keys=True, default=str)
        if key not in self._polls:
            delay = interval * (zlib.crc32(key.encode()) % 1000) / 1000
            self._polls[key] = _Poll(question, interval, delay, self._clients)
        poll = self._polls[key]
        poll.listeners += 1
        try:
            while True:
                # Shielded: a cancelled listener must not cancel the future that the others wait for.
                yield await asyncio.shield(poll.next)
        finally:
            poll.listeners -= 1
            if not poll.listeners:
                poll.stop()
                self._polls.pop(key, None)

    def __len__(self) -> int:
        return len(self._polls)


class _Clients:
    """HTTP clients by connection; opened at the first poll and closed after the last."""

    def __init__(self) -> None:
        self._shared: dict[tuple[bool, str], _SharedClient] = {}

    @asynccontextmanager
    async def use(self, question: FreshnessSource) -> AsyncIterator[_SharedClient]:
        """Hold the client of a source's connection while the context is open."""
        key = (question.kind == "query", str(question.conn_id))
        client = self._shared.setdefault(key, _SharedClient())
        client.users += 1
        try:
            yield client
        finally:
            client.users -= 1
            if not client.users:
                del self._shared[key]
                await client.close()


async def _client(question: FreshnessSource) -> AbstractAsyncContextManager[Any]:
    from airflow_slo_provider.runtime.freshness.checks import token_path

    if question.kind == "query":
        from airflow_slo_provider.hooks.prometheus import PrometheusHook

        return await PrometheusHook(str(question.conn_id)).aclient()
    from airflow_slo_provider.freshness.sources.http_client import AsyncApiClient
    from airflow_slo_provider.runtime.connections.http import async_api_settings

    return AsyncApiClient(await async_api_settings(str(question.conn_id), token_path=token_path(question)))


async def _query(client: Any, question: FreshnessSource) -> Observation:
    from airflow_slo_provider.freshness.sources.http_steps import run_async
    from airflow_slo_provider.runtime.freshness.checks import http_steps, prometheus_query

    if question.kind != "query":
        return await run_async(http_steps(question), client.send)
    promql, now = prometheus_query(question), datetime.now(UTC)
    samples = await client.instant(promql.query, now)
    return promql.read(samples, at=now, where=f"connection {question.conn_id}")


_polls_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Polls] = WeakKeyDictionary()


def polls() -> Polls:
    """Return the :class:`Polls` of the running event loop."""
    return _polls_by_loop.setdefault(asyncio.get_running_loop(), Polls())
