"""What a gate remembers of earlier decisions: a freeze that lasts as long as it should, and no longer."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.ledger import RunKey
from airflow_slo_provider.results import CheckResult, Verdict
from tests.airflow.gate_tasks import counts, followed, gate
from tests.airflow.gates import DAY, MINUTE, POLICY, SERVICE, LedgerFile, RequestLog, data_source, policy, slo, sql_documents
from tests.airflow.task_runs import run_task


class TestMemory:
    def test_frozen_budget_below_exit_level_stays_frozen(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        outcomes = []
        for number, (good, bad) in enumerate([(990, 10), (50, 0), (200, 0), (1000, 0)]):
            request_log.write(good, bad)
            ran = run_task(gate(sql_documents()), connections=request_log.connection, run_id=f"run {number}")
            outcomes.append((ran.xcoms["decision"]["outcome"], round(ran.xcoms["decision"]["slos"][0]["remaining"], 3)))
        # Nothing is left; a twentieth, which is not enough to thaw; a fifth, which is, and is low; more than half.
        assert outcomes == [("frozen", 0.0), ("frozen", 0.048), ("warning", 0.2), ("allowed", 0.556)]

    def test_same_budget_without_history_is_warning(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        request_log.write(1040, 10)
        ran = run_task(gate(sql_documents()), connections=request_log.connection)
        assert ran.xcoms["decision"]["outcome"] == "warning"

    def test_slo_of_same_name_in_other_service_does_not_unfreeze(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        ours = sql_documents()
        theirs = ours.replace(SERVICE, SERVICE.replace("shop", "billing")).replace("service: shop", "service: billing")
        assert theirs.count("billing") == 2
        outcomes = []
        for documents, good, bad in ((ours, 990, 10), (theirs, 2000, 0), (ours, 1040, 10)):
            request_log.clear()
            request_log.write(good, bad)
            ran = run_task(gate(documents), connections=request_log.connection, run_id=f"run {len(outcomes)}")
            outcomes.append(ran.xcoms["decision"]["outcome"])
        assert outcomes == ["frozen", "allowed", "frozen"]

    @pytest.mark.parametrize("grows", [True, False])
    @pytest.mark.parametrize("seen_before", [True, False])
    def test_changed_number_of_objectives_does_not_unfreeze(
        self, grows: bool, seen_before: bool, request_log: RequestLog, ledger_file: LedgerFile
    ) -> None:
        one = sql_documents()
        several = one.replace("[{displayName: most", "[{displayName: half, target: 0.5}, {displayName: most")
        first, then = (one, several) if grows else (several, one)
        outcomes = []
        # Without a past, what is left the last time is a warning.
        for documents, good, bad in ([(then, 1000, 0)] * seen_before) + [(first, 990, 10), (then, 1040, 10)]:
            request_log.clear()
            request_log.write(good, bad)
            ran = run_task(gate(documents), connections=request_log.connection, run_id=f"run {len(outcomes)}")
            outcomes.append((ran.xcoms["decision"]["outcome"], len(ran.xcoms["decision"]["slos"])))
            assert ("answered[2] most" in ran.log) is (documents is several), "what the document calls an objective"
        assert outcomes[-2:] == [("frozen", 1 if grows else 2), ("frozen", 2 if grows else 1)]
        request_log.clear()
        request_log.write(5000, 10)
        for documents in (then, first):  # what thawed under the one name does not come back under the other
            ran = run_task(gate(documents), connections=request_log.connection, run_id=f"run {documents is first}")
            assert ran.xcoms["decision"]["outcome"] == "allowed"

    def test_decision_under_other_policy_does_not_unfreeze(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        strict = sql_documents("  coolDown: 1d" + POLICY)
        mild = sql_documents().replace("the-policy", "another-policy")
        outcomes = []
        for documents, good, bad in ((mild, 1000, 0), (strict, 990, 10), (mild, 5000, 10), (strict, 5000, 10)):
            request_log.clear()
            request_log.write(good, bad)
            ran = run_task(gate(documents), connections=request_log.connection, run_id=f"run {len(outcomes)}")
            outcomes.append(ran.xcoms["decision"]["outcome"])
        assert outcomes == ["allowed", "frozen", "frozen", "frozen"], "the cool-down of the policy that froze holds under each"

    def test_freeze_of_other_policy_is_evaluated_by_own_rules(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        """A rule of the same name held under the other policy; here it never did."""
        strict = sql_documents(POLICY.replace("enter: 0", "enter: 0.5").replace("exit: 0.1", "exit: 0.9"))
        mild = sql_documents().replace("the-policy", "another-policy")
        outcomes = []
        for documents in (mild, strict, mild):
            request_log.clear()
            request_log.write(1043, 10)  # four per cent are left: enough not to freeze, too little to thaw
            ran = run_task(gate(documents), connections=request_log.connection, run_id=f"run {len(outcomes)}")
            outcomes.append(ran.xcoms["decision"]["outcome"])
        assert outcomes == ["warning", "frozen", "warning"]

    def test_freeze_of_unused_policy_does_not_return(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        strict, now = sql_documents(), datetime.now(UTC)
        mild = sql_documents().replace("the-policy", "another-policy")
        outcomes = []
        for number, (documents, good, bad, days) in enumerate(
            [(strict, 990, 10, 9), (mild, 1000, 0, 8), (mild, 1000, 0, 2), (strict, 1040, 10, 0)]
        ):
            at = now - days * DAY
            request_log.clear()
            request_log.write(good, bad, at=at - 180 * MINUTE)
            operator = gate(documents, at=at.isoformat())
            ran = run_task(operator, connections=request_log.connection, run_id=f"run {number}")
            assert ran.state == "success", ran.error
            outcomes.append(ran.xcoms["decision"]["outcome"])
        assert outcomes == ["frozen", "allowed", "allowed", "warning"]

    @pytest.mark.parametrize(("ahead", "outcome"), [(timedelta(minutes=5), "frozen"), (400 * DAY, "warning")])
    def test_decision_dated_in_future_does_not_freeze(
        self, ahead: timedelta, outcome: str, request_log: RequestLog, ledger_file: LedgerFile
    ) -> None:
        counts(request_log, "frozen")
        run_task(gate(sql_documents()), connections=request_log.connection, run_id="first")
        with sqlite3.connect(ledger_file.path) as connection:
            connection.execute("UPDATE checks SET checked_at = checked_at + ?", (int(ahead.total_seconds() * 1_000_000),))
        request_log.clear()
        request_log.write(1040, 10)
        ran = run_task(gate(sql_documents()), connections=request_log.connection, run_id="second")
        assert ran.xcoms["decision"]["outcome"] == outcome

    def test_renamed_policy_does_not_unfreeze(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        outcomes = []
        for name, good in (("the-policy", 990), ("renamed-policy", 1040)):
            request_log.clear()
            request_log.write(good, 10)
            documents = sql_documents().replace("the-policy", name)
            ran = run_task(gate(documents), connections=request_log.connection, run_id=name)
            outcomes.append(ran.xcoms["decision"]["outcome"])
        assert outcomes == ["frozen", "frozen"]

    def test_cool_down_keeps_freeze_after_recovery(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        documents = sql_documents("  coolDown: 1h" + POLICY)
        start = datetime.now(UTC) - 2 * DAY
        request_log.write(990, 10, at=start - 20 * 60 * MINUTE)
        seen = []
        for minutes in (0, 30, 61):
            at = start + minutes * MINUTE
            if minutes == 30:
                request_log.write(100_000, 0, at=start + 10 * MINUTE)
            ran = run_task(gate(documents, at=at.isoformat()), connections=request_log.connection, run_id=f"at {minutes}")
            seen.append(ran.xcoms["decision"]["outcome"])
        assert seen == ["frozen", "frozen", "allowed"]

    def test_missing_data_does_not_unfreeze(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        counts(request_log, "frozen")
        run_task(gate(sql_documents()), connections=request_log.connection)
        request_log.clear()
        ran = run_task(gate(sql_documents()), connections=request_log.connection, run_id="next")
        assert followed(ran) == {"hold"}
        assert "missing data does not lift the block" in ran.log

    def test_lost_history_does_not_unfreeze(self, ledger_file: LedgerFile) -> None:
        documents = SERVICE + policy() + data_source("Ledger", None) + slo(query="etl").replace("query:", "check:")
        documents = documents.replace('min-coverage: "0"', 'min-coverage: "0.1"')
        now = datetime.now(UTC)
        with ledger_file.open() as ledger:
            for number in range(1, 100):
                result = CheckResult(
                    kind="etl", name="etl", verdict=Verdict.FAIL if number % 20 == 0 else Verdict.PASS,
                    checked_at=now - number * 14 * MINUTE,
                )  # fmt: skip
                ledger.record([result], RunKey(dag_id="etl", run_id=str(number), task_id="check"))
        assert followed(run_task(gate(documents))) == {"hold"}
        with sqlite3.connect(ledger_file.path) as connection:
            connection.execute("DELETE FROM checks WHERE kind = 'etl' AND run_id <> '1'")
        ran = run_task(gate(documents), run_id="next")
        assert ran.xcoms["decision"]["slos"][0]["remaining"] == 1
        assert followed(ran) == {"hold"}
        assert "too little of the window holds data to clear it" in ran.log

    def test_history_of_past_at_ends_before_it(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        """A freeze of today means nothing for a backfill of last week."""
        counts(request_log, "frozen")
        run_task(gate(sql_documents()), connections=request_log.connection)
        then = datetime.now(UTC) - 7 * DAY
        request_log.write(1040, 10, at=then - 180 * MINUTE)
        ran = run_task(gate(sql_documents(), at=then.isoformat()), connections=request_log.connection, run_id="past")
        assert ran.xcoms["decision"]["outcome"] == "warning"
