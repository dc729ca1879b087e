"""The Alertmanager trigger against a real Alertmanager, in an event loop of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.triggers.burn_rate import AlertmanagerTrigger
from tests.services.alertmanager_server import fire, running_alertmanager
from tests.services.incident_triggers import collect_incidents
from tests.services.prometheus_server import free_port


@pytest.fixture
def alertmanager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with running_alertmanager(tmp_path / "alertmanager") as url:
        monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps({"conn_type": "prometheus", "host": url}))
        yield url


def alerts(**arguments: Any) -> AlertmanagerTrigger:
    return AlertmanagerTrigger(
        **{
            "matchers": ['severity=~"page|critical"'], "alertmanager_conn_id": "alerts", "poll_interval": 1, "cool_down": 600,
            "blind_after": 600, "name": "alerts", **arguments,
        }
    )  # fmt: skip


def test_firing_alerts_are_grouped_into_incidents(own_ledger: Path, alertmanager: str):
    fire(alertmanager, alertname="Burns", slo="checkout", severity="page", pod="a", annotations={"summary": "it burns"})
    fire(alertmanager, alertname="Burns", slo="checkout", severity="page", pod="b")
    fire(alertmanager, alertname="Burns", slo="search", severity="critical")
    fire(alertmanager, alertname="Burns", slo="other", severity="ticket")

    async def play() -> None:
        found = await collect_incidents(alerts(), 10, until=2)
        assert {(one["subject"], one["severity"], one["evidence"]["alerts"]) for one in found} == {
            ("Burns/checkout", "page", 2),
            ("Burns/search", "critical", 1),
        }
        (checkout,) = [one for one in found if one["subject"] == "Burns/checkout"]
        assert checkout["evidence"]["slo"] == "checkout"
        assert datetime.now(UTC) - datetime.fromisoformat(checkout["started_at"]) < timedelta(minutes=1)
        assert {one["id"] for one in await collect_incidents(alerts(), 10)} == {one["id"] for one in found}
        assert await collect_incidents(alerts(), 3) == []

    asyncio.run(play())


def test_unavailable_alertmanager_ends_no_incident(own_ledger: Path, alertmanager: str, monkeypatch: pytest.MonkeyPatch):
    (event,) = asyncio.run(collect_incidents(alerts(matchers=["=nonsense="], blind_after=1, name="a"), 10, until=1))
    assert event["kind"] == "blind" and "HTTP 400" in event["message"]
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps({"conn_type": "prometheus", "host": f"http://127.0.0.1:{free_port()}"}))
    (event,) = asyncio.run(collect_incidents(alerts(blind_after=1, name="b"), 10, until=1))
    assert event["kind"] == "blind" and "refused" in event["message"]
    monkeypatch.delenv("AIRFLOW_CONN_ALERTS")
    (event,) = asyncio.run(collect_incidents(alerts(blind_after=1, name="c"), 10, until=1))
    assert event["kind"] == "blind" and "alerts" in event["message"]
