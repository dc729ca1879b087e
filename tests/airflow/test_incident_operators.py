"""Steps, approvals, post-mortem and recovery of an incident in Airflow's own task runner."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time import comms

from airflow_slo_provider.incidents import Incident, PlaybookStep, StepRecord, StepState
from airflow_slo_provider.incidents.playbook import Kind
from airflow_slo_provider.ledger import RunKey
from airflow_slo_provider.operators.incident import (
    OpenIncidentOperator,
    PostmortemOperator,
    StepApprovalOperator,
)
from airflow_slo_provider.operators.incident.checks import RecoveredSensor
from airflow_slo_provider.results import CheckResult
from airflow_slo_provider.runtime.incidents.current_incident import recorded_steps
from airflow_slo_provider.runtime.incidents.step_recording import StepRecorder
from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger
from tests.airflow.gates import MINUTE, LedgerFile, RequestLog, sql_documents
from tests.airflow.incident_runs import T0, conf, incident, opening
from tests.airflow.task_runs import Ran, in_dag, run_task

STEP = PlaybookStep(phase="mitigation", action="Roll back", id="back", kind=Kind.OPERATOR, checklist=("look",))


def run_as_step(task: BaseOperator, ledger_file: LedgerFile, **arguments: Any) -> tuple[Ran, Any]:
    """Run a task as a step; return how it ended and what the ledger holds of it."""
    from airflow.sdk.execution_time.task_runner import finalize  # noqa: F401 - its callbacks are run below

    StepRecorder(STEP).attach(task)
    ran = run_task(task, conf=conf(incident()), **arguments)
    rows = ledger_file.checks("incident_step")
    return ran, rows[-1].result if rows else None


class Returns(BaseOperator):
    def __init__(self, *, what: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.what = what

    def execute(self, context: Any) -> Any:
        if isinstance(self.what, Exception):
            raise self.what
        return self.what


class TestRecording:
    def test_successful_step_is_recorded_before_success(self, ledger_file: LedgerFile):
        ran, check = run_as_step(Returns(task_id="back", what={"message": "gone back", "version": "1"}), ledger_file)
        assert ran.state == "success"
        assert (check.evidence["state"], check.message, check.verdict) == ("done", "gone back", "pass")
        assert check.evidence["found"] == {"message": "gone back", "version": "1"}
        assert check.evidence["checklist"] == ["look"] and check.interval_start <= check.interval_end

    @pytest.mark.parametrize(("error", "state"), [(ValueError("broken"), "failed"), (None, "skipped")])
    def test_callbacks_record_every_other_state(self, error: Exception | None, state: str, ledger_file: LedgerFile):
        recorder = StepRecorder(STEP)
        task = in_dag(Returns(task_id="back"))
        recorder.attach(task)
        run = SimpleNamespace(conf=conf(incident()), dag_id="a_dag", run_id="a_run")
        ti = SimpleNamespace(dag_id="a_dag", run_id="a_run", task_id="back", map_index=-1, try_number=1, start_date=T0)
        context = {"ti": ti, "dag_run": run, "exception": error}
        callback = {"failed": task.on_failure_callback, "skipped": task.on_skipped_callback}[state][-1]
        task.on_execute_callback[-1](context)
        assert ledger_file.checks("incident_step")[-1].result.evidence["state"] == "running"
        callback(context)
        (row,) = ledger_file.checks("incident_step")
        assert row.result.evidence["state"] == state
        assert row.result.evidence["message"] == ("ValueError: broken" if error else "")

    def test_secret_in_exception_is_not_recorded(self, ledger_file: LedgerFile):
        from airflow.sdk.log import mask_secret

        mask_secret("a-step-s-secret")
        recorder = StepRecorder(STEP)
        run = SimpleNamespace(conf=conf(incident()), dag_id="a_dag", run_id="a_run")
        ti = SimpleNamespace(dag_id="a_dag", run_id="a_run", task_id="back", map_index=-1, try_number=1, start_date=T0)
        # The first would be cut in the middle of the secret.
        for said in ("x" * 970 + " token=a-step-s-secret", "no route to https://svc:hunter2@db.example/x?token=a-step-s-secret"):
            recorder.failed({"ti": ti, "dag_run": run, "exception": ConnectionError(said)})
            told = str(ledger_file.checks("incident_step")[-1].result)
            assert "a-step" not in told and "hunter2" not in told
        assert "no route to https://***@db.example/x?token=***" in told

    def test_unavailable_ledger_does_not_stop_rollback(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'no' / 'such' / 'directory.db'}")
        task = Returns(task_id="back", what=1)
        StepRecorder(STEP).attach(task)
        assert run_task(task, conf=conf(incident())).state == "success"

    def test_callbacks_of_task_are_kept(self, ledger_file: LedgerFile):
        called: list[str] = []
        task = Returns(
            task_id="back", on_success_callback=lambda context: called.append("success"),
            post_execute=lambda context, result: called.append("after"),
        )  # fmt: skip
        _, check = run_as_step(task, ledger_file)
        assert called == ["after"] and len(task.on_success_callback) == 2 and check.evidence["state"] == "done"


class TestApproval:
    STEP = PlaybookStep(phase="mitigation", action="Approve it", id="approve", kind=Kind.APPROVAL, timeout=timedelta(minutes=5))

    def run_approval(self, choice: str, who: Any, ledger_file: LedgerFile) -> tuple[Ran, Any]:
        with DAG("incident", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            task = StepApprovalOperator(task_id="approve", step=self.STEP, recorder=StepRecorder(self.STEP))
            task >> [EmptyOperator(task_id="act"), EmptyOperator(task_id="mitigation_is_over")]
        event = {
            "chosen_options": [choice],
            "params_input": {},
            "responded_at": T0,
            "responded_by_user": who,
            "timedout": not who,
        }
        # What runs when the answer is there, without the machinery that carries the answer.
        messages: list[Any] = []
        run = SimpleNamespace(conf=conf(incident()), dag_id="incident", run_id="r")
        ti = SimpleNamespace(
            dag_id="incident", run_id="r", task_id="approve", map_index=-1, try_number=1, start_date=T0,
            xcom_push=lambda key, value: messages.append((key, value)),
        )  # fmt: skip
        error = None
        try:
            task.execute_complete({"ti": ti, "dag_run": run, "task": task}, event)
        except Exception as caught:
            error = caught
        return SimpleNamespace(error=error, xcoms=dict(messages)), ledger_file.checks("incident_step")[-1].result

    def test_approval_continues(self, ledger_file: LedgerFile):
        ran, check = self.run_approval("Approve", {"id": "1", "name": "Ann"}, ledger_file)
        assert ran.error is None and ran.xcoms["approval"]["by"] == "Ann"
        assert (check.evidence["state"], check.evidence["message"]) == (StepState.APPROVED, "by Ann")

    def test_rejection_skips_following_steps_only(self, ledger_file: LedgerFile):
        ran, check = self.run_approval("Reject", {"id": "1", "name": "Bob"}, ledger_file)
        assert type(ran.error).__name__ == "DownstreamTasksSkipped" and ran.error.tasks == [("act", -1)]
        assert (check.evidence["state"], check.verdict) == (StepState.REJECTED, "warn")

    def test_unanswered_approval_uses_default(self, ledger_file: LedgerFile):
        ran, check = self.run_approval("Reject", None, ledger_file)
        assert type(ran.error).__name__ == "DownstreamTasksSkipped"
        assert check.evidence["message"] == "by default, because nobody answered within 0:05:00"
        assert check.evidence["found"]["timed_out"] is True


class TestPostMortem:
    def run_post_mortem(self, tmp_path: Path, **arguments: Any) -> tuple[Ran, str]:
        task = PostmortemOperator(task_id="post_mortem", path=str(tmp_path / "pm"), **arguments)
        ran = run_task(task, conf=conf(incident()), run_id="r", connections=arguments.pop("connections", None))
        return ran, (tmp_path / "pm" / "answered-1.md").read_text()

    def test_post_mortem_is_written_from_ledger(self, ledger_file: LedgerFile, request_log: RequestLog, tmp_path: Path):
        request_log.write(900, 0)
        request_log.write(70, 30, at=T0 + MINUTE)
        run_task(opening(), run_id="r", conf=conf(incident()))
        task = PostmortemOperator(task_id="post_mortem", path=str(tmp_path / "pm"), slos=sql_documents())
        ran = run_task(in_dag(task, dag_id="incident"), conf=conf(incident()), run_id="r", connections=request_log.connection)
        text = (tmp_path / "pm" / "answered-1.md").read_text()
        assert ran.state == "success", ran.error
        assert "30 of 100 went wrong" in text
        # 30 of the 10 failures that a day of 1,000 requests allows, and 14.4 minutes of outage: three times over.
        assert "300.0 %" in text and "43.2 minutes of complete outage" in text
        assert "Severity | critical" in text and "Roll the Deployment back: not reached" in text
        assert Path(ran.xcoms["return_value"]["html"].removeprefix("file://")).read_text().startswith("<!doctype html>")
        assert ledger_file.checks("incident")[-1].result.evidence["report"].endswith(".html")

    def test_failed_mitigation_fails_post_mortem_after_writing(self, ledger_file: LedgerFile, tmp_path: Path):
        StepRecorder(STEP).ended(
            {"ti": SimpleNamespace(dag_id="a_dag", run_id="r", task_id="back", map_index=-1, try_number=1, start_date=T0),
             "dag_run": SimpleNamespace(conf=conf(incident()), dag_id="a_dag", run_id="r")},
            StepState.FAILED, "no such version",
        )  # fmt: skip
        ran, text = self.run_post_mortem(tmp_path)
        assert isinstance(ran.error, AirflowFailException) and "Roll back: failed no such version" in str(ran.error)
        assert "Roll back: failed; do it manually" in text

    @pytest.mark.parametrize(
        ("phase", "state", "ends"),
        [
            ("resolution", "failed", "failed"),
            ("mitigation", "failed", "failed"),
            ("diagnosis", "failed", "success"),
            ("resolution", "skipped", "success"),
            ("resolution", "success", "success"),
        ],
    )
    def test_step_that_failed_without_a_record_fails_post_mortem(
        self, ledger_file: LedgerFile, tmp_path: Path, phase: str, state: str, ends: str
    ):
        """Its worker was killed, or it was marked as failed, before it began: Airflow knows that, and the ledger does not."""
        step = Returns(task_id="wait")
        StepRecorder(PlaybookStep(phase=phase, action="Wait", id="wait", kind=Kind.OPERATOR)).attach(step)
        task = PostmortemOperator(task_id="post_mortem", path=str(tmp_path))
        in_dag(task)
        task.dag.add_task(step)
        step >> task
        answers = {comms.GetTaskStates: comms.TaskStatesResult(task_states={"r": {"wait": state}})}
        ran = run_task(task, conf=conf(incident()), run_id="r", answers=answers)
        assert ran.state == ends, ran.error
        assert ("Wait: failed its task failed before it could record anything" in str(ran.error)) is (ends == "failed")

    def test_unreached_mitigation_after_failed_diagnosis_fails_post_mortem(self, ledger_file: LedgerFile, tmp_path: Path):
        """The rollback waits for the culprit: Airflow calls it upstream_failed, and there is no record of it."""
        run_task(opening(playbooks=["model_serving_degradation"]), run_id="r", conf=conf(incident()))
        task = PostmortemOperator(task_id="post_mortem", path=str(tmp_path))
        before = run_task(in_dag(task, dag_id="incident"), conf=conf(incident()), run_id="r")
        assert before.state == "success", "nothing failed"
        step = StepRecord(
            step_id="culprit", phase="diagnosis", action="Find it", state=StepState.FAILED, message="no answer", ended_at=T0
        )
        with open_default_ledger() as ledger:
            ledger.record([step.to_check(incident())], RunKey("incident", "r", "culprit"))
        ran = run_task(task, conf=conf(incident()), run_id="r")
        assert isinstance(ran.error, AirflowFailException) and ran.xcoms["return_value"]["ended_at"] is None
        assert "Find it: failed no answer" in str(ran.error) and "Roll the Deployment back: not reached" in str(ran.error)
        over = StepRecord(
            step_id="recovered",
            phase="resolution",
            action="Wait",
            state=StepState.DONE,
            ended_at=T0,
            evidence={"recovered": True},
        )
        with open_default_ledger() as ledger:
            ledger.record([over.to_check(incident())], RunKey("incident", "r", "recovered"))
        assert run_task(task, conf=conf(incident()), run_id="r").state == "success", "it is over all the same"

    def test_steps_of_run_are_found_after_many_incidents(self, ledger_file: LedgerFile):
        def done(one: Incident, step_id: str, at: datetime) -> CheckResult:
            step = StepRecord(step_id=step_id, phase="mitigation", action="Roll back", state=StepState.DONE, ended_at=at)
            return step.to_check(one)

        mine, later = incident(), incident("later")
        with open_default_ledger() as ledger:
            ledger.record([done(mine, "back", T0)], RunKey("incident", "r", "back"))
            ledger.record([done(later, f"step-{n}", T0 + MINUTE) for n in range(1001)], RunKey("incident", "later", "back"))
            assert list(recorded_steps(ledger, mine, dag_id="incident", run_id="r")) == ["back"]
            assert len(recorded_steps(ledger, later, dag_id="incident", run_id="later")) == 1001

    def test_unmeasured_impact_is_not_zero(self, ledger_file: LedgerFile, tmp_path: Path):
        ran, text = self.run_post_mortem(tmp_path, slos=sql_documents())  # the connection does not exist
        assert ran.state == "success" and re.search(r"Impact \| unknown: .*request\\_log", text)
        _, text = self.run_post_mortem(tmp_path)
        assert "unknown: no SLO documents are set" in text

    def test_unopened_incident_fails_post_mortem(self, ledger_file: LedgerFile, tmp_path: Path):
        with DAG("incident", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            task = PostmortemOperator(task_id="post_mortem", path=str(tmp_path))
            OpenIncidentOperator(task_id="open") >> task
        ran = run_task(task, conf=conf(incident()))
        assert isinstance(ran.error, AirflowFailException) and "never opened" in str(ran.error)

    def test_script_in_model_version_is_escaped(self, ledger_file: LedgerFile, tmp_path: Path):
        evil = incident(
            message="version <script>alert(1)</script> fails", evidence={"slo": "answered", "model_version": "<script>"}
        )
        task = PostmortemOperator(task_id="post_mortem", path=str(tmp_path))
        assert run_task(task, conf=conf(evil)).state == "success"
        for ending in ("md", "html"):
            text = (tmp_path / f"answered-1.{ending}").read_text()
            assert "<script" not in text and "&lt;script&gt;" in text


class TestRecovery:
    def run_sensor(self, request_log: RequestLog, **arguments: Any) -> Ran:
        task = RecoveredSensor(task_id="recovered", slos=sql_documents(), mode="reschedule", **arguments)
        return run_task(in_dag(task, dag_id="incident"), run_id="r", conf=conf(incident()), connections=request_log.connection)

    def record_mitigation(self, at: datetime) -> None:
        step = StepRecord(
            step_id="back", phase="mitigation", action="Roll back", state=StepState.DONE, started_at=at, ended_at=at
        )
        with open_default_ledger() as ledger:
            ledger.record([step.to_check(incident())], RunKey("incident", "r", "back"))

    def test_recovery_uses_burn_rate_since_mitigation(self, ledger_file: LedgerFile, request_log: RequestLog):
        now = datetime.now(UTC)
        self.record_mitigation(now - 2 * MINUTE)
        request_log.write(50, 50, at=now - 3 * MINUTE)  # before it
        request_log.write(200, 1, at=now - MINUTE)
        ran = self.run_sensor(request_log)
        assert ran.state == "success" and ran.xcoms["return_value"]["recovered"] is True
        assert ran.xcoms["return_value"]["burn_rate_since"] == pytest.approx(100 / 201)

    @pytest.mark.parametrize(
        ("since", "good", "bad", "said"),
        [
            (2, 200, 5, "the burn rate is 2.44 since"),
            (2, 5, 0, "too few to determine it"),
            (2, 0, 0, "no measurement since the mitigation"),
            (0.2, 200, 0, "too early to determine it"),
        ],
    )
    def test_high_burn_rate_is_not_recovery(
        self, since: float, good: int, bad: int, said: str, ledger_file: LedgerFile, request_log: RequestLog
    ):
        now = datetime.now(UTC)
        self.record_mitigation(now - since * MINUTE)
        request_log.write(1000, 0)
        request_log.write(good, bad, at=now - since / 2 * MINUTE)
        ran = self.run_sensor(request_log)
        assert ran.state == "up_for_reschedule" and said in ran.log

    def test_recovery_without_mitigation_uses_short_windows(self, ledger_file: LedgerFile, request_log: RequestLog):
        now = datetime.now(UTC)
        request_log.write(1000, 0)
        request_log.write(50, 50, at=now - MINUTE)
        assert self.run_sensor(request_log).state == "up_for_reschedule"
        request_log.clear()
        request_log.write(1000, 0)
        request_log.write(100, 0, at=now - MINUTE)
        assert self.run_sensor(request_log).state == "success"

    def test_no_data_is_not_recovery(self, ledger_file: LedgerFile, request_log: RequestLog):
        ran = self.run_sensor(request_log)
        assert ran.state == "up_for_reschedule" and "which is not a recovery" in ran.log

    def test_unknown_slo_fails_at_once(self, ledger_file: LedgerFile, request_log: RequestLog):
        ran = self.run_sensor(request_log, slo="nobody")
        assert ran.state == "failed" and "there is no SLO 'nobody'" in str(ran.error)
