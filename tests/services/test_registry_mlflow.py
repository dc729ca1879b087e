"""Promotion and rollback in a real MLflow registry through its REST API."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from airflow_slo_provider.deployment.registries.history import AliasConflict, Move, RegistryError
from airflow_slo_provider.deployment.registries.mlflow import MlflowRegistry
from airflow_slo_provider.deployment.registries.names import NONE, PREVIOUS
from airflow_slo_provider.deployment.registries.registry import MoveRequest
from airflow_slo_provider.hooks.model_registry import ModelRegistryHook
from airflow_slo_provider.results import Verdict
from tests.airflow.golden_files import GoldenFiles, files
from tests.airflow.promotion_process import start, wait_for
from tests.services.mlflow_server import call, make_model, mlflow, proxy

__all__ = ["files", "mlflow"]


def promote_request(to: str, key: str, **more: Any) -> MoveRequest:
    return MoveRequest(kind="promote", alias="champion", key=key, to=to, **more)


def rollback_request(key: str, **more: Any) -> MoveRequest:
    return MoveRequest(kind="rollback", alias="champion", key=key, **more)


def alias(url: str, name: str, which: str = "champion") -> str | None:
    """What MLflow itself says; a missing alias is HTTP 400 there."""
    try:
        return str(call(url, f"registered-models/alias?name={name}&alias={which}", {}, "GET")["model_version"]["version"])
    except HTTPError as error:
        if error.code != 400:
            raise
        return None


def tags(url: str, name: str) -> dict[str, str]:
    found = call(url, f"registered-models/get?name={name}", {}, "GET")["registered_model"]
    return {one["key"]: one["value"] for one in found.get("tags", ())}


def pending_tags(url: str, name: str) -> list[str]:
    """Tags of moves that are under way."""
    return [key for key in tags(url, name) if key.startswith("airflow-slo.pending")]


def start_move(url: str, name: str, move: Move, tag: str = "airflow-slo.pending.champion") -> None:
    """What a task leaves that is killed before it has moved anything."""
    call(url, "registered-models/set-tag", {"name": name, "key": tag, "value": move.to_json()})


#: The second is what was written when there was one tag for all aliases.
PENDING = ("airflow-slo.pending.champion", "airflow-slo.pending")


def test_promotions_and_rollbacks_move_alias_and_tags(mlflow: str) -> None:
    make_model(mlflow, "fraud", champion=None)
    registry = MlflowRegistry(mlflow)
    assert registry.alias("fraud", "champion") is None
    first = registry.move("fraud", promote_request("1", "a", expected=NONE))
    assert (first.changed, first.before) == (True, None)
    evidence = {"verdict": "pass", "report": "file:///r.html"}
    second = registry.move("fraud", promote_request("2", "b", expected="1", by="dag.promote", evidence=evidence))
    assert second.changed
    assert (alias(mlflow, "fraud"), alias(mlflow, "fraud", PREVIOUS)) == ("2", "1")
    assert [(one.before, one.after, one.by, one.evidence) for one in registry.moves("fraud")][1] == (
        "1",
        "2",
        "dag.promote",
        evidence,
    )
    # Moving an alias changes no timestamp in MLflow: the promotion leaves its own.
    promoted_at = datetime.fromisoformat(registry.get("fraud", "2").tags["airflow-slo.promoted_at"])
    assert datetime.now(UTC) - promoted_at < timedelta(minutes=1)
    third = registry.move("fraud", promote_request("3", "c"))
    assert not registry.move("fraud", promote_request("3", "c", expected="2")).changed
    assert (third.before, registry.move("fraud", rollback_request("d")).after) == ("2", "2")
    assert not registry.move("fraud", rollback_request("d")).changed
    assert alias(mlflow, "fraud", PREVIOUS) == "1"
    assert registry.move("fraud", rollback_request("e")).after == "1"
    assert alias(mlflow, "fraud", PREVIOUS) is None
    with pytest.raises(RegistryError, match="no predecessor of version 1"):
        registry.move("fraud", rollback_request("f"))
    assert alias(mlflow, "fraud") == "1"
    assert not pending_tags(mlflow, "fraud")
    assert len(registry.moves("fraud")) == 5


def test_promotion_with_unexpected_champion_is_rejected(mlflow: str) -> None:
    make_model(mlflow, "moved")
    registry = MlflowRegistry(mlflow)
    call(mlflow, "registered-models/alias", {"name": "moved", "alias": "champion", "version": "3"})
    with pytest.raises(AliasConflict, match="names 3, not 1 as expected"):
        registry.move("moved", promote_request("2", "a", expected="1"))
    assert alias(mlflow, "moved") == "3"
    assert tags(mlflow, "moved") == {}


def test_missing_model_version_or_server_is_reported(mlflow: str) -> None:
    make_model(mlflow, "some")
    registry = MlflowRegistry(mlflow)
    for wanted, model in ((promote_request("9", "a"), "some"), (promote_request("1", "a"), "none")):
        with pytest.raises(RegistryError) as error:
            registry.move(model, wanted)
        assert (error.value.reason, error.value.transient) == ("not_found", False)
    assert alias(mlflow, "some") == "1"
    with pytest.raises(RegistryError, match="refused the connection") as gone:
        MlflowRegistry("http://127.0.0.1:1", retries=0).alias("some", "champion")
    assert gone.value.transient


@pytest.mark.parametrize("tag", PENDING)
def test_move_in_progress_blocks_other_moves(mlflow: str, tag: str) -> None:
    name = f"busy-{tag}"
    make_model(mlflow, name)
    registry = MlflowRegistry(mlflow)

    def start_earlier(seconds: float) -> None:
        at = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
        move = Move(key="other", kind="promote", alias="champion", before="1", after="3", at=at, by="other.promote")
        start_move(mlflow, name, move, tag)

    start_earlier(5)
    with pytest.raises(RegistryError, match=r"in progress: other\.promote moves it from 1 to 3") as error:
        registry.move(name, promote_request("2", "mine"))
    assert (error.value.reason, error.value.transient) == ("locked", True)
    start_earlier(600)  # given up for dead
    assert registry.move(name, promote_request("2", "mine")).changed
    assert alias(mlflow, name) == "2"
    assert not pending_tags(mlflow, name)


@pytest.mark.parametrize("tag", PENDING)
def test_unrecorded_move_is_recorded_by_the_next_move(mlflow: str, tag: str) -> None:
    """Its task was killed and never retried: without a record a rollback would not know where to go."""
    name = f"orphan-{tag}"
    make_model(mlflow, name)
    move = Move(key="dead", kind="promote", alias="champion", before="1", after="2", at=datetime.now(UTC).isoformat())
    start_move(mlflow, name, move, tag)
    call(mlflow, "registered-models/alias", {"name": name, "alias": "champion", "version": "2"})
    assert MlflowRegistry(mlflow).move(name, rollback_request("mine")).after == "1"
    assert [one.key for one in MlflowRegistry(mlflow).moves(name)] == ["dead", "mine"]
    assert not pending_tags(mlflow, name)


@pytest.mark.parametrize("tag", PENDING)
def test_move_of_another_alias_keeps_an_interrupted_move(mlflow: str, tag: str) -> None:
    """Killed after the alias was moved and before that was recorded; another DAG moves another alias before the retry."""
    name = f"aliases-{tag}"
    make_model(mlflow, name)
    registry = MlflowRegistry(mlflow)
    registry.move(name, promote_request("2", "first"))
    start_move(
        mlflow,
        name,
        Move(key="k", kind="promote", alias="champion", before="2", after="3", at=datetime.now(UTC).isoformat()),
        tag,
    )
    call(mlflow, "registered-models/alias", {"name": name, "alias": "champion", "version": "3"})
    assert registry.move(name, MoveRequest(kind="promote", alias="shadow", key="other", to="1")).changed
    assert pending_tags(mlflow, name) == [tag]
    assert registry.move(name, promote_request("3", "k", expected="2")).changed
    assert not pending_tags(mlflow, name)
    assert registry.move(name, rollback_request("incident")).after == "2"


CUTS = {
    "before the alias": lambda method, path, body: path.endswith("/alias") and b'"champion"' in body,
    "after the alias": lambda method, path, body: path.endswith("/alias") and b"previous_champion" in body,
    "before the record": lambda method, path, body: path.endswith("/set-tag") and b"airflow-slo.move." in body,
    "after the record": lambda method, path, body: path.endswith("/delete-tag"),
}


@pytest.mark.parametrize(
    ("kind", "cut"), [(kind, cut) for kind in ("PromoteModelOperator", "RollbackModelOperator") for cut in CUTS]
)
def test_task_killed_at_any_step_is_completed_by_its_retry(mlflow: str, files: GoldenFiles, cut: str, kind: str) -> None:
    """Killed for good (SIGKILL) at each step; its retry ends with the right champion and one row in the ledger."""
    name = f"killed {kind} {cut}".replace(" ", "-")
    make_model(mlflow, name)
    registry = MlflowRegistry(mlflow)
    registry.move(name, promote_request("2", "before"))
    registry.move(name, promote_request("3", "then"))
    arguments = {"model": name, "expected_champion": "3"}
    if kind == "PromoteModelOperator":
        call(mlflow, "model-versions/create", {"name": name, "source": "s3://bucket/model"})
        arguments["version"] = "4"
    with proxy(mlflow, CUTS[cut]) as between:
        conn = {"model_registry_default": {"conn_type": "model_registry", "host": between.url}}
        first = start(kind, arguments=arguments, connections=conn)
        try:
            wait_for(between.held.is_set)
            os.kill(first.pid, signal.SIGKILL)
            assert first.wait(30) == -signal.SIGKILL
        finally:
            first.kill()
    row = kind.removesuffix("ModelOperator").lower()
    # A promotion says before it moves anything that it is about to.
    about = [(one.result.verdict, one.result.evidence["to"]) for one in files.all_checks(row)]
    assert about == ([(Verdict.UNKNOWN, "4")] if row == "promote" else [])
    conn = {"model_registry_default": {"conn_type": "model_registry", "host": mlflow}}
    assert start(kind, arguments=arguments, connections=conn, try_number=2).wait(120) == 0
    expected = {"promote": ("4", "3"), "rollback": ("2", "1")}[row]
    assert (alias(mlflow, name), alias(mlflow, name, PREVIOUS)) == expected
    assert not pending_tags(mlflow, name)
    assert [(one.before, one.after) for one in registry.moves(name)] == [("1", "2"), ("2", "3"), ("3", expected[0])]
    (recorded,) = files.all_checks(row)
    assert (recorded.result.verdict, recorded.result.model_version) == (Verdict.PASS, expected[0])


def test_evidence_too_long_for_a_tag_is_left_out(mlflow: str) -> None:
    make_model(mlflow, "long")
    MlflowRegistry(mlflow).move("long", promote_request("2", "a", evidence={"text": "x" * 9000}))
    assert "left_out" in MlflowRegistry(mlflow).moves("long")[0].evidence


def test_connection_test_in_the_ui_reports_success_and_failure(
    mlflow: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for host, expected in ((mlflow, True), ("http://127.0.0.1:1", False)):
        monkeypatch.setenv("AIRFLOW_CONN_REG", json.dumps({"conn_type": "model_registry", "host": host}))
        assert ModelRegistryHook("reg").test_connection()[0] is expected
