from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.incidents.culprit import find_outlier
from airflow_slo_provider.incidents.serving import ACTIONS, decision_document, read_decision, valid_decisions
from airflow_slo_provider.slo.policy.error_budget_policy import Action

NOW = datetime(2026, 11, 24, 5, tzinfo=UTC)


def write_decision(path: Path, action: str, **more) -> Path:
    made = decision_document(
        action, reasons=["because"], at=NOW, until=NOW + timedelta(hours=1), source="d/r/t", slos={"a": "HEALTHY"}
    )
    path.write_text(json.dumps({**made, **more}))
    return path


@pytest.mark.parametrize(
    ("action", "experiments", "degraded"),
    [
        ("allow", True, False),
        ("alert", True, False),
        ("reduce_experimentation", False, False),
        ("degrade", False, True),
        ("escalate", False, False),
        ("freeze", False, False),
    ],
)
def test_action_sets_experiments_and_degraded(action: str, experiments: bool, degraded: bool, tmp_path: Path):
    found = read_decision(write_decision(tmp_path / "d.json", action), NOW)
    assert (found.action, found.experiments, found.degraded, found.known, found.reason) == (
        action,
        experiments,
        degraded,
        True,
        "because",
    )


def test_every_policy_action_has_a_serving_meaning():
    assert [*ACTIONS] == [action.value for action in Action]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text(path.read_text().replace('"degrade"', '"explode"')),
        lambda path: write_decision(path, "degrade", schema_version=9),
        lambda path: write_decision(path, "degrade", valid_until="2026-11-24T06:00:00"),  # no zone
        lambda path: write_decision(path, "degrade", valid_until=NOW.isoformat()),  # over by now
    ],
)
def test_missing_or_invalid_decision_stops_only_experiments(damage, tmp_path: Path):
    path = write_decision(tmp_path / "d.json", "degrade")
    damage(path)
    found = read_decision(str(path), NOW)
    assert (found.known, found.experiments, found.degraded) == (False, False, False)
    assert found.reason


def held_decision(action: str, held_by: str, hours: int, beside: Any = ()) -> dict[str, Any]:
    return decision_document(
        action, reasons=[f"{held_by} says so"], at=NOW, until=NOW + timedelta(hours=hours), source="d/r/t", slos={},
        held_by=held_by, beside=beside,
    )  # fmt: skip


def test_decisions_of_several_requesters_are_combined_until_each_expires(tmp_path: Path):
    path, seen = tmp_path / "d.json", []
    for action, held_by, hours in (("degrade", "a", 1), ("reduce_experimentation", "b", 2), ("allow", "c", 3)):
        path.write_text(json.dumps(held_decision(action, held_by, hours, valid_decisions(path, NOW))))
    for hours in (0, 1, 2, 3):
        found = read_decision(path, NOW + timedelta(hours=hours))
        seen.append((found.action, found.experiments, found.degraded, found.reason))
    assert seen[:3] == [
        ("degrade", False, True, "a says so; b says so"),
        ("reduce_experimentation", False, False, "b says so"),
        ("allow", True, False, "c says so"),
    ]
    assert seen[3][:3] == ("unknown", False, False) and "expired: degrade at" in seen[3][3]
    assert [one["held_by"] for one in valid_decisions(path, NOW)] == ["a", "b", "c"]
    whole = json.loads(path.read_text())
    assert (whole["action"], whole["degraded"], whole["valid_until"]) == ("degrade", True, (NOW + timedelta(hours=1)).isoformat())


def test_decision_document_with_unknown_action_is_rejected():
    with pytest.raises(ValueError, match="must be one of allow"):
        decision_document("explode", reasons=[], at=NOW, until=NOW, source="", slos={})


@pytest.mark.parametrize(
    ("values", "name", "said"),
    [
        ({"1": "0", "2": "0.3"}, "2", "the next one"),
        ({"1": "0.2", "2": "0.3"}, None, "neither exceeds the other by a factor of 2"),
        ({"2": "0.3"}, "2", "there is no other"),
        ({"1": "0", "2": "0.001"}, None, "below 0.01"),
        ({"1": None, "2": None}, None, "there are no values to compare"),
        ({"1": None, "2": "0.3"}, "2", "there is no other"),
        ({}, None, "there are no values to compare"),
        ({"1": "0", "2": "0"}, None, "below"),
    ],
)
def test_find_outlier_returns_name_and_reason(values: dict, name: str | None, said: str):
    exact = {key: None if value is None else Fraction(value) for key, value in values.items()}
    found = find_outlier(exact, at_least=Fraction(1, 100), times=Fraction(2))
    assert found.name == name and said in found.message
