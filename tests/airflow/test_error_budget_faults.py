"""Every way a Prometheus server can be wrong, through the whole operator: none opens the gate, each says what happened."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.exceptions import MeasurementError
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from tests.airflow.gates import POLICY, LedgerFile, RequestLog, data_source, policy, prometheus_documents, slo, sql_documents
from tests.airflow.task_runs import Ran, in_dag, run_task
from tests.services.faulty_prometheus import MODES, FaultyPrometheus

#: What passes by itself, and what the task must say of it.
PASSING = {
    "refuse": "refused the connection",
    "hang": "no answer within",
    "reset": "connection",
    "429": "HTTP 429",
    "500": "HTTP 500",
    "502": "HTTP 502",
    "503": "HTTP 503",
    "504": "HTTP 504",
    "warnings": "may be incomplete",
    "truncated": "broke off",
    "truncated_chunks": "broke off",
    "drip": "not complete",
    "is_partial": "may be incomplete",
    "another_time": "for another time than requested",
    "aged": "comes from a cache",
    "stale_warning": "stale",
}
#: What no retry mends: the question, the credentials or the address is wrong.
WRONG = {
    "redirect": "redirects",
    "400": "HTTP 400",
    "401": "HTTP 401",
    "403": "HTTP 403",
    "404": "HTTP 404",
    "422": "HTTP 422",
    "two_series": "series",
    "status_error": "status is error",
}
#: What a person may have to judge: an answer that says nothing, or nothing that makes sense.
SENSELESS = {
    "html": "not JSON",
    "empty": "no",
    "nan": "NaN",
    "inf": "Inf",
    "not_a_number": "not a number",
    "wrong_json": "of the form",
    "not_an_object": "not a Prometheus answer",
    "no_result": "resultType",
    "error_type": "reports success and names an error",
    "repeated_key": "occurs twice",
    "nan_literal": "is not JSON",
    "twice": "holds the same series twice",
}
#: Only the two modes that are about time are short of it: a busy machine may not turn another fault into a timeout.
EXTRA = {"connect_timeout": 20, "read_timeout": 20, "max_seconds": 60, "retries": 0}
SHORT = {"hang": {"read_timeout": 0.5}, "drip": {"max_seconds": 1}}


def test_all_fault_modes_are_listed() -> None:
    assert {*PASSING, *WRONG, *SENSELESS} == set(MODES)
    assert len(PASSING) + len(WRONG) + len(SENSELESS) == len(MODES)


def run_branch(mode: str, *, if_unknown: str | None = None, retries: int = 1, **arguments: Any) -> Ran:
    operator = ErrorBudgetBranchOperator(
        task_id="gate",
        slos=prometheus_documents(),
        follow_task_ids_if_allowed="promote",
        if_frozen="hold",
        if_unknown=if_unknown,
        retries=retries,
    )
    in_dag(operator, ["promote", "hold", "look"])
    with FaultyPrometheus(mode) as server:
        extra = EXTRA | SHORT.get(mode, {})
        connection = {"conn_type": "prometheus", "host": server.url, "password": "hunter2", "login": "me", "extra": extra}
        return run_task(operator, connections={"prometheus_default": connection}, **arguments)


def test_server_without_fault_allows(ledger_file: LedgerFile) -> None:
    ran = run_branch("ok")
    assert (ran.state, ran.skipped) == ("success", {"hold", "look"})
    assert ledger_file.outcomes() == ["allowed"]


def assert_unknown_decision(ran: Ran, ledger_file: LedgerFile) -> None:
    """Nothing downstream may run as if allowed, and the record says so."""
    assert ran.xcoms["decision"]["outcome"] == "unknown"
    assert ran.xcoms["decision"]["allowed"] is False
    assert ledger_file.outcomes() == ["unknown"]
    (check,) = ledger_file.checks("slo")
    assert (check.result.verdict, check.result.value) == ("unknown", None)
    assert "hunter2" not in ran.log + str(ran.error)


@pytest.mark.parametrize("mode", PASSING)
def test_transient_fault_is_retried_then_follows_if_unknown(mode: str, ledger_file: LedgerFile) -> None:
    first = run_branch(mode, if_unknown="look")
    assert_unknown_decision(first, ledger_file)
    assert (first.state, first.skipped) == ("up_for_retry", set())
    assert isinstance(first.error, MeasurementError)
    assert first.error.transient
    assert PASSING[mode] in str(first.error)
    assert "answered" in str(first.error)
    if mode in ("refuse", "503"):
        last = run_branch(mode, if_unknown="look", try_number=2)
        assert_unknown_decision(last, ledger_file)
        assert (last.state, last.skipped) == ("success", {"promote", "hold"})
        assert {row.key.try_number for row in ledger_file.checks()} == {2}
        assert run_branch(mode, try_number=2).state == "failed"


@pytest.mark.parametrize("mode", WRONG)
def test_invalid_query_fails_at_once_despite_if_unknown(mode: str, ledger_file: LedgerFile) -> None:
    ran = run_branch(mode, if_unknown="look", retries=3)
    assert_unknown_decision(ran, ledger_file)
    assert (ran.state, ran.skipped) == ("failed", set())
    assert isinstance(ran.error, AirflowFailException)
    assert WRONG[mode] in str(ran.error)


@pytest.mark.parametrize("mode", SENSELESS)
def test_invalid_answer_follows_if_unknown_or_fails_without_retry(mode: str, ledger_file: LedgerFile) -> None:
    ran = run_branch(mode, if_unknown="look", retries=3)
    assert_unknown_decision(ran, ledger_file)
    assert (ran.state, ran.skipped) == ("success", {"promote", "hold"})
    ran = run_branch(mode, retries=3)
    assert (ran.state, ran.skipped) == ("failed", set())
    assert isinstance(ran.error, AirflowFailException)
    assert SENSELESS[mode] in str(ran.error)


@pytest.mark.parametrize(
    ("documents", "connections", "said"),
    [
        (prometheus_documents("nowhere"), {}, "connection nowhere"),
        (prometheus_documents(), {}, "prometheus_default"),
        (policy() + data_source("SQL", None) + slo(), {}, "connectionDetails.airflowConnId"),
        (policy() + data_source("SQL", "web") + slo(), {"web": {"conn_type": "prometheus", "host": "x"}}, "not a SQL database"),
        (policy() + data_source("SQL", "odd") + slo(), {"odd": {"conn_type": "nonsense", "host": "x"}}, "odd"),
        (policy() + data_source("Datadog", None) + slo(), {}, "Datadog"),
        (
            policy() + data_source("SQL", "db") + slo(query="SELECT 1 FROM nowhere WHERE :date_from < :date_to"),
            {"db": {"conn_type": "sqlite", "host": "/tmp"}},
            "db",
        ),
    ],
    ids=["conn_id", "default", "no_conn_id", "no_sql", "no_hook", "unknown_type", "cannot_open"],
)
def test_invalid_connection_fails_at_once(
    ledger_file: LedgerFile, documents: str, connections: dict[str, Any], said: str
) -> None:
    operator = ErrorBudgetBranchOperator(
        task_id="gate", slos=documents, follow_task_ids_if_allowed="promote", if_unknown="look", retries=3
    )
    ran = run_task(in_dag(operator, ["promote", "look"]), connections=connections)
    assert (ran.state, type(ran.error)) == ("failed", AirflowFailException), ran.error
    assert said in str(ran.error)
    assert ran.skipped == set()


@pytest.mark.parametrize(("mode", "state"), [("503", "up_for_retry"), ("empty", "failed"), ("400", "failed")])
def test_gate_fails_as_branch_does(mode: str, state: str, ledger_file: LedgerFile) -> None:
    operator = ErrorBudgetGateOperator(task_id="gate", slos=prometheus_documents(), retries=1)
    in_dag(operator, ["promote"])
    with FaultyPrometheus(mode) as server:
        connection = {"conn_type": "prometheus", "host": server.url, "extra": EXTRA}
        ran = run_task(operator, connections={"prometheus_default": connection})
    assert (ran.state, ran.skipped) == (state, set())
    assert ledger_file.outcomes() == ["unknown"]


def test_error_with_policy_allow_is_allowed(ledger_file: LedgerFile) -> None:
    operator = ErrorBudgetGateOperator(task_id="gate", slos=prometheus_documents(spec="  onError: warn" + POLICY))
    in_dag(operator, ["promote"])
    ran = run_task(operator, connections={})
    assert (ran.state, ran.skipped) == ("success", set())
    assert ran.xcoms["decision"]["outcome"] == "warning"


@pytest.mark.parametrize(
    ("mode", "first", "last"), [("503", "up_for_retry", "success"), ("400", "failed", "failed"), ("empty", "success", "success")]
)
def test_frozen_budget_with_fault_stays_frozen_and_is_retried(
    mode: str, first: str, last: str, request_log: RequestLog, ledger_file: LedgerFile
) -> None:
    """Nothing is known since it was frozen: it is not thawed, a fault that may pass is retried, a wrong query is told."""
    request_log.write(0, 10)
    frozen = ErrorBudgetGateOperator(task_id="gate", slos=sql_documents())
    assert run_task(in_dag(frozen, ["x"], dag_id="other"), connections=request_log.connection).skipped == {"x"}
    for try_number, state in ((1, first), (2, last)):
        ran = run_branch(mode, if_unknown="look", try_number=try_number)
        assert ran.xcoms["decision"]["outcome"] == "frozen"
        assert (ran.state, ran.skipped) == (state, {"promote", "look"} if state == "success" else set())


def test_measured_freeze_with_fault_elsewhere_is_not_retried(request_log: RequestLog, ledger_file: LedgerFile) -> None:
    request_log.write(0, 10)
    documents = sql_documents(POLICY, slo(), slo("wrong", query="SELECT good FROM nowhere WHERE :date_from < :date_to"))
    gate = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=documents), ["x"])
    ran = run_task(gate, connections=request_log.connection)
    assert (ran.state, ran.skipped) == ("success", {"x"})
    assert "no such table: nowhere" in ran.log
