"""Query Prometheus without blocking the event loop, for triggers.

The settings, the checks of answers and the errors are those of the blocking client.
"""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Any, Self

from airflow_slo_provider.http.async_client import AsyncHttpClient
from airflow_slo_provider.indicators.prometheus import answers
from airflow_slo_provider.indicators.prometheus.answer_checks import check_headers, read_answer, read_envelope
from airflow_slo_provider.indicators.prometheus.answers import Sample
from airflow_slo_provider.indicators.prometheus.settings import Settings


class AsyncPrometheusClient:
    """Query a Prometheus server without blocking the event loop. Use it as ``async with``.

    :param url: base URL
    :param settings: further settings, see :class:`~airflow_slo_provider.indicators.prometheus.settings.Settings`
    """

    def __init__(self, url: str, **settings: Any) -> None:
        self.settings = Settings(url=url, **settings)
        self.url = self.settings.address
        self._http = AsyncHttpClient(self.settings)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def instant(self, query: str, at: datetime) -> list[Sample]:
        """Run an instant query.

        :param query: PromQL
        :param at: evaluation time (aware)
        :raises QueryError: when the server returned no complete, valid answer
        """
        form = {**self.settings.server_params, "query": query, "time": answers.format_time(at)}
        where: dict[str, Any] = {"form": form} if self.settings.method == "POST" else {"params": form}
        answer = await self._http.request(self.settings.method, "/api/v1/query", query=query, **where)
        check_headers(answer.headers, now=answer.began, query=query, source=self.url)
        envelope = read_envelope(
            answer.status, answer.body, query=query, source=self.url, secrets=self.settings.secrets,
            location=answer.headers.get("Location"),
        )  # fmt: skip
        result = read_answer(envelope, query=query, source=self.url)
        return answers.samples(result, query=query, source=self.url, at=answers.to_milliseconds(at))
