"""A failing poll that several triggers share is reported to each of them."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.runtime.freshness.source_parameters import read_source
from airflow_slo_provider.triggers import shared_polls


class Unclosable:
    """A client whose connection breaks while it is closed."""

    async def __aenter__(self) -> Unclosable:
        return self

    async def __aexit__(self, *_: Any) -> None:
        raise RuntimeError("cannot be closed")


def test_waiting_trigger_gets_the_error_if_the_client_cannot_be_closed(monkeypatch):
    async def client(_question: Any) -> Unclosable:
        return Unclosable()

    async def refused(_client: Any, _question: Any) -> None:
        raise QueryError("HTTP 401", reason="unauthorized")

    monkeypatch.setattr(shared_polls, "_client", client)
    monkeypatch.setattr(shared_polls, "_query", refused)
    asked = read_source({"external_dag_id": "orders", "conn_id": "airflow_default"})

    async def two_answers() -> list[Any]:
        found: list[Any] = []
        async for answer in shared_polls.Polls().observations(asked, 0.1):
            found.append(answer)
            if len(found) == 2:
                break
        return found

    answers = asyncio.run(asyncio.wait_for(two_answers(), 20))
    assert [answer.reason for answer in answers] == ["unauthorized", "unauthorized"]
