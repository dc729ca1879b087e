"""Tasks behind a gate do not run if it has not decided: it was skipped, removed, or marked as a success."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from airflow.sdk import TaskGroup
from airflow.sdk.execution_time import comms

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from tests.airflow.blocking_dags import branch, gate, read, task
from tests.airflow.gates import sql_documents
from tests.airflow.task_runs import Ran, run_task
from tests.airflow.test_acting import decision
from tests.airflow.test_blocking_checks import HOLD, mapped_group, names

ALLOWED, FROZEN = {"allowed": True}, {"allowed": False}
NOTHING = object()


def run_task_behind(
    build: Callable[[], Any], task_id: str, instances: Mapping[str, tuple[str | None, Any]], **arguments: Any
) -> Ran:
    """Run a task behind a gate whose instances are in these states and have left these XComs, by Airflow's name of them."""
    (gate_id,) = {one.rpartition("_")[0] if one[-1].isdecimal() else one for one in instances} or {"gate"}
    states = comms.TaskStatesResult(task_states={"a_run": {one: state for one, (state, _) in instances.items()}})
    xcoms: dict[tuple[Any, ...], Any] = {}
    for one, (_, pushed) in instances.items():
        index = (int(one.rpartition("_")[2]),) if one[-1].isdecimal() else ()
        if isinstance(pushed, dict):
            pushed = decision(dag_id="blocking", task_id=gate_id, map_index=index[0] if index else -1, **pushed)
        if pushed is not NOTHING:
            xcoms[gate_id, "blocked" if isinstance(pushed, list) else "decision", *index] = pushed
    return run_task(read(build).get_task(task_id), xcoms=xcoms, answers={comms.GetTaskStates: states}, **arguments)


class TestGate:
    @pytest.mark.parametrize("rule", HOLD)
    @pytest.mark.parametrize(
        ("state", "pushed", "expected"),
        [
            ("success", ALLOWED, "success"), ("success", FROZEN, "skipped"), ("success", NOTHING, "skipped"),
            ("skipped", NOTHING, "skipped"), ("skipped", ALLOWED, "skipped"), ("removed", ALLOWED, "skipped"),
            (None, ALLOWED, "skipped"), ("success", {"allowed": "yes"}, "skipped"), ("success", "allowed", "skipped"),
        ],
    )  # fmt: skip
    def test_downstream_task_runs_only_after_an_allowing_decision(
        self, rule: str, state: str | None, pushed: Any, expected: str
    ) -> None:
        def build() -> None:
            with TaskGroup("g"):
                last = task("last", rule)
            task("latest_only") >> gate() >> task("a", rule) >> task("promote", rule) >> last

        for task_id in ("a", "promote", "g.last"):
            ran = run_task_behind(build, task_id, {"gate": (state, pushed)})
            assert ran.state == expected, ran.error
        if expected == "skipped":
            assert "Clear gate to let it decide" in str(ran.entries)

    def test_unblocked_task_needs_no_decision(self) -> None:
        def build() -> None:
            first = gate(may_run_when_blocked="tell", ignore_downstream_trigger_rules=False)
            first >> task("a") >> task("far", "all_done")
            first >> task("tell", "all_done")
            first >> task("clean").as_teardown()

        for task_id in ("far", "tell", "clean"):
            assert run_task_behind(build, task_id, {"gate": ("skipped", NOTHING)}).state == "success"

    @pytest.mark.parametrize(
        ("instances", "expected"),
        [
            ({"gate_0": ("success", ALLOWED), "gate_1": ("success", ALLOWED)}, "success"),
            ({"gate_0": ("success", ALLOWED), "gate_1": ("removed", FROZEN)}, "success"),
            ({"gate_0": ("success", ALLOWED), "gate_1": ("success", NOTHING)}, "skipped"),
            ({"gate_0": ("success", ALLOWED), "gate_1": ("skipped", FROZEN)}, "skipped"),
            ({"gate_0": ("removed", ALLOWED), "gate_1": ("removed", ALLOWED)}, "skipped"),
            ({"gate": ("skipped", NOTHING)}, "skipped"),
            ({}, "skipped"),
        ],
    )
    def test_mapped_gate_must_allow_in_every_instance(self, instances: Any, expected: str) -> None:
        def build() -> None:
            mapped = ErrorBudgetGateOperator.partial(task_id="gate", slos=sql_documents()).expand(select=names())
            mapped >> task("promote")

        assert run_task_behind(build, "promote", instances).state == expected

    def test_gate_in_a_mapped_group_counts_by_index_inside_and_in_total_outside(self) -> None:
        def build() -> None:
            mapped_group(lambda: gate() >> task("promote"), over=names()) >> task("after")

        instances = {"per_model.gate_0": ("skipped", FROZEN), "per_model.gate_1": ("success", ALLOWED)}
        states = [run_task_behind(build, "per_model.promote", instances, map_index=index).state for index in (0, 1, 2)]
        assert states == ["skipped", "success", "skipped"]
        assert run_task_behind(build, "after", instances).state == "skipped"

    def test_own_pre_execute_hook_runs_after_the_decision_check(self) -> None:
        seen: list[str] = []

        def build() -> None:
            gate() >> task("last", "none_failed", pre_execute=lambda context: seen.append("last"))

        assert run_task_behind(build, "last", {"gate": ("skipped", NOTHING)}).state == "skipped"
        assert seen == []
        assert run_task_behind(build, "last", {"gate": ("success", ALLOWED)}).state == "success"
        assert seen == ["last"]

    def test_mapped_downstream_task_needs_a_decision(self) -> None:
        def build() -> None:
            deploy = ErrorBudgetGateOperator.partial(task_id="deploy", slos="x", trigger_rule="none_failed")
            gate() >> deploy.expand(select=[["a"], ["b"]])

        ran = run_task_behind(build, "deploy", {"gate": ("skipped", NOTHING)}, map_index=0)
        assert ran.state == "skipped"
        assert "Clear gate to let it decide" in str(ran.entries)


