"""What is refused when a DAG is read: branches that lead elsewhere, and tasks that would run although a gate blocks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup, task_group
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.operators.drift import DriftBranchOperator, DriftOperator
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from airflow_slo_provider.operators.incident import OpenIncidentOperator
from airflow_slo_provider.operators.latency import LatencyBreakdownBranchOperator
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from tests.airflow.blocking_dags import branch, gate, made, read, task
from tests.airflow.gates import LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import run_task

HOLD = ("all_success", "none_failed", "none_failed_min_one_success")
RUN = (
    "all_done", "always", "one_success", "one_failed", "one_done", "none_skipped", "all_failed", "all_skipped",
    "all_done_min_one_success",
)  # fmt: skip
FORMS = ("gate", "branch", "sensor", "mapped", "group", "xcom_group", "drift", "latency")
#: Airflow itself refuses these.
REFUSED = {("group", "always"), ("xcom_group", "always")}


def mapped_group(make: Callable[[], Any], over: Any = ("a", "b")) -> Any:
    """Put what ``make`` makes into a task group that is mapped."""

    @task_group(group_id="per_model")
    def group(name: str) -> None:
        make()

    return group.expand(name=list(over) if isinstance(over, tuple) else over)


def names() -> Any:
    from airflow.sdk import task as decorated

    @decorated(task_id="names")
    def made_names() -> list[str]:
        return ["a", "b"]

    return made_names()


class TestTriggerRules:
    @pytest.mark.parametrize("rule", HOLD)
    def test_indirect_task_that_stays_blocked_is_accepted(self, rule: str) -> None:
        read(lambda: gate() >> task("prep", rule) >> task("deploy", rule))
        read(lambda: branch() >> task("promote", rule) >> task("deploy", rule))
        read(lambda: ErrorBudgetSensor(task_id="wait", slos=sql_documents()) >> task("prep") >> task("deploy", rule))
        read(lambda: mapped_group(lambda: gate() >> task("prep") >> task("deploy", rule), over=names()))

    @pytest.mark.parametrize(("form", "rule"), [(form, rule) for form in FORMS for rule in RUN if (form, rule) not in REFUSED])
    def test_task_that_would_run_is_rejected_unless_named(self, form: str, rule: str) -> None:
        def build(**allowed: Any) -> None:
            def chain(first: Any) -> None:
                first >> task("promote") >> task("deploy", rule)

            if form == "gate":
                chain(gate(**allowed))
            elif form == "branch":
                chain(branch(**allowed))
            elif form == "sensor":
                chain(ErrorBudgetSensor(task_id="wait", slos=sql_documents(), **allowed))
            elif form == "mapped":
                partial = ErrorBudgetGateOperator.partial(task_id="gate", slos=sql_documents(), **allowed)
                chain(partial.expand(select=[["a"], ["b"]]))
            elif form == "drift":
                chain(DriftBranchOperator(task_id="drifted", reference="r.json", current="c", if_drift="promote", **allowed))
            elif form == "latency":
                latency = LatencyBreakdownBranchOperator(
                    task_id="latency", service="shop", budgets={"p99": 1}, follow_task_ids_if_within="promote", **allowed
                )
                chain(latency)
            else:
                mapped_group(lambda: chain(gate(**allowed)), over=names() if form == "xcom_group" else ("a", "b"))

        with pytest.raises(ValueError, match=r"cannot keep .*deploy from running: its trigger rule"):
            read(build)
        read(lambda: build(may_run_when_blocked="per_model.deploy" if "group" in form else "deploy"))

    def test_exemption_accepts_group_and_needs_no_teardown(self) -> None:
        def build(**allowed: Any) -> None:
            with TaskGroup("afterwards") as afterwards:
                task("notify", "all_done")
            first = gate(**allowed)
            first >> task("deploy") >> [afterwards, EmptyOperator(task_id="cleanup").as_teardown()]

        with pytest.raises(ValueError, match=r"may_run_when_blocked=\['afterwards.notify'\]"):
            read(build)
        read(lambda: build(may_run_when_blocked=["afterwards"]))

    @pytest.mark.parametrize(
        ("name", "said"),
        [("notifi", "no such task or task group; did you mean 'notify'"), ("before", "upstream of it"), ("else", "not directly")],
    )
    def test_exemption_of_task_not_downstream_is_rejected(self, name: str, said: str) -> None:
        def build() -> None:
            task("else")
            task("before") >> gate(may_run_when_blocked=[name]) >> task("notify")

        with pytest.raises(ValueError, match=f"may_run_when_blocked names '{name}', .*{said}"):
            read(build)

    def test_task_after_exempt_task_is_rejected(self) -> None:
        """It would run after a notification, which runs after a gate that failed."""
        chained = lambda: gate(may_run_when_blocked="tell") >> task("prep") >> task("tell", "all_done") >> task("deploy")  # noqa: E731
        with pytest.raises(ValueError, match=r"cannot keep deploy from running: it comes only after tasks that may run"):
            read(chained)

    def test_gate_without_ignored_rules_checks_direct_tasks_only(self) -> None:
        read(lambda: gate(ignore_downstream_trigger_rules=False) >> task("prep") >> task("report", "all_done"))
        with pytest.raises(ValueError, match="cannot keep report"):
            read(lambda: gate(ignore_downstream_trigger_rules=False) >> task("report", "all_done"))

    @pytest.mark.parametrize("arguments", [{"soft_fail": True}, {"never_fail": True}])
    def test_sensor_with_soft_fail_requires_all_success(self, arguments: dict[str, Any]) -> None:
        def build(rule: str) -> None:
            ErrorBudgetSensor(task_id="wait", slos=sql_documents(), **arguments) >> task("deploy", rule)

        read(lambda: build("all_success"))
        with pytest.raises(ValueError, match="wait cannot keep deploy from running: its trigger rule none_failed"):
            read(lambda: build("none_failed"))

    def test_drift_check_requires_all_success_only_if_it_may_skip(self) -> None:
        def build(rule: str, **arguments: Any) -> None:
            DriftOperator(task_id="drift", reference="r.json", current="c", **arguments) >> task("load", rule)

        read(lambda: build("all_done"))
        read(lambda: build("all_done", fail_on_drift=True))
        read(lambda: build("all_success", on_states={"drift": "skip"}))
        with pytest.raises(ValueError, match="drift cannot keep load"):
            read(lambda: build("none_failed", on_states={"drift": "skip"}))
        read(lambda: build("none_failed", on_states={"drift": "skip"}, may_run_when_blocked="load"))

    def test_rejected_dag_shows_import_error(self, tmp_path: Path) -> None:
        from airflow.dag_processing.dagbag import DagBag

        file = tmp_path / "refused.py"
        file.write_text(
            "from tests.airflow.blocking_dags import gate, made, task\n"
            "refused = made(lambda: gate() >> task('deploy', 'all_done'))  # airflow DAG\n"
        )
        bag = DagBag(dag_folder=str(file), safe_mode=False, load_op_links=False)
        (said,) = bag.import_errors.values()
        assert "gate cannot keep deploy from running" in said
        assert not bag.dags


class TestTargets:
    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("gate", "which is this task itself"),
            ("evaluate", "which is upstream of it"),
            ("elsewhere", "which is not directly downstream of it; write gate >> elsewhere"),
            ("later", "which is not directly downstream of it"),
            ("ship", "no such task or task group; did you mean 'group.ship'"),
            ("promot", "no such task or task group; did you mean 'promote'"),
            ("group.pack", "which is not directly downstream of it"),
        ],
    )
    @pytest.mark.parametrize("form", ["plain", "mapped"])
    def test_branch_to_task_not_downstream_is_rejected(self, form: str, target: str, said: str) -> None:
        def build() -> None:
            arguments: dict[str, Any] = {"slos": sql_documents(), "follow_task_ids_if_allowed": "promote", "if_frozen": target}
            if form == "plain":
                one: Any = ErrorBudgetBranchOperator(task_id="gate", **arguments)
            else:
                one = ErrorBudgetBranchOperator.partial(task_id="gate", **arguments).expand(select=[["a"], ["b"]])
            task("elsewhere")
            with TaskGroup("group"):
                ship = task("ship")
                ship >> task("pack")
            task("evaluate") >> one >> [task("promote"), ship]
            one.dag.get_task("promote") >> task("later")

        with pytest.raises(ValueError, match=f"gate: if_frozen names '{target}', .*{said}"):
            read(build)

    def test_group_with_root_not_downstream_is_rejected(self) -> None:
        """``promote(); gate >> hold()`` would promote whatever is decided."""

        def build() -> None:
            task("promote")
            branch(if_frozen="hold") >> task("hold")

        with pytest.raises(ValueError, match="follow_task_ids_if_allowed names 'promote', which is not directly downstream"):
            read(build)

    def test_group_with_all_roots_downstream_is_accepted(self) -> None:
        def build(*, loose: bool) -> None:
            with TaskGroup("promote") as group:
                first = task("first")
                task("second")
            branch() >> (first if loose else group)

        read(lambda: build(loose=False))
        with pytest.raises(
            ValueError, match=r"its task 'promote\.second' is not downstream of gate: it runs whatever is decided"
        ):
            read(lambda: build(loose=True))

    def test_every_branch_operator_is_checked(self) -> None:
        latency = {"task_id": "t", "service": "shop", "budgets": {"p99": 1}}
        drift = {"task_id": "t", "reference": "r.json", "current": "c"}
        for make in (
            lambda: DriftBranchOperator(**drift, if_drift="a", if_ok="lost") >> task("a"),
            lambda: DriftBranchOperator.partial(**drift, if_ok="lost").expand(if_drift=["a", "a"]) >> task("a"),
            lambda: LatencyBreakdownBranchOperator(**latency, follow_task_ids_if_within="a", if_slower="lost") >> task("a"),
            lambda: OpenIncidentOperator(task_id="t", branches={"model_serving_degradation": "lost"}) >> task("a"),
        ):
            with pytest.raises(ValueError, match="names 'lost', and the DAG blocking has no such task"):
                read(make)

    def test_frozen_branch_that_leads_to_promotion_is_rejected(self) -> None:
        def build(frozen: str | list[str], **arguments: Any) -> None:
            one = branch(if_frozen=frozen, **arguments)
            promote, hold, evaluate = task("promote", HOLD[2]), task("hold"), task("evaluate")
            one >> [promote, hold, evaluate]
            evaluate >> promote

        with pytest.raises(ValueError, match="if_frozen leads by 'evaluate' to 'promote', which only an allowed deployment"):
            read(lambda: build("evaluate"))
        read(lambda: build("hold", if_warning="evaluate", if_unknown="evaluate", if_escalated="evaluate"))

    @pytest.mark.parametrize(
        ("allowed", "frozen", "reached"),
        [
            ("promote", "promote", "promote"), ("promote", ["promote", "hold"], "promote"), ("g.first", "g", "g.first"),
            ("g", "g.first", "g.first"), ("g", "hold", "g.last"), ("g", "far", "g.last"),
        ],
    )  # fmt: skip
    def test_frozen_branch_that_shares_task_with_allowed_branch_is_rejected(
        self, allowed: str, frozen: str | list[str], reached: str
    ) -> None:
        def build(**arguments: Any) -> None:
            one = branch(follow_task_ids_if_allowed=allowed, **arguments)
            hold, far, between, promote = task("hold"), task("far"), task("between"), task("promote")
            with TaskGroup("g"):
                first, last = task("first"), task("last", HOLD[2])
                first >> last
            one >> [promote, hold, far, first]
            far >> between >> last
            hold >> last
            [promote, hold, far] >> task("join", HOLD[2])

        said = f"if_frozen leads by .* to '{reached}', which only an allowed deployment may run"
        with pytest.raises(ValueError, match=said):
            read(lambda: build(if_frozen=frozen))
        ran = run_task(made(lambda: build(if_frozen=frozen)).get_task("gate"))
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)
        read(lambda: build(if_frozen=frozen, may_run_when_blocked=["promote", "g"]))

    def test_frozen_branch_that_joins_allowed_branch_later_is_accepted(self) -> None:
        def build() -> None:
            with TaskGroup("g") as group:
                task("first") >> task("last")
            hold = task("hold")
            branch(follow_task_ids_if_allowed="g", if_frozen="hold") >> [group, hold]
            [group, hold] >> task("join", HOLD[2])

        read(build)

    @pytest.mark.parametrize("name", ["if_unknown", "if_escalated"])
    def test_other_branch_that_names_reserved_task_is_rejected(self, name: str) -> None:
        def build(**arguments: Any) -> None:
            branch(follow_task_ids_if_allowed=["promote", "tell"], **{name: ["ask", "tell"]}, **arguments) >> [
                task("promote"), task("ask"), task("tell"),
            ]  # fmt: skip

        with pytest.raises(ValueError, match=f"{name} leads directly to 'tell', which only an allowed deployment"):
            read(build)
        read(lambda: build(may_run_when_blocked="tell"))

    @pytest.mark.parametrize("form", ["branch", "drift", "latency", "incident"])
    def test_branch_in_group_mapped_over_xcom_is_rejected(self, form: str) -> None:
        def inner() -> None:
            target = "per_model.promote"
            one: Any = {
                "branch": lambda: branch(follow_task_ids_if_allowed=target),
                "drift": lambda: DriftBranchOperator(task_id="gate", reference="r.json", current="c", if_drift=target),
                "latency": lambda: LatencyBreakdownBranchOperator(
                    task_id="gate", service="shop", budgets={"p99": 1}, follow_task_ids_if_within=target
                ),
                "incident": lambda: OpenIncidentOperator(task_id="gate", branches={"model_serving_degradation": target}),
            }[form]()
            one >> task("promote")

        with pytest.raises(ValueError, match=r"mapped over the XCom of names.* Use ErrorBudgetGateOperator there"):
            read(lambda: mapped_group(inner, over=names()))
        read(lambda: mapped_group(inner))


def test_gate_rechecks_dag_before_measuring(request_log: RequestLog, ledger_file: LedgerFile) -> None:
    """A DAG that no DAG processor has read: `dag.test()`, a test of somebody's own."""
    for build in (
        lambda: gate() >> task("deploy", "all_done"),
        lambda: branch(if_frozen="lost") >> task("promote"),
        lambda: ErrorBudgetSensor(task_id="gate", slos=sql_documents()) >> task("deploy", "always"),
    ):
        ran = run_task(made(build).get_task("gate"), connections=request_log.connection, max_tries=3)
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)
    assert ledger_file.outcomes() == []
