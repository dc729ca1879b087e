"""Different clocks of a worker and Prometheus, or of two workers that share a ledger or a registry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_slo_provider.deployment.registries.registry import MoveRequest
from airflow_slo_provider.incidents import Incident
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from airflow_slo_provider.operators.incident import OpenIncidentOperator
from airflow_slo_provider.runtime.error_budget import decision as gates
from airflow_slo_provider.runtime.incidents import current_incident as incidents
from airflow_slo_provider.slo.budget import evaluation_time as instants
from tests.airflow.gates import LedgerFile, RequestLog, prometheus_documents, sql_documents
from tests.airflow.task_runs import Ran, in_dag, run_task
from tests.e2e.faults.models import Models
from tests.services.faulty_prometheus import FaultyPrometheus


def clock(ahead: timedelta) -> type[datetime]:
    """Return a ``datetime`` class with a shifted current time."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + ahead

    return Wrong


@pytest.mark.parametrize(("hours", "said"), [(1, "behind"), (-1, "ahead of")])
def test_gate_with_a_prometheus_clock_one_hour_off_is_unknown(
    ledger_file: LedgerFile, seen: Callable[[str], None], hours: int, said: str
) -> None:
    """An hour behind, a worker would miss recent failures; an hour ahead, it would read an empty last hour."""
    gate = ErrorBudgetBranchOperator(
        task_id="gate", slos=prometheus_documents(), follow_task_ids_if_allowed="promote", if_unknown="ask", retries=1
    )
    in_dag(gate, ["promote", "ask"])
    with FaultyPrometheus("ok", clock_ahead=timedelta(hours=hours)) as server:
        connections = {"prometheus_default": {"conn_type": "prometheus", "host": server.url}}
        first = run_task(gate, connections=connections)
        assert (first.state, first.xcoms["decision"]["outcome"]) == ("up_for_retry", "unknown")
        assert re.search(rf"the clock of this machine is 3(59|60)\d s {said} the server's", str(first.error))
        last = run_task(gate, connections=connections, try_number=2)
    assert (last.state, last.skipped, ledger_file.outcomes()) == ("success", {"promote"}, ["unknown"])
    seen("retried, then the way for the unknown; the message says by how much")


def test_small_clock_difference_is_tolerated(ledger_file: LedgerFile) -> None:
    gate = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=prometheus_documents()), ["promote"])
    with FaultyPrometheus("ok", clock_ahead=timedelta(minutes=2)) as server:
        ran = run_task(gate, connections={"prometheus_default": {"conn_type": "prometheus", "host": server.url}})
    assert (ran.state, ran.skipped) == ("success", set())


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(0), -timedelta(minutes=10)], ids=["ahead", "right", "behind"])
def test_freeze_recorded_with_another_clock_still_applies(
    request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch, seen: Callable[[str], None],
    ahead: timedelta,
) -> None:  # fmt: skip
    """Frozen at 0 %, a gate stays frozen until more than 10 % are left; here it is 5 %."""

    def gate(run_id: str) -> Ran:
        operator = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=sql_documents()), ["promote"])
        return run_task(operator, run_id=run_id, connections=request_log.connection)

    request_log.write(980, 20)
    with monkeypatch.context() as patched:
        patched.setattr(gates, "datetime", clock(ahead))
        patched.setattr(instants, "datetime", clock(ahead))
        assert gate("one").xcoms["decision"]["outcome"] == "frozen"
    request_log.write(1105, 0)
    ran = gate("two")
    assert (ran.xcoms["decision"]["outcome"], ran.skipped) == ("frozen", {"promote"})
    if ahead > timedelta(0):
        # A later decision of that worker does not hide a freeze of others.
        request_log.write(20_000, 0)
        with monkeypatch.context() as patched:
            patched.setattr(gates, "datetime", clock(ahead))
            patched.setattr(instants, "datetime", clock(ahead))
            assert gate("three").xcoms["decision"]["outcome"] == "allowed"
        request_log.clear()
        request_log.write(980, 20)
        assert gate("four").xcoms["decision"]["outcome"] == "frozen"
        request_log.write(1105, 0)
        assert gate("five").xcoms["decision"]["outcome"] == "frozen"
    seen("stays frozen")


@pytest.mark.parametrize("second", [timedelta(hours=1), -timedelta(hours=1)], ids=["ahead", "behind"])
def test_two_runs_with_different_clocks_handle_an_incident_once(
    ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch, seen: Callable[[str], None], second: timedelta
) -> None:
    one = Incident(
        id="answered-1", kind="burning", subject="answered", severity="page", started_at=datetime.now(UTC), message="it burns",
        evidence={"slo": "answered"},
    )  # fmt: skip

    def opened(run_id: str, ahead: timedelta) -> set[str]:
        with DAG("incident", schedule=None):
            operator = OpenIncidentOperator(task_id="open")
            operator >> EmptyOperator(task_id="act")
        with monkeypatch.context() as patched:
            patched.setattr(incidents, "datetime", clock(ahead))
            return run_task(operator, run_id=run_id, conf={"incident": json.loads(json.dumps(one.to_dict()))}).skipped

    assert (opened("first", timedelta(0)), opened("second", second), opened("first", timedelta(0))) == (set(), {"act"}, set())
    seen("the second run skips everything")


def test_rollback_after_a_promotion_recorded_in_the_future_takes_effect(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 replaced 2 one hour in the future; then 1 and 3 are promoted: the predecessor of 3 is 1, whatever the clocks."""
    from airflow_slo_provider.deployment.registries import registry

    def move(key: str, to: str | None, kind: str = "promote") -> str:
        return models.registry.move("fraud", MoveRequest(kind=kind, alias="champion", key=key, to=to)).after

    with monkeypatch.context() as patched:
        patched.setattr(registry, "datetime", clock(timedelta(hours=1)))
        move("a", "3")
    for key, to in (("b", "1"), ("c", "3")):
        move(key, to)
    times = [one.at for one in models.registry.moves("fraud")]
    assert times == sorted(times)
    assert move("d", None, "rollback") == "1"
