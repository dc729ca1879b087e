"""How each operator keeps what it blocks from running, plain and mapped, in Airflow's own task runner.

That Airflow's scheduler then runs none of it is shown in tests/e2e/test_blocking_stack.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DownstreamTasksSkipped
from airflow.sdk.execution_time import comms

from airflow_slo_provider.incidents import PlaybookStep, StepState
from airflow_slo_provider.incidents.playbook import Kind
from airflow_slo_provider.operators.drift import DriftBranchOperator
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from airflow_slo_provider.operators.incident import OpenIncidentOperator, PostmortemOperator, StepApprovalOperator
from airflow_slo_provider.operators.latency import LatencyBreakdownBranchOperator
from airflow_slo_provider.runtime.incidents.step_recording import StepRecorder
from tests.airflow.blocking_dags import branch, gate, read, task
from tests.airflow.gate_tasks import counts
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import Ran, run_task
from tests.airflow.test_blocking_checks import mapped_group, names

T0 = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
ANSWER: dict[type, Any] = {comms.GetTICount: lambda msg: comms.TICount(count=3)}


def drift(**arguments: Any) -> DriftBranchOperator:
    return DriftBranchOperator(**{"task_id": "drift", "reference": "r.json", "current": "c", "if_drift": "keep", **arguments})


def skipped_instances(ran: Ran) -> list[tuple[str, int]]:
    """Each instance that the scheduler is told to skip."""
    return sorted(one for msg in ran.messages if isinstance(msg, comms.SkipDownstreamTasks) for one in msg.tasks)


def sent_events(ran: Ran) -> set[str]:
    """Names of the assets and aliases whose events leave the task."""
    return {one.name for msg in ran.messages if isinstance(msg, comms.SucceedTask) for one in msg.task_outlets}


def run(build: Callable[[], Any], task_id: str, log: RequestLog, **arguments: Any) -> Ran:
    return run_task(read(build).get_task(task_id), connections=log.connection, answers=ANSWER, **arguments)


@pytest.fixture
def frozen(request_log: RequestLog, ledger_file: LedgerFile) -> RequestLog:
    counts(request_log, "frozen")
    return request_log


class TestGate:
    def test_unmapped_gate_skips_every_downstream_instance(self, frozen: RequestLog) -> None:
        def build() -> None:
            first = gate(may_run_when_blocked="tell")
            regions = task("prep")
            (
                first
                >> regions
                >> ErrorBudgetGateOperator.partial(task_id="deploy", slos="x", trigger_rule="none_failed").expand(
                    select=[["a"], ["b"]]
                )
            )
            regions >> task("tell", "all_done")

        ran = run(build, "gate", frozen)
        assert ran.state == "success"
        assert skipped_instances(ran) == [("deploy", -1), ("deploy", 0), ("deploy", 1), ("deploy", 2), ("prep", -1)]
        assert set(ran.xcoms["skipmixin_key"]["skipped"]) == {"prep", "deploy"}

    @pytest.mark.parametrize(
        ("rule", "error", "state"),
        [("all_success", AirflowSkipException, "skipped"), ("none_failed", AirflowFailException, "failed")],
    )
    @pytest.mark.parametrize("over", ["list", "xcom"])
    def test_gate_in_mapped_group_is_skipped_or_fails(
        self, frozen: RequestLog, over: str, rule: str, error: type, state: str
    ) -> None:
        build = lambda: mapped_group(  # noqa: E731
            lambda: gate() >> task("promote") >> task("tail", rule), over=names() if over == "xcom" else ("a", "b")
        )
        ran = run(build, "per_model.gate", frozen, map_index=1, max_tries=3)
        assert (ran.state, skipped_instances(ran)) == (state, [])
        assert ran.error is None or isinstance(ran.error, error)
        remedy = "give it trigger_rule='all_success', or allow it by name: may_run_when_blocked=['per_model.tail']"
        assert (remedy in str(ran.error)) is (state == "failed")
        assert ran.xcoms["decision"]["outcome"] == "frozen"

    @pytest.mark.parametrize(("rule", "state"), [("all_success", "skipped"), ("none_failed_min_one_success", "failed")])
    def test_mapped_gate_is_skipped_or_fails(self, frozen: RequestLog, rule: str, state: str) -> None:
        def build() -> None:
            mapped = ErrorBudgetGateOperator.partial(task_id="gate", slos=sql_documents())
            mapped.expand(select=[["answered"], ["answered"]]) >> task("deploy", rule)

        assert run(build, "gate", frozen, map_index=0).state == state

    def test_mapped_gate_that_allows_succeeds(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "allowed")
        ran = run(lambda: mapped_group(lambda: gate() >> task("promote")), "per_model.gate", request_log, map_index=0)
        assert (ran.state, ran.xcoms["return_value"]) == ("success", True)


class TestBranch:
    def test_branch_skips_all_tasks_not_followed(self, frozen: RequestLog) -> None:
        def build() -> None:
            promote, hold = task("promote"), task("hold")
            branch(if_frozen="hold") >> [promote, hold]
            [promote, hold] >> task("join", "none_failed_min_one_success")
            promote >> task("deploy", "none_failed")

        ran = run(build, "gate", frozen)
        assert (skipped_instances(ran), ran.xcoms["skipmixin_key"]) == ([("deploy", -1), ("promote", -1)], {"followed": ["hold"]})

    def test_branch_keeps_join_of_followed_task(self, frozen: RequestLog) -> None:
        def build(**ways: Any) -> None:
            promote, hold = task("promote"), task("hold")
            one, join = branch(**ways), task("join", "none_failed_min_one_success")
            one >> [promote, hold, join]
            [promote, hold] >> join

        assert skipped_instances(run(lambda: build(if_frozen="hold"), "gate", frozen)) == [("promote", -1)]
        assert skipped_instances(run(build, "gate", frozen)) == [("hold", -1), ("join", -1), ("promote", -1)]

    def test_branch_in_mapped_group_skips_own_index_inside_and_all_outside(self, frozen: RequestLog) -> None:
        def build() -> None:
            group = mapped_group(
                lambda: (
                    branch(follow_task_ids_if_allowed="per_model.promote", if_frozen="per_model.hold")
                    >> [task("promote"), task("hold")]
                )
            )
            dag = group.dag
            dag.get_task("per_model.promote") >> task("announce")

        ran = run(build, "per_model.gate", frozen, map_index=1)
        assert (ran.state, skipped_instances(ran)) == ("success", [("announce", -1), ("per_model.promote", 1)])

    def test_mapped_branch_skips_every_instance(self, frozen: RequestLog) -> None:
        def build() -> None:
            arguments = {"slos": sql_documents(), "follow_task_ids_if_allowed": "promote", "if_frozen": "hold"}
            mapped = ErrorBudgetBranchOperator.partial(task_id="gate", **arguments).expand(select=[["answered"]] * 2)
            deploy = ErrorBudgetGateOperator.partial(task_id="promote", slos="x").expand(select=[["a"], ["b"]])
            mapped >> [deploy, task("hold")]

        ran = run(build, "gate", frozen, map_index=1)
        assert skipped_instances(ran) == [("promote", -1), ("promote", 0), ("promote", 1), ("promote", 2)]

    def test_branch_in_mapped_group_that_follows_nothing_is_skipped(self, frozen: RequestLog) -> None:
        build = lambda: mapped_group(lambda: branch(follow_task_ids_if_allowed="per_model.promote") >> task("promote"))  # noqa: E731
        assert run(build, "per_model.gate", frozen, map_index=0).state == "skipped"

    def test_subclass_that_follows_task_not_downstream_fails(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        class Own(ErrorBudgetBranchOperator):
            def choose_branch(self, context: Any) -> str:
                return "gate"

        build = lambda: Own(task_id="gate", slos="x", follow_task_ids_if_allowed="promote") >> task("promote")  # noqa: E731
        ran = run(build, "gate", request_log)
        assert (ran.state, skipped_instances(ran)) == ("failed", [])
        assert "the chosen branch names 'gate', which is this task itself" in str(ran.error)


class TestEvents:
    OUTLETS = (Asset("promoted"), AssetAlias("promotions"))

    @pytest.mark.parametrize(
        ("outcome", "make", "leaves"),
        [
            ("allowed", "gate", True), ("warning", "gate", True), ("frozen", "gate", False),
            ("allowed", "branch", True), ("warning", "branch", True), ("frozen", "branch", False),
            ("warning", "asking", False), ("frozen", "asking", False), ("unknown", "asking", False), ("allowed", "asking", True),
        ],
    )  # fmt: skip
    def test_event_is_sent_only_if_allowed(
        self, request_log: RequestLog, ledger_file: LedgerFile, outcome: str, make: str, leaves: bool
    ) -> None:
        counts(request_log, outcome)

        def build() -> None:
            outlets = list(self.OUTLETS)
            asking = {"if_warning": "ask", "if_frozen": "ask", "if_unknown": "ask"} if make == "asking" else {}
            one: Any = gate(outlets=outlets) if make == "gate" else branch(outlets=outlets, **asking)
            one >> [task("promote"), task("ask")]

        dag_task = read(build).get_task("gate")
        for _ in range(2):  # `dag.test()` runs one object twice
            ran = run_task(dag_task, connections=request_log.connection, answers=ANSWER)
            assert ran.state == "success", ran.error
            assert sent_events(ran) == ({"promoted", "promotions"} if leaves else set())

    @pytest.mark.parametrize("index", [0, 1])
    def test_event_of_mapped_gate_is_sent_only_if_allowed(
        self, request_log: RequestLog, ledger_file: LedgerFile, index: int
    ) -> None:
        counts(request_log, "allowed" if index else "frozen")
        build = lambda: mapped_group(lambda: gate(outlets=list(self.OUTLETS)) >> task("promote"))  # noqa: E731
        ran = run(build, "per_model.gate", request_log, map_index=index)
        assert sent_events(ran) == ({"promoted", "promotions"} if index else set())


class TestOtherBranches:
    @pytest.mark.parametrize(("current", "followed"), [("shifted", "retrain"), ("same", "keep")])
    def test_drift_branch_in_mapped_group_skips_own_index(
        self, ledger_file: LedgerFile, tmp_path: Path, current: str, followed: str
    ) -> None:
        for name, shift in (("reference", 0), ("same", 0), ("shifted", 900)):
            rows = "\n".join(str(number % 997 + shift) for number in range(2000))
            (tmp_path / f"{name}.csv").write_text(f"amount\n{rows}\n")

        def inner() -> None:
            one = DriftBranchOperator(
                task_id="drifted", reference=str(tmp_path / "reference.csv"), current=str(tmp_path / f"{current}.csv"),
                if_drift="per_model.retrain", if_ok="per_model.keep", asset=Asset("told"), drift_asset=Asset("drift"),
                outlets=[Asset("scored")],
            )  # fmt: skip
            one >> [task("retrain"), task("keep")]

        ran = run_task(read(lambda: mapped_group(inner)).get_task("per_model.drifted"), map_index=1, answers=ANSWER)
        assert ran.state == "success", ran.error
        (other,) = {"retrain", "keep"} - {followed}
        assert skipped_instances(ran) == [(f"per_model.{other}", 1)]
        # The verdict's own events leave in any case; those of `outlets` only where there is no drift.
        assert sent_events(ran) == {"told", "drift: drift"} | ({"scored"} if followed == "keep" else set())

    def test_latency_branch_in_mapped_group_skips_own_index(self, ledger_file: LedgerFile, tmp_path: Path) -> None:
        (tmp_path / "empty.json").write_text('{"resourceSpans": []}')
        traces = {"traces": {"conn_type": "trace_store", "extra": {"kind": "otlp_json", "path": str(tmp_path / "empty.json")}}}

        def inner() -> None:
            one = LatencyBreakdownBranchOperator(
                task_id="latency", service="shop", trace_store_conn_id="traces", lag=timedelta(0), outlets=[Asset("fast")],
                follow_task_ids_if_within="per_model.go_on", if_unknown="per_model.ask",
            )  # fmt: skip
            one >> [task("go_on"), task("ask")]

        dag_task = read(lambda: mapped_group(inner)).get_task("per_model.latency")
        ran = run_task(dag_task, map_index=0, connections=traces, answers=ANSWER)
        assert ran.state == "success", ran.error
        assert (skipped_instances(ran), sent_events(ran)) == ([("per_model.go_on", 0)], set())


class TestIncidents:
    STEP = PlaybookStep(phase="mitigation", action="Approve it", id="approve", kind=Kind.APPROVAL, timeout=timedelta(minutes=5))

    @pytest.mark.parametrize(
        ("answer", "index", "rule", "error"),
        [
            ("Approve", -1, "all_success", None), ("Approve", 1, "all_success", None),
            ("Reject", -1, "all_success", DownstreamTasksSkipped), ("Reject", 1, "all_success", AirflowSkipException),
            ("Reject", 1, "none_failed", AirflowFailException),
        ],
    )  # fmt: skip
    def test_rejected_approval_in_mapped_playbook_skips_mitigation(
        self, ledger_file: LedgerFile, answer: str, index: int, rule: str, error: type | None
    ) -> None:
        def steps() -> None:
            approval = StepApprovalOperator(
                task_id="approve", step=self.STEP, recorder=StepRecorder(self.STEP), outlets=[Asset("approved")]
            )
            approval >> [task("act", rule), task("mitigation_is_over", "all_done")]

        dag = read(steps if index < 0 else lambda: mapped_group(steps))
        approve = dag.get_task("approve" if index < 0 else "per_model.approve")
        context = {
            "task": approve,
            "dag_run": SimpleNamespace(conf={}, dag_id="blocking", run_id="r", run_after=T0, start_date=T0),
            "ti": SimpleNamespace(
                dag_id="blocking", run_id="r", task_id=approve.task_id, map_index=index, try_number=1, start_date=T0,
                xcom_push=lambda key, value: None,
            ),
        }  # fmt: skip
        who = {"id": "1", "name": "Ann"}
        event = {"chosen_options": [answer], "params_input": {}, "responded_at": T0, "responded_by_user": who, "timedout": False}
        raised = None
        try:
            approve.execute_complete(context, event)
        except Exception as caught:
            raised = caught
        assert type(raised) is (error or type(None))
        assert [one.name for one in approve.outlets] == (["approved"] if answer == "Approve" else [])
        if isinstance(raised, AirflowSkipException):
            approve.recorder.skipped({**context, "exception": raised})
        expected = StepState.APPROVED if answer == "Approve" else StepState.REJECTED
        assert ledger_file.checks("incident_step")[-1].result.evidence["state"] == expected

    def test_incident_branches_in_mapped_group_skip_own_index(self, ledger_file: LedgerFile) -> None:
        def inner() -> None:
            from airflow_slo_provider.incidents.playbook_lookup import find_playbooks

            known = [one.incident_type for one in find_playbooks(None)][:2]
            one = OpenIncidentOperator(task_id="open", branches={known[0]: "per_model.a", known[1]: "per_model.b"})
            one >> [task("a"), task("b")] >> PostmortemOperator(task_id="post_mortem", path="/tmp/x")

        ran = run_task(read(lambda: mapped_group(inner)).get_task("per_model.open"), map_index=1, answers=ANSWER)
        assert ran.state == "success", ran.error
        assert skipped_instances(ran)
        assert {index for _, index in skipped_instances(ran)} == {1}
        assert "per_model.post_mortem" not in ran.skipped


class TestClearedAlone:
    """Where Airflow would run a blocked task that somebody clears, the task looks for itself."""

    @staticmethod
    def run_cleared(build: Callable[[], Any], task_id: str, blocked: list[list[str]], **arguments: Any) -> Ran:
        answers = {
            comms.GetXComSequenceSlice: comms.XComSequenceSliceResult(root=blocked),
            comms.GetXCom: comms.XComResult(key="blocked", value=blocked[0] if blocked else None),
        }
        return run_task(read(build).get_task(task_id), answers=answers, **arguments)

    @pytest.mark.parametrize(("blocked", "state"), [([["keep", "deploy"]], "skipped"), ([["keep"]], "success"), ([], "success")])
    def test_cleared_task_with_tolerant_rule_checks_branch(self, blocked: list[list[str]], state: str) -> None:
        seen: list[str] = []

        def build() -> None:
            own = lambda context: seen.append(context["ti"].task_id)  # noqa: E731
            drift() >> task("keep") >> task("deploy", "none_failed", pre_execute=own)

        ran = self.run_cleared(build, "deploy", blocked)
        assert (ran.state, seen) == (state, [] if state == "skipped" else ["deploy"])

    def test_cleared_task_after_mapped_branch_checks_every_instance(self) -> None:
        def build() -> None:
            mapped = DriftBranchOperator.partial(task_id="drift", reference="r.json", if_drift="keep")
            mapped.expand(current=["a", "b"]) >> task("keep")

        assert self.run_cleared(build, "keep", [[], ["keep"]]).state == "skipped"
        assert self.run_cleared(build, "keep", [[], []]).state == "success"

    def test_cleared_task_in_mapped_group_checks_branch_of_same_index(self) -> None:
        build = lambda: mapped_group(lambda: drift(if_drift="per_model.keep") >> task("keep"))  # noqa: E731
        ran = self.run_cleared(build, "per_model.keep", [["per_model.keep"]], map_index=1)
        assert ran.state == "skipped"
        assert [msg.map_index for msg in ran.messages if isinstance(msg, comms.GetXCom)] == [1]

    def test_task_that_airflow_blocks_gets_no_guard(self) -> None:
        for task_id in ("keep", "deploy"):
            assert (
                read(lambda: drift() >> task("keep", "none_failed") >> task("deploy")).get_task(task_id)._pre_execute_hook is None
            )

    def test_dag_parsed_twice_is_unchanged(self) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        def build() -> None:
            deploy = ErrorBudgetGateOperator.partial(task_id="deploy", slos="x", trigger_rule="none_failed")
            gate() >> task("prep") >> deploy.expand(select=[["a"], ["b"]])

        first, second = (str(DagSerialization.serialize_dag(read(build))) for _ in range(2))
        assert first == second
        assert "0x" not in first
