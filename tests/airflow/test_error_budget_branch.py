"""Every outcome of the branch operator, measured on a real log, in Airflow's own task runner."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time import comms

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from airflow_slo_provider.slo.budget import text_table as table
from tests.airflow.gate_tasks import counts, followed, gate
from tests.airflow.gates import DAY, MINUTE, POLICY, LedgerFile, RequestLog, slo, sql_documents
from tests.airflow.task_runs import run_task

ESCALATES = """
  rules:
    - name: budget-spent
      action: escalate
      when: {signal: remainingBudget, enter: 0}
"""


class TestBranches:
    @pytest.mark.parametrize(
        ("outcome", "way"),
        [("allowed", "promote"), ("warning", "ask"), ("frozen", "hold"), ("escalated", "call"), ("unknown", "look")],
    )
    def test_branch_follows_parameter_of_outcome(
        self, request_log: RequestLog, ledger_file: LedgerFile, outcome: str, way: str
    ) -> None:
        counts(request_log, outcome)
        documents = sql_documents(ESCALATES) if outcome == "escalated" else sql_documents()
        ran = run_task(gate(documents), connections=request_log.connection)
        assert followed(ran) == {way}
        recorded = "frozen" if outcome == "escalated" else outcome
        assert ran.xcoms["decision"]["outcome"] == recorded
        assert ran.xcoms["decision"]["allowed"] is (outcome in ("allowed", "warning"))
        assert ledger_file.outcomes() == [recorded]

    @pytest.mark.parametrize(
        ("outcome", "way"),
        [("allowed", {"promote"}), ("warning", {"promote"}), ("frozen", set()), ("escalated", set())],
    )
    def test_branch_without_optional_parameters_uses_defaults(
        self, request_log: RequestLog, ledger_file: LedgerFile, outcome: str, way: set[str]
    ) -> None:
        counts(request_log, outcome)
        documents = sql_documents(ESCALATES) if outcome == "escalated" else sql_documents()
        assert followed(run_task(gate(documents, only={}), connections=request_log.connection)) == way

    def test_escalate_without_if_escalated_follows_if_frozen(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "escalated")
        operator = gate(sql_documents(ESCALATES), only={"if_frozen": "hold"})
        assert followed(run_task(operator, connections=request_log.connection)) == {"hold"}

    def test_unknown_without_if_unknown_fails_without_retry(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        ran = run_task(gate(sql_documents(), only={}, retries=3), connections=request_log.connection)
        assert ran.state == "failed"
        assert isinstance(ran.error, AirflowFailException)
        assert "no events in the window" in str(ran.error)
        assert ledger_file.outcomes() == ["unknown"]
        assert ran.xcoms["decision"]["outcome"] == "unknown"

    def test_no_data_with_policy_allow_is_allowed(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        ran = run_task(gate(sql_documents("  onNoData: allow" + POLICY), only={}), connections=request_log.connection)
        assert followed(ran) == {"promote"}

    def test_time_column_of_unix_seconds_is_read(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        with sqlite3.connect(request_log.path) as connection:
            connection.execute("CREATE TABLE events (ts INTEGER, ok INTEGER)")
            now = int(datetime.now(UTC).timestamp())
            connection.executemany("INSERT INTO events VALUES (?, ?)", [(now - 7200, number >= 5) for number in range(1000)])
        connection.close()
        query = "SELECT SUM(ok) AS good, COUNT(*) AS total FROM events WHERE ts >= :date_from AND ts < :date_to"
        documents = sql_documents(POLICY, slo(query=query).replace(':date_to"', ':date_to"\n            timeFormat: epoch'))
        ran = run_task(gate(documents), connections=request_log.connection)
        assert (followed(ran), ran.xcoms["decision"]["slos"][0]["remaining"]) == ({"promote"}, 0.5)

    def test_branch_to_groups_and_several_ids_follows_all(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        from airflow.providers.standard.operators.empty import EmptyOperator

        with DAG("grouped", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            operator = ErrorBudgetBranchOperator(
                task_id="gate", slos=sql_documents(), follow_task_ids_if_allowed=["ship", "tell"], if_frozen="hold"
            )
            with TaskGroup("ship") as ship:
                EmptyOperator(task_id="first") >> EmptyOperator(task_id="second")
            operator >> [ship, EmptyOperator(task_id="tell"), EmptyOperator(task_id="hold")]
        counts(request_log, "allowed")
        ran = run_task(operator, connections=request_log.connection)
        assert (ran.state, ran.skipped) == ("success", {"hold"})
        request_log.clear()
        counts(request_log, "frozen")
        ran = run_task(operator, connections=request_log.connection)
        assert ran.skipped == {"ship.first", "ship.second", "tell"}

    def test_worst_gating_slo_decides(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        request_log.write(1000, 0)
        nothing = "SELECT 0 AS good, 10 AS total FROM requests WHERE ts >= :date_from AND ts < :date_to LIMIT 1"
        lost = slo("lost", query=nothing)
        told = slo("lost", query=nothing, annotations="airflow-slo/tier: informational")
        by_name = ["answered"]
        by_choice = lambda one: one.name == "answered"  # noqa: E731
        cases = ((lost, "hold", None), (told, "promote", None), (lost, "promote", by_name), (lost, "promote", by_choice))
        for number, (worst, way, select) in enumerate(cases):
            operator = gate(sql_documents(POLICY, slo(), worst), select=select)
            assert followed(run_task(operator, connections=request_log.connection, run_id=f"run {number}")) == {way}


class TestRecord:
    def test_decision_is_recorded_before_branch(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "frozen")
        ran = run_task(gate(sql_documents()), connections=request_log.connection)
        lines = ran.log.splitlines()
        shown = lines[lines.index(table.BEGIN) : lines.index(table.END) + 1]
        assert any("answered" in line and "99 %" in line and "EXHAUSTED" in line for line in shown)
        assert "decision: frozen (action: freeze)" in shown
        pushed = ran.position(lambda msg: isinstance(msg, comms.SetXCom) and msg.key == "decision")
        assert pushed < ran.position(lambda msg: isinstance(msg, comms.SkipDownstreamTasks))
        (one,) = ran.xcoms["decision"]["slos"]
        assert (one["name"], one["status"], one["remaining"]) == ("answered", "EXHAUSTED", 0.0)
        found = {(row.result.kind, row.result.name): row for row in ledger_file.checks()}
        assert set(found) == {("slo", "answered"), ("decision", "a_dag.gate")}
        check = found["slo", "answered"]
        assert (check.result.good, check.result.total, check.result.verdict) == (990, 1000, "fail")
        assert (check.key.dag_id, check.key.run_id, check.key.task_id, check.key.try_number) == ("a_dag", "a_run", "gate", 1)

    def test_task_killed_after_decision_records_second_decision(
        self, request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts(request_log, "frozen")
        operator = gate(sql_documents(), retries=2)

        def killed(*_: Any) -> None:
            raise SystemExit(137)

        with monkeypatch.context() as patch:  # the worker dies between the ledger and the branch
            patch.setattr(ErrorBudgetBranchOperator, "do_branch", killed)
            assert run_task(operator, connections=request_log.connection).state == "up_for_retry"
        assert len(ledger_file.checks()) == 2
        request_log.clear()
        counts(request_log, "allowed")
        ran = run_task(operator, connections=request_log.connection, try_number=2)
        assert followed(ran) == {"promote"}, "more is left than the exit level asks for"
        rows = ledger_file.checks()
        assert len(rows) == 4
        assert {(row.key.attempt, row.key.try_number) for row in rows} == {(0, 1), (1, 2)}
        assert ledger_file.outcomes() == ["frozen", "allowed"]

    def test_mapped_tasks_have_separate_rows(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "allowed")
        for index in (0, 1):
            run_task(gate(sql_documents()), connections=request_log.connection, map_index=index)
        assert [row.key.map_index for row in ledger_file.checks("decision")] == [0, 1]

    @pytest.mark.parametrize("outcome", ["allowed", "frozen"])
    def test_missing_ledger_fails_task(self, request_log: RequestLog, monkeypatch: pytest.MonkeyPatch, outcome: str) -> None:
        counts(request_log, outcome)
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", "sqlite:////nowhere/at/all/ledger.db")
        ran = run_task(gate(sql_documents(), retries=1), connections=request_log.connection)
        assert (ran.state, ran.skipped) == ("failed", set())
        assert isinstance(ran.error, AirflowFailException)
        assert "/nowhere/at/all does not exist" in str(ran.error)
        assert "decision" not in ran.xcoms

    def test_decision_not_written_fails_task(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "allowed")
        ledger_file.open().close()
        with sqlite3.connect(ledger_file.path) as connection:  # it can be read, and refuses what is written
            refusal = "BEGIN SELECT RAISE(ABORT, 'no more room here'); END"
            connection.execute(f"CREATE TRIGGER full BEFORE INSERT ON checks {refusal}")
        connection.close()
        ran = run_task(gate(sql_documents()), connections=request_log.connection)
        assert (ran.state, ran.skipped) == ("failed", set())
        assert "no more room here" in str(ran.error)
        assert "decision" not in ran.xcoms

    def test_unavailable_ledger_is_retried(self, request_log: RequestLog, monkeypatch: pytest.MonkeyPatch) -> None:
        counts(request_log, "allowed")
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", "postgresql://me:hunter2@127.0.0.1:1/ledger")
        ran = run_task(gate(sql_documents(), retries=1), connections=request_log.connection)
        assert (ran.state, ran.skipped) == ("up_for_retry", set())
        assert "could not be reached" in str(ran.error)
        assert "hunter2" not in str(ran.error) + ran.log
        assert "decision" not in ran.xcoms


class TestInstant:
    END = datetime(2026, 3, 2, tzinfo=UTC)

    def run(self, log: RequestLog, **arguments: Any) -> str:
        at = arguments.pop("at", None)
        interval = (self.END - DAY, self.END)
        ran = run_task(gate(sql_documents(), at=at), connections=log.connection, data_interval=interval, **arguments)
        assert ran.state == "success", ran.error
        return str(ran.xcoms["decision"]["at"])

    def test_backfill_evaluates_end_of_interval(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        request_log.write(990, 10, at=self.END - timedelta(hours=5))
        request_log.write(10, 0, at=self.END)  # the end is exclusive
        assert self.run(request_log, run_type="backfill") == "2026-03-02T00:00:00+00:00"
        (check,) = ledger_file.checks("slo")
        assert (check.result.good, check.result.total) == (990, 1000)
        assert check.result.interval_end == self.END

    @pytest.mark.parametrize("run_type", ["manual", "scheduled", "asset_triggered"])
    def test_other_runs_evaluate_now(self, request_log: RequestLog, ledger_file: LedgerFile, run_type: str) -> None:
        request_log.write(10, 0)
        before = datetime.now(UTC)
        at = datetime.fromisoformat(self.run(request_log, run_type=run_type))
        assert before <= at <= datetime.now(UTC)

    @pytest.mark.parametrize(
        "at", ["{{ data_interval_end }}", "2026-03-02T01:00:00+01:00", datetime(2026, 3, 2, tzinfo=UTC), "{{ params.at }}"]
    )
    def test_at_parameter_overrides_run(self, request_log: RequestLog, ledger_file: LedgerFile, at: Any) -> None:
        request_log.write(10, 0, at=self.END - MINUTE)
        if at == "{{ params.at }}":
            operator = gate(sql_documents(), at=at, params={"at": "2026-03-02T00:00:00Z"})
            ran = run_task(operator, connections=request_log.connection)
            assert ran.xcoms["decision"]["at"] == "2026-03-02T00:00:00+00:00"
        else:
            assert self.run(request_log, run_type="scheduled", at=at) == "2026-03-02T00:00:00+00:00"

    @pytest.mark.parametrize("at", ["tomorrow", "2026-03-02T01:00:00", "", "{{ ds }}"])
    def test_invalid_at_fails(self, request_log: RequestLog, ledger_file: LedgerFile, at: str) -> None:
        ran = run_task(gate(sql_documents(), at=at, retries=2), connections=request_log.connection, logical_date=self.END)
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)
        assert "at=" in str(ran.error)
        assert "not a timestamp" in str(ran.error) or "no time zone" in str(ran.error)


class TestDocuments:
    def test_slos_as_path_directory_and_template_are_read(
        self, request_log: RequestLog, ledger_file: LedgerFile, tmp_path: Any
    ) -> None:
        counts(request_log, "allowed")
        directory = tmp_path / "slos"
        directory.mkdir()
        file = directory / "shop.yaml"
        file.write_text(sql_documents())
        for slos in (str(file), file, str(directory), [file], "{{ params.where }}/shop.yaml"):
            operator = gate(slos, select=["{{ params.name }}"], params={"where": str(directory), "name": "answered"})  # type: ignore[arg-type]
            assert followed(run_task(operator, connections=request_log.connection)) == {"promote"}

    def test_document_errors_are_all_reported_without_retry(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        broken = sql_documents().replace("Occurrences", "Ocurrences").replace("target: 0.99", "target: 99")
        ran = run_task(gate(broken, retries=3), connections=request_log.connection)
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)
        assert "Occurrences" in str(ran.error)
        assert "target" in str(ran.error)
        assert ledger_file.checks() == []

    @pytest.mark.parametrize(
        ("select", "said"),
        [
            ("answred", "answered"),
            (["nothing"], "nothing"),
            (lambda slo: False, "no SLO"),
            (5, "no SLO named '5'"),
            ([{"a": 1}], "select is {'a': 1}, a dict: write a text"),
            ({"a": 1}, "select is {'a': 1}, a dict: write a text"),
        ],
    )
    def test_select_of_unknown_slo_fails(self, request_log: RequestLog, ledger_file: LedgerFile, select: Any, said: str) -> None:
        counts(request_log, "allowed")
        ran = run_task(gate(sql_documents(), select=select, retries=3), connections=request_log.connection)
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)
        assert said in str(ran.error)

    def test_slos_of_invalid_type_fail(self, ledger_file: LedgerFile) -> None:
        ran = run_task(gate(5, retries=3))  # type: ignore[arg-type]
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)
        assert "SLO documents are a path, paths or the YAML text, not 5" in str(ran.error)

    def test_missing_file_fails(self, ledger_file: LedgerFile) -> None:
        ran = run_task(gate("/nowhere/slos.yaml", retries=3))
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)
        assert "/nowhere/slos.yaml" in str(ran.error)


class TestParameters:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"slos": "x"},
            {"slos": "x", "follow_task_ids_if_allowed": ""},
            {"slos": "x", "follow_task_ids_if_allowed": []},
            {"slos": "x", "follow_task_ids_if_allowed": "a", "if_frozen": 7},
            {"slos": "x", "follow_task_ids_if_allowed": ["a", None]},
            {"slos": "x", "follow_task_ids_if_allowed": "a", "if_unknown": [""]},
            {"slos": "", "follow_task_ids_if_allowed": "a"},
            {"slos": [], "follow_task_ids_if_allowed": "a"},
            {"follow_task_ids_if_allowed": "a"},
        ],
    )
    def test_invalid_parameters_are_rejected_at_parse_time(self, arguments: dict[str, Any]) -> None:
        with pytest.raises((ValueError, TypeError)):
            ErrorBudgetBranchOperator(task_id="gate", **arguments)

    def test_branch_to_unknown_task_is_rejected_at_parse_time(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "allowed")
        ran = run_task(gate(sql_documents(), only={"if_frozen": "hodl"}, retries=3), connections=request_log.connection)
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)
        assert "if_frozen names 'hodl'" in str(ran.error)

    def test_templated_fields(self) -> None:
        assert set(ErrorBudgetBranchOperator.template_fields) == {"slos", "select", "group", "at"}


def _key(one: Any) -> bool:
    return bool(one.name)


def test_serialized_dag_is_stable(tmp_path: Any) -> None:
    """An address in the text of a field would make a new version of the DAG whenever it is read."""
    from functools import partial

    from airflow.serialization.serialized_objects import DagSerialization

    def read() -> str:
        texts = []
        for select in (lambda one: True, _key, partial(_key), "name", ["a", "b"]):
            with DAG("read", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
                arguments = {"follow_task_ids_if_allowed": "gate", "at": datetime(2026, 1, 1, tzinfo=UTC)}
                ErrorBudgetBranchOperator(task_id="gate", slos=tmp_path, select=select, **arguments)
                ErrorBudgetBranchOperator.partial(task_id="each", select=select, **arguments).expand(slos=["/a", "/b"])
            texts.append(json.dumps(DagSerialization.to_dict(dag), sort_keys=True))
        return "\n".join(texts)

    text = read()
    assert text == read()
    assert " at 0x" not in text
    assert "tests.airflow.test_error_budget_branch._key" in text


def test_mapped_branch_follows_outcome(request_log: RequestLog, ledger_file: LedgerFile) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator

    request_log.write(1000, 0)
    with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        mapped = ErrorBudgetBranchOperator.partial(task_id="gate", follow_task_ids_if_allowed="promote").expand_kwargs(
            [{"slos": sql_documents(), "select": ["answered"]}]
        )
        mapped >> EmptyOperator(task_id="promote")
    ran = run_task(mapped, connections=request_log.connection, map_index=0)
    assert (ran.state, ran.xcoms["decision"]["outcome"]) == ("success", "allowed")
