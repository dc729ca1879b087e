"""What Airflow asks of a trigger before it runs: that it can be written down and made again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger

from airflow_slo_provider.triggers.burn_rate import AlertmanagerTrigger, BurnRateTrigger

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
