"""Every exit of dags/gated_model_promotion.py. In tests/e2e and `make demo` it runs on real components."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.deployment.registries.names import CHAMPION, PROMOTE
from airflow_slo_provider.deployment.registries.registry import MoveRequest
from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.ledger.queries.changes import HistoryEntry, history_entries
from airflow_slo_provider.ledger.records import Recorded
from demo import model
from demo.model_server import PredictionLog
from tests.airflow.whole_dags import WholeRun, answering, example, nobody_answering

pytest.importorskip("sklearn")

MODEL = "tumour-classifier"
WAYS = {"promote", "request_review", "hold"}
LATELY, EARLIER = timedelta(minutes=10), timedelta(hours=10)


class Service:
    """A prediction log, a candidate and a registry without a champion.

    :param home: also AIRFLOW_HOME
    """

    def __init__(self, home: Path, candidate: Path) -> None:
        self.home = home
        self.candidate = candidate
        self.registry = DirectoryRegistry(home / "registry")
        PredictionLog(home / "predictions.db").close()

    def answered(self, good: int, bad: int, ago: timedelta = LATELY) -> None:
        """Log predictions that were answered within 10 ms, and some that were not at all."""
        at = (datetime.now(UTC) - ago).strftime("%Y-%m-%d %H:%M:%S.%f")
        rows = [(f"{ago} {number}", at, "1", 10.0, 200 if number < good else 500) for number in range(good + bad)]
        with sqlite3.connect(self.home / "predictions.db") as connection:
            columns = "request_id, ts, model_version, latency_ms, status"
            connection.executemany(f"INSERT INTO predictions ({columns}) VALUES (?, ?, ?, ?, ?)", rows)
        connection.close()

    def run(self, change: Callable[[DAG], None] = lambda dag: None, **conf: object) -> WholeRun:
        where = {"candidate": str(self.candidate), "champion": str(self.home / "registry")}
        return example("gated_model_promotion.py").run("gated_model_promotion", change=change, **(where | conf))

    @property
    def champion(self) -> str | None:
        return self.registry.alias(MODEL, CHAMPION)

    def ledger(self, kind: str) -> list[Recorded]:
        with open_ledger(f"sqlite:///{self.home / 'slo_ledger.db'}", test_run=True) as ledger:
            return ledger.checks(kind)

    def expect_promoted(self, ran: WholeRun, outcome: str) -> None:
        """Look at all that must be so after a promotion, and after nothing else."""
        assert (ran.state, self.champion) == ("success", "7"), ran.states
        assert (ran.states["promote"], ran.states["hold"]) == ("success", "skipped")
        assert self.outcome() == outcome
        told = self.shown_decisions()
        assert [(one.kind, one.outcome, one.version) for one in told] == [("promote", "pass", "7"), ("decision", outcome, "7")]
        assert {one.key.run_id for one in told} == {ran.run_id}
        (row,) = self.ledger("promote")
        assert (row.result.verdict, row.result.model_version, row.key.run_id) == ("pass", "7", ran.run_id)
        assert row.result.evidence["from"] is None
        assert ran.xcom("report")["run_id"] == ran.run_id
        assert json.loads((self.home / "registry" / "champion.json").read_text())["version"] == "7"

    def expect_held(self, ran: WholeRun, outcome: str) -> str:
        """The same for a candidate that was held back; return what was said of it."""
        assert (ran.state, self.champion) == ("success", None), ran.states
        assert (ran.states["promote"], ran.states["hold"], ran.states["report"]) == ("skipped", "success", "success")
        assert self.outcome() == outcome
        (told,) = self.shown_decisions()
        assert (told.kind, told.outcome, told.version, told.key.run_id) == ("decision", outcome, "7", ran.run_id)
        said = ran.xcom("hold")
        assert said.startswith(f"version 7 is held back: {told.why}")
        return str(said)

    def shown_decisions(self) -> list[HistoryEntry]:
        """What `airflow slo decisions` shows."""
        with open_ledger(f"sqlite:///{self.home / 'slo_ledger.db'}", test_run=True) as ledger:
            return history_entries(ledger)

    def outcome(self) -> str:
        (row,) = self.ledger("decision")
        return str(row.result.evidence["outcome"])


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("candidate")
    model.train(directory, version="7")
    return directory


@pytest.fixture
def service(tmp_path: Path, candidate: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "predictions.db")}
    monkeypatch.setenv("AIRFLOW_CONN_PREDICTION_LOG", json.dumps(connection))
    return Service(tmp_path, candidate)


def low_budget(service: Service) -> str:
    service.answered(991, 9)  # a tenth of the budget is left
    return "warning"


def unknown_budget(service: Service) -> str:
    return "unknown"


def test_allowed_budget_promotes(service):
    service.answered(1000, 0)
    ran = service.run()
    service.expect_promoted(ran, "allowed")
    assert ran.states["request_review"] == "skipped"


def test_frozen_budget_does_not_promote(service):
    service.answered(980, 20)
    ran = service.run()
    said = service.expect_held(ran, "frozen")
    assert ran.states["request_review"] == "skipped"
    assert "rule budget-spent" in said
    assert "nobody approved" not in said


def test_escalated_budget_holds_promotion(service):
    """Most of the budget is left, and it would be gone within hours: the policy stops this, and nobody here may overrule it."""
    service.answered(10_000, 0, EARLIER)
    service.answered(80, 20)
    ran = service.run()
    said = service.expect_held(ran, "frozen")
    assert ran.xcom("gate", key="decision")["action"] == "escalate"
    assert ran.states["request_review"] == "skipped"
    assert "rule burns-fast: burn rate 20 over 1h" in said


@pytest.mark.parametrize("budget", [low_budget, unknown_budget])
@pytest.mark.parametrize("answer", ["Approve", "Reject"])
def test_low_budget_waits_for_approval(service, budget, answer):
    outcome = budget(service)
    ran = service.run(answering("request_review", answer))
    assert ran.states["request_review"] == "success"
    if answer == "Approve":
        service.expect_promoted(ran, outcome)
    else:
        assert service.expect_held(ran, outcome).endswith("; nobody approved it")


@pytest.mark.parametrize("budget", [low_budget, unknown_budget])
def test_unanswered_approval_does_not_promote(service, budget):
    outcome = budget(service)
    with nobody_answering("request_review") as change:
        ran = service.run(change)
    assert ran.states["request_review"] == "success"
    assert service.expect_held(ran, outcome).endswith("; nobody approved it")


def test_failed_evaluation_does_not_promote(service):
    service.answered(1000, 0)
    ran = service.run(min_accuracy=1)
    assert (ran.state, ran.states["evaluate"], service.champion) == ("failed", "failed", None)
    assert {ran.states[task] for task in ("gate", *WAYS, "report")} == {"upstream_failed"}
    verdicts = {row.result.name: row.result.verdict for row in service.ledger("golden_set")}
    assert (verdicts[MODEL], verdicts[f"{MODEL}/accuracy"]) == ("fail", "fail")
    assert service.ledger("decision") == service.ledger("promote") == []


def test_missing_connection_fails(service, monkeypatch):
    """Nothing is known, and no person could know better: whoever set it up must mend it."""
    monkeypatch.delenv("AIRFLOW_CONN_PREDICTION_LOG")
    ran = service.run()
    assert (ran.state, ran.states["gate"], service.champion) == ("failed", "failed", None)
    assert {ran.states[task] for task in (*WAYS, "report")} == {"upstream_failed"}
    assert service.outcome() == "unknown"
    assert service.ledger("promote") == []


def test_champion_changed_since_evaluation_does_not_promote(service):
    """It was compared with another one than serves by now: it is not promoted over that one's head."""
    service.answered(1000, 0)
    assert service.run().state == "success"

    def meanwhile(context: object) -> None:
        service.registry.register(MODEL, "8", service.candidate)
        service.registry.move(MODEL, MoveRequest(kind=PROMOTE, alias=CHAMPION, key="by hand", to="8"))

    ran = service.run(lambda dag: setattr(dag.get_task("gate"), "on_execute_callback", [meanwhile]))
    assert (ran.state, ran.states["promote"], ran.states["report"], service.champion) == (
        "failed", "failed", "upstream_failed", "8",
    )  # fmt: skip
