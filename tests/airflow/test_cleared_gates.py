"""A gate that is cleared or tried again: what it decided before is history, what it could not find out is replaced."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from tests.airflow.gate_tasks import counts, followed, gate
from tests.airflow.gates import DAY, MINUTE, POLICY, LedgerFile, RequestLog, prometheus_documents, sql_documents
from tests.airflow.task_runs import Ran, in_dag, run_task
from tests.services.faulty_prometheus import FaultyPrometheus

COOL_DOWN = sql_documents("  coolDown: 1h" + POLICY)


def history(ledger_file: LedgerFile, kind: str = "decision") -> list[tuple[int, int, str]]:
    """What is recorded: attempt, try and outcome, oldest first."""
    rows = ledger_file.checks(kind)
    return [(row.key.attempt, row.key.try_number, row.result.evidence["outcome"]) for row in rows]


class TestClearedAfterADecision:
    @pytest.mark.parametrize(
        ("documents", "good"), [(COOL_DOWN, 100_000), (sql_documents(), 50)], ids=["cool-down", "exit level"]
    )
    def test_cleared_frozen_branch_stays_frozen(
        self, documents: str, good: int, request_log: RequestLog, ledger_file: LedgerFile
    ) -> None:
        counts(request_log, "frozen")
        operator = gate(documents)
        assert followed(run_task(operator, connections=request_log.connection)) == {"hold"}
        request_log.write(good, 0)
        cleared = run_task(operator, connections=request_log.connection, try_number=2)
        assert followed(cleared) == {"hold"}
        assert history(ledger_file) == [(0, 1, "frozen"), (1, 2, "frozen")]
        assert history(ledger_file, "slo") == [(0, 1, "frozen"), (1, 2, "frozen")]

    def test_cleared_frozen_gate_stays_frozen(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "frozen")
        operator = in_dag(ErrorBudgetGateOperator(task_id="gate", slos=COOL_DOWN), ["deploy"])
        run_task(operator, connections=request_log.connection)
        request_log.write(100_000, 0)
        cleared = run_task(operator, connections=request_log.connection, try_number=2)
        assert cleared.skipped == {"deploy"}
        assert history(ledger_file) == [(0, 1, "frozen"), (1, 2, "frozen")]

    def test_cleared_gate_above_exit_level_allows(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "frozen")
        operator = gate(sql_documents())
        run_task(operator, connections=request_log.connection)
        request_log.write(5000, 0)
        assert followed(run_task(operator, connections=request_log.connection, try_number=2)) == {"promote"}
        assert history(ledger_file) == [(0, 1, "frozen"), (1, 2, "allowed")]

    def test_gate_with_fixed_at_uses_own_decision_for_it(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        at = datetime.now(UTC) - 2 * DAY
        request_log.write(990, 10, at=at - 180 * MINUTE)
        operator = gate(COOL_DOWN, at=at.isoformat())
        assert followed(run_task(operator, connections=request_log.connection)) == {"hold"}
        request_log.write(100_000, 0, at=at - 180 * MINUTE)
        other_run = run_task(gate(COOL_DOWN, at=at.isoformat()), connections=request_log.connection, run_id="other")
        assert followed(other_run) == {"promote"}, "another run's decision about the same instant is not before it"
        assert followed(run_task(operator, connections=request_log.connection, try_number=2)) == {"hold"}

    def test_third_decision_is_kept_with_earlier_ones(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "allowed")
        operator = gate(sql_documents())
        for number in (1, 2, 5):
            run_task(operator, connections=request_log.connection, try_number=number)
        assert history(ledger_file) == [(0, 1, "allowed"), (1, 2, "allowed"), (2, 5, "allowed")]

    @pytest.mark.parametrize(
        ("another", "recorded_try"), [({"try_number": 2}, 2), ({"run_made": 1}, 1)], ids=["another_try", "a_run_made_again"]
    )
    def test_sensor_replaces_polls_of_same_attempt_only(
        self, another: dict[str, int], recorded_try: int, request_log: RequestLog, ledger_file: LedgerFile
    ) -> None:
        counts(request_log, "frozen")
        operator = ErrorBudgetSensor(task_id="wait", slos=COOL_DOWN, poke_interval=0, timeout=0)
        for started in ({}, {}, another, another):
            run_task(operator, connections=request_log.connection, **started)
        assert history(ledger_file) == [(0, 1, "frozen"), (1, recorded_try, "frozen")]

    def test_earlier_try_still_running_overwrites_nothing(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "frozen")
        operator = gate(sql_documents())
        run_task(operator, connections=request_log.connection, try_number=2)
        run_task(operator, connections=request_log.connection, try_number=3)
        request_log.write(5000, 0)
        assert run_task(operator, connections=request_log.connection, try_number=1).state == "failed"
        assert history(ledger_file) == [(0, 2, "frozen"), (1, 3, "frozen")]


class TestRecreatedRun:
    """A run that was deleted and triggered again under its id: Airflow counts its tries from 1."""

    @pytest.mark.parametrize("tries", [1, 2, 3])
    def test_recreated_run_starts_from_freeze_of_first(
        self, tries: int, request_log: RequestLog, ledger_file: LedgerFile
    ) -> None:
        counts(request_log, "frozen")
        operator = gate(COOL_DOWN)
        for number in range(1, tries + 1):
            run_task(operator, connections=request_log.connection, try_number=number)
        request_log.write(100_000, 0)
        assert followed(run_task(operator, connections=request_log.connection, run_made=1)) == {"hold"}
        assert history(ledger_file) == [*((number, number + 1, "frozen") for number in range(tries)), (tries, 1, "frozen")]
        assert history(ledger_file, "slo") == history(ledger_file)

    def test_recreated_run_freeze_is_recorded_beside_first_run(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "allowed")
        operator = gate(COOL_DOWN)
        run_task(operator, connections=request_log.connection, try_number=2)
        request_log.clear()
        counts(request_log, "frozen")
        assert followed(run_task(operator, connections=request_log.connection, run_made=1)) == {"hold"}
        assert history(ledger_file) == [(0, 2, "allowed"), (1, 1, "frozen")]

    def test_try_of_deleted_run_fails_and_overwrites_nothing(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "frozen")
        operator = gate(sql_documents())
        run_task(operator, connections=request_log.connection, run_made=1)
        request_log.write(5000, 0)
        late = run_task(operator, connections=request_log.connection)
        assert late.state == "failed"
        assert "a later try has recorded its own result" in str(late.error)
        assert history(ledger_file) == [(0, 1, "frozen")]


class TestUnknownDecisionReplaced:
    def run_branch(self, mode: str, number: int, *, if_unknown: str | None = None, retries: int = 1) -> Ran:
        operator = ErrorBudgetBranchOperator(
            task_id="gate",
            slos=prometheus_documents(),
            follow_task_ids_if_allowed="promote",
            if_unknown=if_unknown,
            retries=retries,
        )
        in_dag(operator, ["promote", "look"])
        extra = {"retries": 0}
        with FaultyPrometheus(mode) as server:
            connection = {"conn_type": "prometheus", "host": server.url, "extra": extra}
            return run_task(operator, connections={"prometheus_default": connection}, try_number=number)

    def test_try_with_fault_is_replaced_by_retry(self, ledger_file: LedgerFile) -> None:
        assert self.run_branch("503", 1, if_unknown="look").state == "up_for_retry"
        assert self.run_branch("ok", 2, if_unknown="look").state == "success"
        assert history(ledger_file) == [(0, 2, "allowed")]

    @pytest.mark.parametrize("mode", ["503", "nan", "400"])
    def test_failed_unknown_decision_is_replaced_after_clear(self, mode: str, ledger_file: LedgerFile) -> None:
        assert self.run_branch(mode, 1, retries=0).state == "failed"
        assert self.run_branch("ok", 2, retries=0).state == "success"
        assert history(ledger_file) == [(0, 2, "allowed")]

    @pytest.mark.parametrize("mode", ["503", "nan"])
    def test_followed_unknown_decision_is_kept_after_clear(self, mode: str, ledger_file: LedgerFile) -> None:
        asked = self.run_branch(mode, 1, if_unknown="look", retries=0)
        assert (asked.state, asked.skipped) == ("success", {"promote"})
        assert self.run_branch("ok", 2, if_unknown="look", retries=0).state == "success"
        assert history(ledger_file) == [(0, 1, "unknown"), (1, 2, "allowed")]

    def test_freeze_kept_by_fault_is_replaced_and_continues(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        """Frozen because it was: the try found nothing out, and the retry begins from the freeze that the first run left."""
        counts(request_log, "frozen")
        operator = gate(COOL_DOWN, retries=1)
        run_task(operator, connections=request_log.connection, run_id="before")
        assert run_task(operator, connections={}, run_id="next").state in ("failed", "up_for_retry")
        assert followed(run_task(operator, connections=request_log.connection, run_id="next", try_number=2)) == {"hold"}
        assert history(ledger_file) == [(0, 1, "frozen"), (0, 2, "frozen")]


def test_decision_of_killed_worker_is_kept(
    request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts(request_log, "frozen")
    operator = gate(COOL_DOWN, retries=2)

    def killed(*_: object) -> None:
        raise SystemExit(137)

    with monkeypatch.context() as patch:
        patch.setattr(ErrorBudgetBranchOperator, "do_branch", killed)
        assert run_task(operator, connections=request_log.connection).state == "up_for_retry"
    request_log.write(100_000, 0)
    assert followed(run_task(operator, connections=request_log.connection, try_number=2)) == {"hold"}
    assert history(ledger_file) == [(0, 1, "frozen"), (1, 2, "frozen")]


def test_decision_names_its_ledger(request_log: RequestLog, ledger_file: LedgerFile) -> None:
    counts(request_log, "allowed")
    ran = run_task(gate(sql_documents()), connections=request_log.connection)
    assert f"Recorded in the ledger {ledger_file.path}" in ran.log.splitlines()
    told = ran.xcoms["decision"]
    assert (told["ledger"], told["environment"]) == (str(ledger_file.path), "")
    (row,) = ledger_file.checks("decision")
    assert (row.result.evidence["ledger"], row.result.evidence["complete"]) == (str(ledger_file.path), True)
