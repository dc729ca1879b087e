"""The second wall: what changes something takes the decision of a gate, and refuses in a backfill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task_group
from airflow.sdk.execution_time import comms

from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from airflow_slo_provider.operators.kubernetes import (
    DeploymentRollbackOperator,
    DeploymentScaleOperator,
    DeploymentSetImageOperator,
)
from airflow_slo_provider.operators.model_registry import PromoteModelOperator, RollbackModelOperator
from airflow_slo_provider.operators.policy_actions import ServingDecisionOperator
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import Ran, in_dag, run_task

NOW = datetime.now(UTC)


def decision(**other: Any) -> dict[str, Any]:
    """What a gate of ``a_run`` pushes."""
    made = {
        "schema_version": 1, "outcome": "allowed", "action": "allow", "allowed": True, "satisfied": True, "at": NOW.isoformat(),
        "reasons": [], "slos": [], "dag_id": "a_dag", "run_id": "a_run", "task_id": "gate", "map_index": -1,
        "decided_at": NOW.isoformat(),
    }  # fmt: skip
    return {**made, **other}


def acting_task(path: Path, gate: Any = "gate", **arguments: Any) -> ServingDecisionOperator:
    """Something that acts: it writes a file."""
    act = ServingDecisionOperator(
        task_id="act", decision_path=str(path), action="degrade", reason="a test", gate=gate, **arguments
    )
    in_dag(act)
    ErrorBudgetGateOperator(task_id="gate", slos="/slos", dag=act.dag) >> act
    return act


def task_states(**found: str) -> dict[type, Any]:
    return {comms.GetTaskStates: comms.TaskStatesResult(task_states={"a_run": found})}


def run_at_decision(task: Any, **run: Any) -> Ran:
    """Run a task in a run that was started when the decisions of this file were made, however long ago that is."""
    return run_task(task, **{"run_started": NOW, **run})


def run_acting_task(path: Path, gate: Any = "gate", *, left: Any = None, state: str = "success", **run: Any) -> Ran:
    ran = run_at_decision(acting_task(path, gate), xcoms={("gate", "decision"): left}, answers=task_states(gate=state), **run)
    assert (ran.state == "success") == path.exists(), ran.error
    return ran


class TestDecision:
    @pytest.mark.parametrize("outcome", ["allowed", "warning"])
    def test_acting_task_after_allowing_gate_runs(self, tmp_path: Path, outcome: str):
        ran = run_acting_task(tmp_path / "d", left=decision(outcome=outcome))
        assert ran.state == "success", ran.error
        assert f"The gate gate allows it: {outcome}, decided at {NOW.isoformat()}" in ran.log

    @pytest.mark.parametrize(
        ("left", "why"),
        [
            (None, "left no decision in this run"),
            ("allowed", "which no gate pushes"),
            ([decision()], "which no gate pushes"),
            (decision(allowed=False, outcome="frozen", reasons=["spent"]), "'frozen' (spent)"),
            (decision(allowed="True"), "does not allow it"),
            (decision(allowed=1), "does not allow it"),
            (decision(outcome="unknown"), "does not allow it"),
            ({key: value for key, value in decision().items() if key != "allowed"}, "does not allow it"),
            (decision(satisfied=False), "was not satisfied"),
            (decision(satisfied="True"), "was not satisfied"),
            ({key: value for key, value in decision().items() if key != "satisfied"}, "was not satisfied"),
            (decision(schema_version=2), "schema_version 2"),
            (decision(schema_version=None), "schema_version None"),
            (decision(schema_version=True), "schema_version True"),
            (decision(run_id="another"), "its run_id is 'another'"),
            (decision(dag_id="another"), "its dag_id"),
            (decision(task_id="another"), "its task_id"),
            (decision(map_index=0), "its map_index"),
            (decision(decided_at=None), "does not say when"),
            (decision(decided_at="2026-11-24T05:00:00"), "does not say when"),
        ],
    )
    def test_acting_task_without_allowing_decision_fails(self, tmp_path: Path, left: Any, why: str):
        ran = run_acting_task(tmp_path / "d", left=left)
        assert (ran.state, why in str(ran.error)) == ("failed", True), ran.error

    @pytest.mark.parametrize("state", ["failed", "skipped", "running", "upstream_failed", None])
    def test_acting_task_after_unsuccessful_gate_fails(self, tmp_path: Path, state: Any):
        """A sensor that gave up over min_remaining has pushed a decision that allows."""
        assert run_acting_task(tmp_path / "d", left=decision(), state=state).state == "failed"

    def test_acting_task_after_gate_without_instance_fails(self, tmp_path: Path):
        answers = {comms.GetTaskStates: comms.TaskStatesResult(task_states={})}
        ran = run_at_decision(acting_task(tmp_path / "d"), xcoms={("gate", "decision"): decision()}, answers=answers)
        assert (ran.state, "no instance of the gate" in str(ran.error)) == ("failed", True)

    def test_acting_task_cleared_alone_a_week_later_rejects_old_decision(self, tmp_path: Path):
        old = decision(decided_at=(NOW - timedelta(days=7)).isoformat())
        ran = run_acting_task(tmp_path / "d", left=old)
        assert (ran.state, "Clear the gate together with this task" in str(ran.error)) == ("failed", True)

    @pytest.mark.parametrize(("minutes", "state"), [(4, "success"), (6, "failed")])
    def test_acting_task_cleared_alone_within_minutes_accepts_decision(self, tmp_path: Path, minutes: int, state: str):
        """Clocks of machines differ; docs/gates.md says so."""
        old = decision(decided_at=(NOW - timedelta(minutes=minutes)).isoformat())
        assert run_acting_task(tmp_path / "d", left=old, run_started=NOW).state == state

    def test_acting_task_after_long_approval_in_same_run_runs(self, tmp_path: Path):
        old, started = decision(decided_at=(NOW - timedelta(days=2)).isoformat()), NOW - timedelta(days=2, minutes=1)
        assert run_acting_task(tmp_path / "d", left=old, run_started=started).state == "success"


class TestGiven:
    def test_gate_as_decision_dict_is_accepted(self, tmp_path: Path):
        assert run_acting_task(tmp_path / "d", decision(), left=decision()).state == "success"
        assert run_acting_task(tmp_path / "e", decision(allowed=False), left=decision()).state == "failed"
        assert run_acting_task(tmp_path / "f", decision(run_id="another"), left=decision()).state == "failed"

    @pytest.mark.parametrize("left", [None, decision(allowed=False, outcome="frozen"), decision(satisfied=False)])
    def test_gate_as_changed_decision_is_rejected(self, tmp_path: Path, left: Any):
        assert run_acting_task(tmp_path / "d", decision(), left=left).state == "failed"

    def test_gate_set_later_by_subclass_is_checked(self, tmp_path: Path):
        act = acting_task(tmp_path / "d", None)
        act.gate = "gate"
        ran = run_at_decision(act, xcoms={("gate", "decision"): decision(allowed=False)}, answers=task_states(gate="success"))
        assert (ran.state, (tmp_path / "d").exists()) == ("failed", False)

    def test_gate_as_rendered_text_is_rejected(self, tmp_path: Path):
        ran = run_acting_task(tmp_path / "d", "{{ ti.xcom_pull(task_ids='gate', key='decision') }}", left=decision())
        assert (ran.state, "as a template renders it" in str(ran.error)) == ("failed", True)

    def test_gate_as_native_rendered_decision_is_checked(self, tmp_path: Path):
        for name, left, state in (("d", decision(), "success"), ("e", decision(allowed=False), "failed"), ("f", None, "failed")):
            act = ServingDecisionOperator(
                task_id="act", decision_path=str(tmp_path / name), action="degrade", reason="a test",
                gate="{{ ti.xcom_pull(task_ids='gate', key='decision') }}",
            )  # fmt: skip
            dag = DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), render_template_as_native_obj=True)
            dag.add_task(act)
            ErrorBudgetGateOperator(task_id="gate", slos="/slos", dag=dag) >> act
            ran = run_at_decision(act, xcoms={("gate", "decision"): left}, answers=task_states(gate="success"))
            assert (ran.state, (tmp_path / name).exists()) == (state, state == "success"), ran.error

    def test_gate_as_xcom_arg_is_checked(self, tmp_path: Path, request_log: RequestLog):
        with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            gate = ErrorBudgetGateOperator(task_id="gate", slos=sql_documents())
            act = ServingDecisionOperator(
                task_id="act", decision_path=str(tmp_path / "d"), action="degrade", reason="r", gate=gate.output["decision"]
            )
        assert act.upstream_task_ids == {"gate"}
        for left, state in ((decision(), "success"), (None, "failed"), (decision(allowed=False), "failed")):
            ran = run_at_decision(act, xcoms={("gate", "decision"): left}, answers=task_states(gate="success"))
            assert ran.state == state, ran.error

    @pytest.mark.parametrize("gate", [True, 3, [], [3], {"allowed": True}])
    def test_gate_of_other_type_is_rejected(self, tmp_path: Path, gate: Any):
        assert run_acting_task(tmp_path / "d", gate).state == "failed"

    def test_real_gate_allows_acting_task(self, tmp_path: Path, request_log: RequestLog, ledger_file: LedgerFile):
        for bad, name, state in ((1, "d", "success"), (100, "e", "failed")):
            request_log.clear()
            request_log.write(1000 - bad, bad)
            gate = ErrorBudgetGateOperator(task_id="gate", slos=sql_documents())
            left = run_task(in_dag(gate), connections=request_log.connection).xcoms["decision"]
            assert run_acting_task(tmp_path / name, left=left).state == state


class TestMapped:
    def test_acting_task_in_mapped_group_uses_gate_of_same_index(self, tmp_path: Path):
        act = self._in_group(tmp_path / "d")
        left = {("each.gate", "decision", number): self._decision_of(number, number == 1) for number in (0, 1)}
        answers = task_states(**{"each.gate_0": "success", "each.gate_1": "success"})
        assert run_at_decision(act, map_index=1, xcoms=left, answers=answers).state == "success"
        ran = run_at_decision(act, map_index=0, xcoms=left, answers=answers)
        assert (ran.state, "each.gate[0] does not allow" in str(ran.error)) == ("failed", True)
        assert run_at_decision(act, map_index=2, xcoms=left, answers=answers).state == "failed"

    @pytest.mark.parametrize(
        ("allowed", "found", "state"),
        [
            ((True, True), ("success", "success"), "success"),
            ((True, False), ("success", "success"), "failed"),
            ((True, None), ("success", "success"), "failed"),
            ((True, True), ("success", "failed"), "failed"),
            ((), ("skipped",), "failed"),
        ],
    )
    def test_acting_task_outside_mapped_group_needs_every_gate_instance(
        self, tmp_path: Path, allowed: Any, found: Any, state: str
    ):
        with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            gate = ErrorBudgetGateOperator.partial(task_id="gate").expand(slos=["/a", "/b"])
            act = ServingDecisionOperator(
                task_id="act", decision_path=str(tmp_path / "d"), action="degrade", reason="r", gate="gate"
            )
            gate >> act
        left = {
            ("gate", "decision", number): None if one is None else decision(map_index=number, allowed=one)
            for number, one in enumerate(allowed)
        }
        names = [f"gate_{number}" for number in range(len(found))] if allowed else ["gate"]
        ran = run_at_decision(act, xcoms=left, answers=task_states(**dict(zip(names, found, strict=True))))
        assert (ran.state, (tmp_path / "d").exists()) == (state, state == "success"), ran.error

    def test_gate_as_part_of_mapped_decisions_is_rejected(self, tmp_path: Path):
        act = acting_task(tmp_path / "d", [decision(map_index=0)])
        left = {("gate", "decision", number): decision(map_index=number) for number in (0, 1)}
        ran = run_at_decision(act, xcoms=left, answers=task_states(gate_0="success", gate_1="success"))
        assert (ran.state, "gate[1] has left no decision" in str(ran.error)) == ("failed", True)

    def _in_group(self, path: Path) -> Any:
        with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:

            @task_group
            def each(name: str):
                gate = ErrorBudgetGateOperator(task_id="gate", slos=name)
                act = ServingDecisionOperator(
                    task_id="act", decision_path=str(path), action="degrade", reason="r", gate="each.gate"
                )
                gate >> act

            each.expand(name=["/a", "/b"])
        return dag.get_task("each.act")

    def _decision_of(self, number: int, allowed: bool) -> dict[str, Any]:
        return decision(task_id="each.gate", map_index=number, allowed=allowed, outcome="allowed" if allowed else "frozen")


class TestReading:
    def parse(self, gate: str, *, upstream: bool = True, group: bool = False) -> None:
        with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            first = ErrorBudgetGateOperator(task_id="checks.gate" if group else "gate", slos="/slos")
            act = PromoteModelOperator(task_id="act", model="m", version="1", gate=gate)
            between = EmptyOperator(task_id="between")
            if upstream:
                first >> between >> act
            dag.resolve_template_files()

    def test_gate_upstream_is_accepted(self):
        self.parse("gate")
        self.parse("{{ params.gate }}")

    def test_gate_that_is_not_a_task_is_rejected(self):
        with pytest.raises(Exception, match=r"act: gate names 'gat', .* no such task; did you mean 'gate'"):
            self.parse("gat")
        with pytest.raises(Exception, match=r"did you mean 'checks.gate'"):
            self.parse("gate", group=True)

    def test_gate_not_upstream_is_rejected(self):
        with pytest.raises(Exception, match="not upstream of act"):
            self.parse("gate", upstream=False)

    def test_invalid_gate_is_rejected_at_run_time(self, tmp_path: Path):
        assert run_acting_task(tmp_path / "d", "gat").state == "failed"


ACTING = [
    PromoteModelOperator(task_id="act", model="m", version="1", registry_path="/nowhere"),
    RollbackModelOperator(task_id="act", model="m", registry_path="/nowhere"),
    DeploymentRollbackOperator(task_id="act", name="d", namespace="n"),
    DeploymentSetImageOperator(task_id="act", name="d", namespace="n", images={"*": "i"}),
    DeploymentScaleOperator(task_id="act", name="d", namespace="n", replicas=1),
    ServingDecisionOperator(task_id="act", decision_path="/nowhere/d", action="allow", reason="r"),
]


@pytest.mark.parametrize("index", range(len(ACTING)), ids=[type(one).__name__ for one in ACTING])
class TestEveryActingOperator:
    def build_operator(self, index: int, **arguments: Any) -> Any:
        one = ACTING[index]
        kwargs = {key: value for key, value in one._BaseOperator__init_kwargs.items() if key != "task_id"}
        return type(one)(task_id="act", **{**kwargs, **arguments})

    @pytest.mark.parametrize(
        "run", [{"data_interval": (NOW - timedelta(days=2), NOW - timedelta(days=1))}, {"partition": ("p", None)}]
    )
    def test_backfill_run_fails_by_default(self, index: int, run: dict[str, Any]):
        ran = run_at_decision(self.build_operator(index), run_type="backfill", **run)
        assert (ran.state, "allow_backfill=True" in str(ran.error)) == ("failed", True), ran.error

    def test_backfill_run_with_allow_backfill_runs(self, index: int, ledger_file: LedgerFile):
        ran = run_at_decision(self.build_operator(index, allow_backfill=True), run_type="backfill", logical_date=NOW)
        assert "allow_backfill" not in str(ran.error)

    def test_run_without_decision_fails(self, index: int):
        act = in_dag(self.build_operator(index, gate="gate"))
        ErrorBudgetGateOperator(task_id="gate", slos="/slos", dag=act.dag) >> act
        ran = run_at_decision(act, answers=task_states(gate="success"))
        assert (ran.state, "has left no decision" in str(ran.error)) == ("failed", True), ran.error
