"""What a policy's mild actions do: the decision that the serving code reads, and who may take it back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time import comms

from airflow_slo_provider.exceptions import ReasonedError
from airflow_slo_provider.incidents.serving import decision_document, read_decision
from airflow_slo_provider.operators.policy_actions import PolicyDecisionOperator, ServingDecisionOperator
from airflow_slo_provider.runtime.files.decisions import exclusive_lock
from tests.airflow.gates import MINUTE, LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import Ran, run_task

DEGRADES = """
  rules:
    - {name: low, action: reduce_experimentation, when: {signal: remainingBudget, enter: 0.5, exit: 0.6}}
    - {name: lower, action: degrade, when: {signal: remainingBudget, enter: 0.25, exit: 0.3}}
    - {name: spent, action: freeze, when: {signal: remainingBudget, enter: 0, exit: 0.1}}
"""


class TestPolicyActions:
    def run_policy(self, request_log: RequestLog, path: Path, spec: str = DEGRADES, **arguments: Any) -> Ran:
        asset = Asset("serving_decision")
        task = PolicyDecisionOperator(
            task_id="act", slos=sql_documents(spec), decision_path=str(path), outlets=[asset], **arguments
        )  # fmt: skip
        return run_task(task, connections=request_log.connection)

    @pytest.mark.parametrize(
        ("bad", "action", "experiments", "degraded"),
        [
            (0, "allow", True, False),
            (6, "reduce_experimentation", False, False),
            (8, "degrade", False, True),
            (20, "freeze", False, False),
        ],
    )
    def test_serving_code_reads_action_of_policy(
        self,
        bad: int,
        action: str,
        experiments: bool,
        degraded: bool,
        ledger_file: LedgerFile,
        request_log: RequestLog,
        tmp_path: Path,
    ):
        request_log.write(1000 - bad, bad)
        ran = self.run_policy(request_log, tmp_path / "here" / "decision.json")
        assert ran.state == "success", ran.error
        found = read_decision(tmp_path / "here" / "decision.json")
        assert (found.action, found.experiments, found.degraded) == (action, experiments, degraded)
        (told,) = [msg for msg in ran.messages if isinstance(msg, comms.SucceedTask)]
        (event,) = told.outlet_events
        assert event["extra"]["action"] == action and event["extra"]["changed"] is True
        assert [path.name for path in (tmp_path / "here").iterdir()] == ["decision.json"], "no draft is left"

    def test_unknown_budget_stops_experiments(self, ledger_file: LedgerFile, request_log: RequestLog, tmp_path: Path):
        ran = self.run_policy(request_log, tmp_path / "d.json")
        assert ran.state == "success"
        found = read_decision(tmp_path / "d.json")
        assert (found.action, found.experiments, found.degraded) == ("freeze", False, False)

    def test_document_expires_with_override(self, ledger_file: LedgerFile, request_log: RequestLog, tmp_path: Path):
        until = datetime.now(UTC) + timedelta(minutes=20)
        spec = (
            DEGRADES + f"  overrides:\n    - {{action: allow, until: '{until.isoformat()}', reason: the sale, approvedBy: Ann}}\n"
        )
        request_log.write(980, 20)
        self.run_policy(request_log, tmp_path / "d.json", spec)
        found = read_decision(tmp_path / "d.json")
        assert found.action == "allow" and "the sale" in found.reason
        assert found.until is not None and abs(found.until - until) < timedelta(seconds=1)
        assert read_decision(tmp_path / "d.json", until).known is False
        spec = spec.replace(until.isoformat(), (datetime.now(UTC) - MINUTE).isoformat())
        self.run_policy(request_log, tmp_path / "d.json", spec)
        assert read_decision(tmp_path / "d.json").action == "freeze"

    def test_serving_decision_of_playbook_is_written(self, tmp_path: Path):
        for action in ("degrade", "allow"):
            task = ServingDecisionOperator(
                task_id="switch", decision_path=str(tmp_path / "d.json"), action=action, reason="a test"
            )
            ran = run_task(task)
            assert ran.xcoms["return_value"]["action"] == read_decision(tmp_path / "d.json").action == action
        assert ran.xcoms["return_value"]["before"] == "degrade"

    def test_request_is_withdrawn_by_its_holder_only(self, ledger_file: LedgerFile, request_log: RequestLog, tmp_path: Path):
        path, seen = tmp_path / "d.json", []

        def switch(action: str, run_id: str | None) -> None:
            held_by = None if run_id is None else "{{ ti.dag_id }}/{{ run_id }}"
            task = ServingDecisionOperator(
                task_id="switch", decision_path=str(path), action=action, reason="a test", held_by=held_by
            )
            ran = run_task(task, run_id=run_id or "by hand")
            found = read_decision(path)
            assert ran.xcoms["return_value"]["effective"] == found.action
            seen.append((found.action, found.degraded))

        switch("degrade", "first")
        switch("reduce_experimentation", "second")
        switch("allow", "second")
        request_log.write(1000, 0)
        assert self.run_policy(request_log, path).xcoms["return_value"]["action"] == "allow"
        seen.append((read_decision(path).action, read_decision(path).degraded))
        switch("allow", "first")
        switch("degrade", "third")
        switch("allow", None)
        assert seen == [("degrade", True)] * 4 + [("allow", False), ("degrade", True), ("allow", False)]

    def test_retry_after_write_reports_change(self, tmp_path: Path):
        def switch(action: str, run_id: str) -> Any:
            task = ServingDecisionOperator(task_id="switch", decision_path=str(tmp_path / "d.json"), action=action, reason="r")
            return run_task(task, run_id=run_id).xcoms["return_value"]

        switch("degrade", "one")
        for _ in range(2):  # the second time as the retry of the same task instance
            told = switch("allow", "two")
            assert (told["before"], told["changed"]) == ("degrade", True)
        assert switch("allow", "three")["changed"] is False

    def test_mapped_decisions_are_separate_requests(self, ledger_file: LedgerFile, request_log: RequestLog, tmp_path: Path):
        for index, (good, bad) in enumerate([(992, 8), (1000, 0)]):
            request_log.clear()
            request_log.write(good, bad)
            task = PolicyDecisionOperator(task_id="act", slos=sql_documents(DEGRADES), decision_path=str(tmp_path / "d.json"))
            assert run_task(task, connections=request_log.connection, map_index=index).state == "success"
        found = read_decision(tmp_path / "d.json")
        assert (found.action, found.degraded) == ("degrade", True)

    def test_unavailable_storage_is_not_read_as_empty(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        path = tmp_path / "d.json"

        def switch(action: str) -> Ran:
            task = ServingDecisionOperator(
                task_id="switch", decision_path=str(path), action=action, reason="r", held_by=action, retries=1
            )
            return run_task(task, run_id=action)

        assert switch("degrade").state == "success"
        with monkeypatch.context() as patched:
            patched.setattr(ObjectStoragePath, "read_text", lambda *_, **__: (_ for _ in ()).throw(OSError("503 slow down")))
            assert switch("allow").state == "up_for_retry"
        assert read_decision(path).action == "degrade"
        path.write_text("{")  # one that says nothing is replaced
        assert switch("allow").state == "success" and read_decision(path).action == "allow"

    def test_concurrent_writes_are_serialized(self, tmp_path: Path):
        file = ObjectStoragePath(str(tmp_path / "d.json"))

        def enter() -> bool:
            with exclusive_lock(file, writing=True):
                return True

        with ThreadPoolExecutor(1) as pool:
            with exclusive_lock(file, writing=True):
                other = pool.submit(enter)
                with pytest.raises(TimeoutError):
                    other.result(timeout=0.3)
            assert other.result(timeout=30)

    def test_backfill_does_not_change_document(self, ledger_file: LedgerFile, request_log: RequestLog, tmp_path: Path):
        path, now = tmp_path / "d.json", datetime.now(UTC)
        holds = decision_document("degrade", reasons=["spent"], at=now, until=now + timedelta(hours=1), source="live", slos={})
        path.write_text(json.dumps(holds))
        request_log.write(1000, 0, at=now - timedelta(days=20, minutes=5))
        interval = (now - timedelta(days=21), now - timedelta(days=20))
        past = {"run_type": "backfill", "data_interval": interval}
        ran = run_task(
            PolicyDecisionOperator(task_id="act", slos=sql_documents(DEGRADES), decision_path=str(path)),
            connections=request_log.connection, **past,
        )  # fmt: skip
        told = ran.xcoms["return_value"]
        assert (told["action"], told["before"], told["changed"], told["written"]) == ("allow", "degrade", False, False)
        assert json.loads(path.read_text()) == holds
        assert ledger_file.checks("decision"), "it is recorded all the same"

        acts = {"task_id": "act", "decision_path": str(path), "action": "allow", "reason": "a test"}
        ran = run_task(ServingDecisionOperator(**acts), **past)
        assert (ran.state, json.loads(path.read_text())) == ("failed", holds)
        assert "allow_backfill=True" in str(ran.error)
        ran = run_task(ServingDecisionOperator(**acts, allow_backfill=True), **past)
        assert (ran.state, read_decision(path).action) == ("success", "allow")

    def test_later_decision_is_not_replaced(self, tmp_path: Path):
        path, now = tmp_path / "d.json", datetime.now(UTC)
        later = decision_document("degrade", reasons=["spent"], at=now + MINUTE, until=now + 2 * MINUTE, source="live", slos={})
        path.write_text(json.dumps(later))
        task = ServingDecisionOperator(task_id="act", decision_path=str(path), action="allow", reason="a test")
        ran = run_task(task)
        assert isinstance(ran.error, ReasonedError) and ran.error.transient and "is not changed" in str(ran.error)
        assert json.loads(path.read_text()) == later
        path.write_text(json.dumps({**later, "valid_until": now.isoformat()}))  # expired: it holds no longer
        assert run_task(task).state == "success"

    def test_invalid_rendered_action_fails_at_once(self, tmp_path: Path):
        task = ServingDecisionOperator(
            task_id="act", decision_path=str(tmp_path / "d.json"), action="{{ params.action }}", reason="r",
            params={"action": "freez"}, retries=3,
        )  # fmt: skip
        assert isinstance(run_task(task).error, AirflowFailException) and not (tmp_path / "d.json").exists()

    def test_invalid_arguments_are_rejected_at_parse_time(self):
        for arguments, said in (({"action": "explode"}, "action='explode'"), ({"valid_for": timedelta(0)}, "must be positive")):
            with pytest.raises(ValueError, match=said):
                ServingDecisionOperator(**{"task_id": "x", "decision_path": "p", "action": "allow", "reason": "r", **arguments})