class TestBranch:
    @staticmethod
    def build() -> None:
        with TaskGroup("promote") as promote:
            task("first") >> task("second", "none_failed")
        first = branch(if_unknown="ask", if_frozen="hold", may_run_when_blocked="tell")
        run_task_behind, hold, tell = task("ask"), task("hold"), task("tell", "all_done")
        first >> [promote, run_task_behind, hold]
        run_task_behind >> promote
        promote >> task("deploy", "none_failed") >> tell
        [promote, hold] >> task("join", HOLD[2])

    @pytest.mark.parametrize(
        ("state", "pushed", "expected"),
        [
            ("success", ["hold", "ask"], "success"), ("success", ["promote.first", "promote.second", "deploy"], "skipped"),
            ("success", NOTHING, "skipped"), ("success", FROZEN, "skipped"), ("skipped", NOTHING, "skipped"),
            ("removed", ["hold"], "skipped"),
        ],
    )  # fmt: skip
    def test_task_of_the_allowed_branch_needs_a_decision(self, state: str, pushed: Any, expected: str) -> None:
        for task_id in ("promote.first", "promote.second", "deploy"):
            assert run_task_behind(self.build, task_id, {"gate": (state, pushed)}).state == expected

    @pytest.mark.parametrize("task_id", ["hold", "ask", "join", "tell"])
    def test_tasks_of_other_branches_and_joins_need_no_decision(self, task_id: str) -> None:
        assert run_task_behind(self.build, task_id, {"gate": ("success", NOTHING)}).state == "success"

    def test_mapped_branch_must_decide_in_every_instance(self) -> None:
        def build() -> None:
            one = ErrorBudgetBranchOperator.partial(task_id="gate", slos=sql_documents(), follow_task_ids_if_allowed="promote")
            one.expand(select=[["a"], ["b"]]) >> task("promote")

        let_go: tuple[str, list[str]] = ("success", [])
        assert run_task_behind(build, "promote", {"gate_0": let_go, "gate_1": let_go}).state == "success"
        assert run_task_behind(build, "promote", {"gate_0": let_go, "gate_1": ("success", ["promote"])}).state == "skipped"
        assert run_task_behind(build, "promote", {"gate_0": let_go, "gate_1": ("success", NOTHING)}).state == "skipped"
