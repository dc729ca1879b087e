"""The exits of dags/rollback.py but the rollback that is verified: that one is in tests/e2e."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.deployment.registries.names import CHAMPION, PROMOTE
from airflow_slo_provider.deployment.registries.registry import MoveRequest
from airflow_slo_provider.incidents import Incident
from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.results import CheckResult
from tests.airflow.whole_dags import WholeRun, answering, example, nobody_answering


class Incidents:
    """A service with two versions, of which the second one serves and fails."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.registry = DirectoryRegistry(home / "slo_models")
        for version in ("1", "2"):
            (home / "model").write_text(version)
            self.registry.register("recommender", version, home / "model")
            self.promote(version)

    def promote(self, version: str) -> None:
        wanted = MoveRequest(kind=PROMOTE, alias=CHAMPION, key=f"test/{datetime.now(UTC)}", to=version)
        self.registry.move("recommender", wanted)

    def count(self, version: str, failed: int) -> None:
        check = CheckResult(
            kind="requests", name="recommender/requests", verdict="pass", good=1000 - failed, total=1000, model_version=version
        )
        with open_ledger(f"sqlite:///{self.home / 'slo_ledger.db'}") as ledger:
            ledger.record([check], RunKey("test", "run", version))

    def run(self, answer: str | Callable[[DAG], None], kind: str = "burning") -> WholeRun:
        one = Incident(
            id="recommender-answers-1", kind=kind, subject="recommender-answers", severity="page",
            started_at=datetime.now(UTC), message="it burns", evidence={"slo": "recommender-answers"},
        )  # fmt: skip

        def change(dag: DAG) -> None:
            (answering("playbook.approve", answer) if isinstance(answer, str) else answer)(dag)
            dag.get_task("playbook.recovered").timeout = 0

        return example("rollback.py").run("rollback", change=change, incident=json.loads(json.dumps(one.to_dict())))

    @property
    def champion(self) -> str | None:
        return self.registry.alias("recommender", CHAMPION)

    def post_mortem(self) -> str:
        return (self.home / "slo_examples" / "post-mortems" / "recommender-answers-1.md").read_text()


@pytest.fixture
def incidents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Incidents:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return Incidents(tmp_path)


def test_approved_rollback_without_recovery_fails(incidents):
    incidents.count("1", 0)
    incidents.count("2", 500)
    ran = incidents.run("Approve")
    assert ran.states["playbook.roll_back_model"] == "success", ran.states
    assert (incidents.champion, ran.xcom("playbook.culprit", key="version")) == ("1", "2")
    # Nothing was asked since: whether it is over is not known, and the run says so.
    assert (ran.states["playbook.recovered"], ran.states["post_mortem"], ran.state) == ("failed", "failed", "failed")
    assert "from 2 to 1" in incidents.post_mortem()


def test_rejected_approval_changes_nothing(incidents):
    incidents.count("2", 500)
    ran = incidents.run("Reject")
    assert (ran.states["playbook.roll_back_model"], incidents.champion) == ("skipped", "2")
    assert ran.state == "failed", "it still burns"
    assert re.search(r"Approve the rollback: rejected - by somebody", incidents.post_mortem())


def test_no_culprit_skips_rollback(incidents):
    for version in ("1", "2"):
        incidents.count(version, 500)
    ran = incidents.run("Approve")
    assert (ran.states["playbook.culprit"], ran.states["playbook.roll_back_model"]) == ("skipped", "skipped")
    assert incidents.champion == "2"


def test_changed_version_is_not_rolled_back(incidents):
    incidents.count("2", 500)
    incidents.promote("1")
    ran = incidents.run("Approve")
    assert (ran.states["playbook.roll_back_model"], ran.state, incidents.champion) == ("failed", "failed", "1")


def test_blind_incident_changes_nothing(incidents):
    ran = incidents.run("Approve", kind="blind")
    assert (ran.states["post_mortem"], ran.state) == ("failed", "failed")
    assert (ran.states["playbook.roll_back_model"], incidents.champion) == ("skipped", "2")


def test_unanswered_approval_counts_as_rejection(incidents):
    incidents.count("2", 500)
    with nobody_answering("playbook.approve") as change:
        ran = incidents.run(change)
    assert ran.states["playbook.approve"] == "success"
    assert (ran.states["playbook.roll_back_model"], incidents.champion) == ("skipped", "2")
    told = ran.xcom("playbook.approve", key="approval")
    assert (told["approved"], told["by"], told["timed_out"]) == (False, None, True)
    assert (ran.states["playbook.recovered"], ran.states["post_mortem"], ran.state) == ("failed", "failed", "failed")
    assert "Approve the rollback: rejected - by default, because nobody answered within 0:00:01" in incidents.post_mortem()


def test_incident_handled_by_other_run_is_skipped(incidents, capsys):
    incidents.count("2", 500)
    first = incidents.run("Reject")
    incidents.count("1", 0)
    written = incidents.post_mortem()
    second = incidents.run("Approve")
    assert (second.state, second.in_state("success")) == ("success", {"playbook.open", "playbook.others"}), second.states
    assert second.in_state("skipped") == set(second.states) - {"playbook.open", "playbook.others"}
    assert (incidents.champion, incidents.post_mortem()) == ("2", written)
    assert f"Run {first.run_id} already handles recommender-answers-1; this run changes nothing" in "".join(capsys.readouterr())
    with open_ledger(f"sqlite:///{incidents.home / 'slo_ledger.db'}", test_run=True) as ledger:
        runs = {row.key.run_id for row in ledger.checks("incident")}
    assert runs == {first.run_id}, "the page of incidents shows one, not a second that is open for ever"
