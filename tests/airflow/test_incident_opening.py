"""Opening an incident, and the further incidents of a run, in Airflow's own task runner."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseNotifier, BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.comms import AssetEventDagRunReferenceResult
from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor

from airflow_slo_provider.incidents import Incident
from airflow_slo_provider.operators.incident import (
    OpenIncidentOperator,
    OtherIncidentsOperator,
    PlaybookTaskGroup,
    PostmortemOperator,
)
from airflow_slo_provider.runtime.incidents.current_incident import current_incident, incidents_of
from tests.airflow.gates import MINUTE, LedgerFile
from tests.airflow.incident_runs import T0, conf, incident, opening
from tests.airflow.task_runs import run_task


def test_manual_run_keeps_incident_id_when_cleared():
    """Airflow gives a finished run that is cleared another start_date."""
    run = SimpleNamespace(dag_id="rollback", run_id="manual__1", conf={}, run_after=T0, start_date=T0 + MINUTE)
    first = current_incident({"dag_run": run})
    run.start_date = T0 + 60 * MINUTE
    assert current_incident({"dag_run": run}) == first and first.started_at == T0
    assert first.id == f"rollback-manual__1-{T0:%Y%m%dT%H%M%SZ}"


class RecordingNotifier(BaseNotifier):
    incident_ids: list[Any] = []

    def notify(self, context: Any) -> None:
        self.incident_ids.append(context["incident"]["id"])


class FailingNotifier(BaseNotifier):
    def notify(self, context: Any) -> None:
        raise RuntimeError("nobody listens")


@pytest.mark.parametrize("task", [OpenIncidentOperator, OtherIncidentsOperator])
@pytest.mark.parametrize("data", ["checkout burns", {"id": "../../dags/evil"}])
def test_run_with_invalid_incident_fails_without_retry(ledger_file: LedgerFile, task: type[BaseOperator], data: Any):
    ran = run_task(task(task_id="t", retries=3), conf={"incident": data})
    assert isinstance(ran.error, AirflowFailException) and "incident" in str(ran.error)


class TestOpening:
    def test_open_claims_chooses_playbook_and_notifies(self, ledger_file: LedgerFile):
        RecordingNotifier.incident_ids.clear()
        ran = run_task(opening(notifiers=[FailingNotifier(), RecordingNotifier()]), conf=conf(incident("answers-latency")))
        assert (ran.state, ran.skipped) == ("success", set())
        assert ran.xcoms["incident"]["id"] == "answers-latency-1"
        assert ran.xcoms["choice"]["playbook"] == "model_serving_degradation"
        assert ran.xcoms["choice"]["severity"] == "critical"
        assert "the SLO is about answering requests" in ran.log and "A notification could not be sent" in ran.log
        assert RecordingNotifier.incident_ids == ["answers-latency-1"]
        (row,) = ledger_file.checks("incident")
        assert (row.result.name, row.result.evidence["state"], row.result.evidence["severity"]) == (
            "answers-latency-1",
            "open",
            "critical",
        )

    def test_second_run_is_skipped_and_retry_repeats(self, ledger_file: LedgerFile):
        first = run_task(opening(), run_id="first", conf=conf(incident()))
        second = run_task(opening(), run_id="second", conf=conf(incident()))
        again = run_task(opening(), run_id="first", try_number=2, conf=conf(incident()))
        assert (first.skipped, second.skipped, again.skipped) == (set(), {"act", "post_mortem"}, set())
        assert "Run first already handles answered-1" in second.log
        assert {row.key.run_id for row in ledger_file.checks("incident")} == {"first"}, "what nobody would close is not opened"

    def test_blind_incident_notifies_and_skips_steps(self, ledger_file: LedgerFile):
        RecordingNotifier.incident_ids.clear()
        ran = run_task(opening(notifiers=RecordingNotifier()), conf=conf(incident("watch", "blind")))
        assert ran.skipped == {"act"} and RecordingNotifier.incident_ids == ["watch-1"]
        post_mortem = PostmortemOperator(task_id="post_mortem", path="/tmp/x")
        assert isinstance(run_task(post_mortem, conf=conf(incident("watch", "blind"))).error, AirflowFailException)

    def test_open_follows_branch_of_chosen_playbook(self, ledger_file: LedgerFile):
        with DAG("incident", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            branches = {"accuracy_drop": "accuracy_drop", "traffic_spike": "traffic_spike"}
            task = OpenIncidentOperator(task_id="open", playbooks=list(branches), branches=branches)
            for kind in branches:
                task >> PlaybookTaskGroup(playbook=kind, open_incident=False)
        ran = run_task(task, conf=conf(incident("weekly-accuracy")))
        assert ran.xcoms["choice"]["playbook"] == "accuracy_drop"
        assert ran.skipped and all(one.startswith("traffic_spike.") for one in ran.skipped)
        assert "traffic_spike.post_mortem_is_over" in ran.skipped

    def test_manual_run_has_own_incident(self, ledger_file: LedgerFile):
        ran = run_task(opening(), run_id="by hand")
        assert ran.state == "success" and ran.xcoms["incident"]["message"] == "started by hand"

    def test_missing_ledger_fails_open(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'no' / 'such' / 'directory.db'}")
        assert run_task(opening(), conf=conf(incident())).state in ("failed", "up_for_retry")


def events(*extras: Any) -> dict[str, Any]:
    """A context as a run gets it that several asset events have started."""
    data = [
        AssetEventDagRunReferenceResult(
            asset={"name": "burning", "uri": "burning", "extra": {}}, extra=extra, source_task_id=None, source_dag_id=None,
            source_run_id=None, source_map_index=None, source_aliases=[], timestamp=T0,
        )
        for extra in extras
    ]  # fmt: skip
    return {"dag_run": SimpleNamespace(conf=None), "triggering_asset_events": TriggeringAssetEventsAccessor.build(data)}


class TestSeveralEvents:
    def context(self, *incidents: Incident) -> dict[str, Any]:
        return events(*({"from_trigger": True, "payload": json.loads(json.dumps(one.to_dict()))} for one in incidents))

    def test_burning_events_come_first_without_duplicates(self):
        later = incident("two", started_at=T0 + MINUTE)
        found = incidents_of(
            self.context(incident("w", "blind", started_at=T0 - MINUTE), later, incident("one"), incident("one"))
        )
        assert [one.id for one in found] == ["one-1", "two-1", "w-1"]

    def test_other_incidents_get_runs_with_own_ids(self):
        data = OtherIncidentsOperator(task_id="others").execute(self.context(incident("one"), incident("two")))
        assert [one["trigger_run_id"] for one in data] == ["incident__two-1"]
        assert Incident.from_dict(data[0]["conf"]["incident"]) == incident("two")

    def test_other_asset_events_are_ignored(self):
        assert incidents_of(events({}, {"rows": 3}, {"payload": "x"}, {"payload": {"id": 1}})) == []
