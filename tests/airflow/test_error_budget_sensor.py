"""The sensor: what it waits for, how it waits, and when it gives up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.sensors import error_budget as sensors
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from tests.airflow.gates import DAY, MINUTE, POLICY, LedgerFile, RequestLog, prometheus_documents, slo, sql_documents
from tests.airflow.task_runs import resume, run_task
from tests.services.faulty_prometheus import FaultyPrometheus
from tests.support import Clock


def sensor(documents: str | None = None, **arguments: Any) -> ErrorBudgetSensor:
    arguments = {"poke_interval": 0, "timeout": 0, **arguments}
    return ErrorBudgetSensor(task_id="wait", slos=documents or sql_documents(), **arguments)


@pytest.fixture(params=[False, True], ids=["poke", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class TestCondition:
    @pytest.mark.parametrize(
        ("bad", "min_remaining", "state"),
        [
            (0, None, "success"),
            (9, None, "success"),
            (10, None, "failed"),
            (5, "0.5", "success"),
            (5, 0.5, "success"),
            (6, "0.5", "failed"),
            (10, 0, "failed"),
        ],
    )
    def test_sensor_needs_allowing_decision_and_min_remaining(
        self,
        request_log: RequestLog,
        ledger_file: LedgerFile,
        deferrable: bool,
        bad: int,
        min_remaining: Any,
        state: str,
    ) -> None:
        request_log.write(1000 - bad, bad)
        ran = run_task(
            sensor(min_remaining=min_remaining, deferrable=deferrable), connections=request_log.connection, max_tries=2
        )
        assert ran.state == state
        if state == "failed":
            assert isinstance(ran.error, AirflowSensorTimeout)
        assert ran.xcoms["decision"]["slos"][0]["name"] == "answered"
        assert ran.xcoms["decision"]["satisfied"] is (state == "success"), "marked as a success, it has still allowed nothing"
        assert len(ledger_file.checks()) == 2

    def test_min_remaining_applies_to_every_gating_slo(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        request_log.write(1000, 0)
        low = "SELECT 991 AS good, 1000 AS total FROM requests WHERE ts >= :date_from AND ts < :date_to LIMIT 1"
        for annotation, state in (("", "failed"), ("airflow-slo/tier: informational", "success")):
            documents = sql_documents(POLICY, slo(), slo("other", query=low, annotations=annotation))
            ran = run_task(sensor(documents, min_remaining="0.5"), connections=request_log.connection)
            assert ran.state == state
            assert ("other: 10 % of its budget is left, and 50 % is required" in ran.log) is (state == "failed")

    def test_sensor_uses_own_last_poke_as_history(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        """Frozen while it waits, it waits until the exit level, as a gate would."""
        request_log.write(990, 10)
        operator = sensor(deferrable=True, timeout=60)
        ran = run_task(operator, connections=request_log.connection)
        for requests, state in ((50, "deferred"), (1000, "success")):
            assert ran.deferral is not None
            request_log.write(requests, 0)
            ran = resume(operator, ran.deferral, connections=request_log.connection)
            assert ran.state == state
        assert len(ledger_file.checks()) == 2, "one row for each, however often it looked"

    @pytest.mark.parametrize("min_remaining", ["10%", -0.1, 1.1, float("nan"), True, "", "1/0"])
    def test_invalid_min_remaining_is_rejected_at_parse_time(self, min_remaining: Any) -> None:
        with pytest.raises(ValueError, match="min_remaining"):
            sensor(min_remaining=min_remaining)


class TestUnknownBudgets:
    @pytest.mark.parametrize("mode", ["503", "refuse", "empty", "nan", "truncated"])
    def test_unknown_budget_keeps_waiting(self, ledger_file: LedgerFile, mode: str) -> None:
        operator = sensor(prometheus_documents(), deferrable=True, timeout=60)
        with FaultyPrometheus(mode) as server:
            extra = {"retries": 0}
            ran = run_task(
                operator, connections={"prometheus_default": {"conn_type": "prometheus", "host": server.url, "extra": extra}}
            )
        assert (ran.state, ledger_file.outcomes()) == ("deferred", ["unknown"])
        assert "Waiting: the decision is unknown" in ran.log

    @pytest.mark.parametrize("mode", ["400", "401", "422", "two_series"])
    def test_invalid_query_fails_at_once(self, ledger_file: LedgerFile, deferrable: bool, mode: str) -> None:
        operator = sensor(prometheus_documents(), deferrable=deferrable, timeout=60, retries=2)
        with FaultyPrometheus(mode) as server:
            ran = run_task(operator, connections={"prometheus_default": {"conn_type": "prometheus", "host": server.url}})
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)

    def test_only_informational_slos_fail(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        documents = sql_documents(POLICY, slo(annotations="airflow-slo/tier: informational"))
        ran = run_task(sensor(documents, timeout=60), connections=request_log.connection)
        assert (ran.state, type(ran.error)) == ("failed", AirflowFailException)

    def test_min_remaining_with_unknown_budget_keeps_waiting(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        documents = sql_documents("  onNoData: allow" + POLICY)
        assert run_task(sensor(documents), connections=request_log.connection).state == "success"
        ran = run_task(sensor(documents, min_remaining=0), connections=request_log.connection)
        assert ran.state == "failed"
        assert "its budget is unknown" in ran.log

    def test_unreadable_ledger_retries_waits_or_skips(self, request_log: RequestLog, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", "postgresql://me:hunter2@127.0.0.1:1/ledger")
        for arguments, state in (({}, "up_for_retry"), ({"silent_fail": True}, "deferred"), ({"never_fail": True}, "skipped")):
            operator = sensor(deferrable=True, timeout=60, retries=1, **arguments)
            ran = run_task(operator, connections=request_log.connection)
            assert ran.state == state
            assert ran.error is None or isinstance(ran.error, LedgerError)


class TestDeferral:
    def test_deferral_lasts_until_next_poke_or_timeout(
        self, request_log: RequestLog, ledger_file: LedgerFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock(monkeypatch, sensors)
        operator = sensor(deferrable=True, poke_interval=600, timeout=1000)
        started = clock.now
        ran = run_task(operator, connections=request_log.connection, start_date=started)
        assert ran.state == "deferred"
        deferral = ran.deferral
        assert deferral is not None
        assert deferral.classpath == "airflow.providers.standard.triggers.temporal.DateTimeTrigger"
        assert _resume_time(deferral) == clock.now + timedelta(seconds=600)
        assert deferral.trigger_timeout == timedelta(seconds=1000) + sensors._GRACE
        # The start of the try survives a deferral.
        clock.forward(600)
        ran = resume(operator, deferral, connections=request_log.connection, start_date=started)
        assert ran.state == "deferred"
        assert ran.deferral is not None
        left = _resume_time(ran.deferral) - clock.now
        assert left == timedelta(seconds=400), "what is left of the timeout, not another ten minutes"
        clock.forward(401)
        ran = resume(operator, ran.deferral, connections=request_log.connection, start_date=started)
        assert (ran.state, type(ran.error)) == ("failed", AirflowSensorTimeout)
        assert "has not recovered within 1000 s" in str(ran.error)

    @pytest.mark.parametrize("arguments", [{"poke_interval": 0.5, "timeout": 600}, {"poke_interval": 600, "timeout": 1}])
    def test_deferral_is_at_least_ten_seconds(
        self, request_log: RequestLog, ledger_file: LedgerFile, arguments: dict[str, Any]
    ) -> None:
        now = datetime.now(UTC)
        ran = run_task(sensor(deferrable=True, **arguments), connections=request_log.connection, start_date=now)
        assert ran.deferral is not None
        assert _resume_time(ran.deferral) - now >= timedelta(seconds=10)
        assert ran.deferral.trigger_timeout > timedelta(seconds=60), "and Airflow's own timeout comes after it"

    def test_recovery_at_last_poke_succeeds(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        operator = sensor(deferrable=True, timeout=1000)
        ran = run_task(operator, connections=request_log.connection)
        assert ran.deferral is not None
        request_log.write(10, 0)
        late = datetime.now(UTC) - timedelta(seconds=1001)
        assert resume(operator, ran.deferral, connections=request_log.connection, start_date=late).state == "success"

    def test_timeout_with_soft_fail_skips(self, request_log: RequestLog, ledger_file: LedgerFile, deferrable: bool) -> None:
        operator = sensor(deferrable=deferrable, soft_fail=True)
        assert run_task(operator, connections=request_log.connection).state == "skipped"
        broken = sensor("/nowhere.yaml", deferrable=deferrable, soft_fail=True)
        assert run_task(broken, connections=request_log.connection).state == "skipped"

    def test_lost_trigger_times_out(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        operator = sensor(deferrable=True, timeout=60, retries=2)
        ran = run_task(operator, next_method="__fail__", next_kwargs={"error": "Trigger timeout"})
        assert (ran.state, type(ran.error)) == ("failed", AirflowSensorTimeout)

    def test_exponential_backoff_lengthens_deferrals(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        operator = sensor(deferrable=True, poke_interval=10, timeout=10_000, exponential_backoff=True, max_wait=300)
        ran = run_task(operator, connections=request_log.connection)
        waits = []
        for _ in range(7):
            assert ran.deferral is not None
            waits.append((_resume_time(ran.deferral) - datetime.now(UTC)).total_seconds())
            ran = resume(operator, ran.deferral, connections=request_log.connection)
        assert waits[0] < waits[3] < waits[6]
        assert waits[6] == pytest.approx(300, abs=2)

    def test_reschedule_mode_reschedules(self, request_log: RequestLog, ledger_file: LedgerFile) -> None:
        operator = sensor(mode="reschedule", deferrable=False, timeout=60, poke_interval=30)
        assert run_task(operator, connections=request_log.connection).state == "up_for_reschedule"


class TestBackfill:
    END = datetime(2026, 3, 2, tzinfo=UTC)

    @pytest.mark.parametrize(("bad", "state"), [(0, "success"), (10, "failed")])
    def test_backfill_evaluates_past_once(
        self, request_log: RequestLog, ledger_file: LedgerFile, deferrable: bool, bad: int, state: str
    ) -> None:
        request_log.write(1000 - bad, bad, at=self.END - MINUTE)
        operator = sensor(deferrable=deferrable, timeout=3600, poke_interval=600, retries=2)
        ran = run_task(
            operator, connections=request_log.connection, run_type="backfill", data_interval=(self.END - DAY, self.END)
        )
        assert ran.state == state
        assert ran.xcoms["decision"]["at"] == "2026-03-02T00:00:00+00:00"
        if state == "failed":
            assert "a past budget cannot recover" in str(ran.error)


def _resume_time(deferral: Any) -> datetime:
    from airflow.sdk.serde import deserialize

    moment = deserialize(deferral.trigger_kwargs)["moment"]
    assert isinstance(moment, datetime)
    return moment
