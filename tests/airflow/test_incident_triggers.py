"""What Airflow asks of a trigger before it runs: that it can be written down and made again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from airflow_slo_provider.indicators.alertmanager import Alert
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.triggers.burn_rate import AlertmanagerTrigger, BurnRateTrigger
from airflow_slo_provider.triggers.incident_watch import WatchPoll
from tests.unit.slo.monitor_builders import AT, MemorySource, steady
from tests.unit.slo.test_names_by_service import two

MADE = [
    BurnRateTrigger(slos="/opt/slos"),
    BurnRateTrigger(slos=["/a", "/b"], select="one", severity="ticket", poll_interval=5, rearm="0.25", cool_down=1, name="x"),
    AlertmanagerTrigger(matchers='severity="page"'),
    AlertmanagerTrigger(matchers=["a=b"], group_by=("slo",), slo_label="name", poll_interval=2, name="y"),
]


@pytest.mark.parametrize("trigger", MADE)
def test_trigger_survives_serialization(trigger: BaseEventTrigger):
    path, kwargs = trigger.serialize()
    again = type(trigger)(**json.loads(json.dumps(kwargs)))
    assert path == f"{type(trigger).__module__}.{type(trigger).__qualname__}"
    assert again.serialize() == trigger.serialize()
    assert again.name == trigger.name, "its memory is found again"
    assert BaseEventTrigger.hash(*again.serialize()) == BaseEventTrigger.hash(*trigger.serialize())


def test_asset_watcher_accepts_trigger():
    for trigger in MADE:
        assert Asset("burning", watchers=[AssetWatcher(name="burn", trigger=trigger)]).watchers[0].trigger is trigger


def test_different_triggers_have_different_state_names():
    names = {one.name for one in (*MADE, BurnRateTrigger(slos="/other"), BurnRateTrigger(slos="/opt/slos", select="one"))}
    assert len(names) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"slos": ""}, "slos is empty"),
        ({"slos": "/x", "severity": "p1"}, "severity='p1'"),
        ({"slos": "/x", "rearm": 2}, "rearm=2"),
        ({"slos": "/x", "poll_interval": 0.1}, "poll_interval=0.1"),
        ({"slos": "/x", "cool_down": -1}, "cool_down=-1"),
        ({"slos": "/x", "blind_after": float("inf")}, "blind_after=inf"),
        ({"slos": "/x", "blind_after": "5m"}, "blind_after='5m'"),
    ],
)
def test_invalid_arguments_are_rejected_at_parse_time(arguments: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        BurnRateTrigger(**arguments)


@pytest.mark.parametrize("arguments", [{"matchers": []}, {"matchers": " "}, {"matchers": "a=b", "group_by": ()}])
def test_alertmanager_trigger_requires_matchers_and_group_by(arguments: dict[str, Any]):
    with pytest.raises(ValueError, match="is empty"):
        AlertmanagerTrigger(**arguments)


def alert(slo: str, **labels: str) -> Alert:
    labels = {"alertname": "Burns", "slo": slo, "severity": "page", **labels}
    return Alert(str(labels), labels, {}, datetime(2026, 11, 1, tzinfo=UTC))


def test_alerts_about_slos_of_two_services_are_two_incidents():
    trigger = AlertmanagerTrigger(matchers=["severity=page"])
    alerts = [alert("availability", slo_service=service) for service in ("cart", "pay", "pay")]
    found = trigger._sightings([*alerts, alert("availability")])
    assert {(one.subject, one.evidence["alerts"], one.evidence.get("slo_service")) for one in found} == {
        ("Burns/availability/cart", 1, "cart"),
        ("Burns/availability/pay", 2, "pay"),
        ("Burns/availability", 1, None),
    }
    assert {one.earlier_subjects for one in found} == {("Burns/availability",), ()}


@pytest.mark.parametrize("group_by", [["alertname"], ["alertname", "slo", "slo_service"], ["sloth_slo", "sloth_service"]])
def test_alerts_are_not_split_by_service_beyond_group_by(group_by: list[str]):
    trigger = AlertmanagerTrigger(matchers=["severity=page"], group_by=group_by)
    sloth = {"sloth_slo": "availability", "sloth_service": "cart"}
    found = trigger._sightings([alert("availability", slo_service="cart", **sloth)])
    assert [one.earlier_subjects for one in found] == [()]


def test_burn_rate_trigger_distinguishes_services():
    reports = SLOMonitor(two(), MemorySource(cart=steady(0), pay=steady(0))).evaluate(AT)

    async def polls(select: list[str] | None) -> list[WatchPoll]:
        async def stream() -> AsyncIterator[Any]:
            yield AT, reports

        trigger = BurnRateTrigger(slos="/opt/slos", select=select)
        return [poll async for poll in trigger._polls(stream())]

    (poll,) = asyncio.run(polls(None))
    assert [(one.subject, one.earlier_subjects) for one in poll.seen] == [
        ("cart/availability", ("availability",)),
        ("pay/availability", ("availability",)),
    ]
    (poll,) = asyncio.run(polls(["pay/availability"]))
    assert [one.subject for one in poll.seen] == ["pay/availability"]
    (poll,) = asyncio.run(polls(["availability"]))
    assert "write one of 'cart/availability', 'pay/availability'" in poll.problem
