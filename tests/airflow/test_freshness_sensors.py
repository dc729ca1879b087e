"""The freshness sensors in Airflow's own task runner."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import comms
from airflow.sdk.serde import deserialize

from airflow_slo_provider.sensors import freshness_base
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, ModelFreshnessSensor, PipelineFreshnessSensor
from tests.airflow.freshness_runs import HOUR, only
from tests.airflow.task_runs import resume, run_task
from tests.support import Clock

TIMED_OUT = {"next_method": "__fail__", "next_kwargs": {"error": "Trigger timeout"}}
MODES = [{"deferrable": True}, {"deferrable": False, "mode": "reschedule"}]


def table(**arguments):
    given = {"table": "features", "timestamp_column": "ts", "conn_id": "db", "max_age": HOUR, "deferrable": True, **arguments}
    return FeatureFreshnessSensor(**{"task_id": "wait", **given})


class TestWaiting:
    @pytest.mark.parametrize("mode", [*MODES, {"deferrable": False, "mode": "poke"}])
    def test_fresh_source_succeeds_at_once(self, features, ledger, mode):
        features.write(HOUR / 2, 2 * HOUR)
        ran = run_task(table(**mode), connections=features.connections)
        assert ran.state == "success", ran.error
        assert "Freshness of table features: 30 min old, since 2" in ran.log
        assert "limit 1 h: fresh; from MAX(ts) of table features, connection db" in ran.log
        found = only(ledger)
        assert (found.result.kind, found.result.name, found.result.verdict) == ("freshness", "table:features", "pass")
        assert found.result.value == pytest.approx(1800, abs=5)
        assert (found.result.target, found.result.op) == (3600.0, "lte")
        pushed = ran.xcoms["return_value"]
        assert (pushed["verdict"], pushed["schema_version"], pushed["value"]) == ("pass", 1, found.result.value)

    @pytest.mark.parametrize("mode", MODES)
    def test_stale_source_defers(self, features, ledger, mode):
        features.write(2 * HOUR)
        ran = run_task(table(**mode, poke_interval=30, timeout=600), connections=features.connections)
        assert ran.state == ("deferred" if mode["deferrable"] else "up_for_reschedule")
        assert "limit 1 h: stale" in ran.log
        assert "return_value" not in ran.xcoms
        assert (only(ledger).result.verdict, only(ledger).result.evidence["reason"]) == ("fail", "stale")

    def test_warning_succeeds(self, features, ledger):
        features.write(HOUR * 0.9)
        ran = run_task(table(warn_age=HOUR / 2), connections=features.connections)
        assert ran.state == "success"
        assert only(ledger).result.verdict == "warn"

    @pytest.mark.parametrize("ages", [(), (None, None)])
    def test_unknown_age_defers(self, features, ledger, ages):
        features.write(*ages)
        assert run_task(table(), connections=features.connections).state == "deferred"
        assert (only(ledger).result.verdict, only(ledger).result.value) == ("unknown", None)

    def test_resumed_sensor_checks_again(self, features, ledger):
        features.write(2 * HOUR)
        sensor = table(poke_interval=30, timeout=600)
        first = run_task(sensor, connections=features.connections)
        assert "DateTimeTrigger" in first.deferral.classpath
        again = resume(sensor, first.deferral, connections=features.connections)
        assert again.state == "deferred"
        features.write(HOUR / 4)
        last = resume(sensor, again.deferral, connections=features.connections)
        assert last.state == "success"
        assert last.xcoms["return_value"]["value"] == pytest.approx(900, abs=5)
        assert only(ledger).result.verdict == "pass"

    @pytest.mark.parametrize("mode", [{"deferrable": True}, {"deferrable": False, "mode": "poke"}])
    def test_future_timestamp_fails_at_once(self, features, ledger, mode):
        features.write(HOUR, -2 * HOUR)
        ran = run_task(table(retries=3, **mode), connections=features.connections)
        assert ran.state == "failed"
        assert "clock_skew" in str(ran.error)
        assert (only(ledger).result.verdict, only(ledger).result.value) == ("fail", None)

    def test_worst_groups_are_named(self, features, ledger):
        features.write(*[HOUR / 2] * 987, *[(2 + n) * HOUR for n in range(13)])
        sensor = table(group_by="entity", quantile=0.99)
        ran = run_task(sensor, connections=features.connections)
        assert ran.state == "deferred"
        for n in range(13):
            assert f"e{987 + n} ({2 + n} h old)" in ran.log
        assert (only(ledger).result.good, only(ledger).result.total) == (987, 1000)
        assert [name for name, _ in only(ledger).result.evidence["worst"]] == [f"e{n}" for n in range(999, 986, -1)]
        features.write(*[HOUR / 2] * 990, *[2 * HOUR] * 10)
        assert resume(sensor, ran.deferral, connections=features.connections).state == "success"


@pytest.fixture
def clock(monkeypatch):
    """The sensors' clock, which this test moves: how long a test takes must not decide how it ends."""
    return Clock(monkeypatch, freshness_base)


class TestTimeout:
    def test_deferral_is_never_too_short(self, features, ledger):
        features.write(2 * HOUR)
        now = datetime.now(UTC)
        ran = run_task(table(poke_interval=0.1, timeout=600), connections=features.connections)
        assert deserialize(ran.deferral.trigger_kwargs)["moment"] - now >= timedelta(seconds=10)

    def test_timeout_is_kept_over_deferrals(self, features, ledger, clock):
        features.write(2 * HOUR)
        sensor = table(poke_interval=0.1, timeout=1.5)
        ran = run_task(sensor, connections=features.connections)
        left = [ran.deferral.trigger_timeout]
        for _ in range(2):
            clock.forward(0.2)
            ran = resume(sensor, ran.deferral, connections=features.connections)
            assert ran.state == "deferred"
            left.append(ran.deferral.trigger_timeout)
        assert [left[0] - one for one in left] == [timedelta(seconds=0.2) * n for n in range(3)]
        clock.forward(1.1)
        ran = resume(sensor, ran.deferral, connections=features.connections)
        assert ran.state == "failed"
        assert "not fresh within 1.5 s: table features: 2 h old" in str(ran.error)
        assert only(ledger).result.verdict == "fail"

    @pytest.mark.parametrize(("ages", "state"), [((2 * HOUR,), "failed"), ((HOUR / 2,), "success")])
    def test_timed_out_deferral_checks_once_more(self, features, ledger, clock, ages, state):
        features.write(2 * HOUR)
        sensor = table(timeout=0.2, retries=2)
        assert run_task(sensor, connections=features.connections).state == "deferred"
        clock.forward(0.3)
        features.write(*ages)
        ran = run_task(sensor, connections=features.connections, **TIMED_OUT)
        assert ran.state == state
        assert only(ledger).result.verdict == ("fail" if state == "failed" else "pass")

    @pytest.mark.parametrize("mode", [*MODES, {"deferrable": False, "mode": "poke"}])
    def test_timeout_restarts_when_cleared_but_not_when_retried(self, features, ledger, mode, request):
        features.write(2 * HOUR)
        sensor = table(retries=2, timeout=0.3, poke_interval=0.05, **mode)
        if mode.get("mode") != "poke":
            clock = request.getfixturevalue("clock")
            assert run_task(sensor, connections=features.connections, try_number=1).state in ("deferred", "up_for_reschedule")
            clock.forward(0.35)
        else:  # Airflow waits inside of the task, by its own clock
            assert run_task(sensor, connections=features.connections, try_number=1).state == "failed"
        began = only(ledger).result.evidence["waiting_since"]
        ran = run_task(sensor, connections=features.connections, try_number=2)
        assert ran.state == "failed"
        assert "not fresh within 0.3 s" in str(ran.error)
        assert {one.result.evidence["waiting_since"] for one in ledger.checks()} == {began}
        cleared = run_task(sensor, connections=features.connections, try_number=3, max_tries=4)
        assert [one.result.evidence["waiting_since"] > began for one in ledger.checks()] == [True, False, False]
        assert cleared.state in (("failed",) if mode.get("mode") == "poke" else ("deferred", "up_for_reschedule"))

    def test_timeout_includes_failed_first_try(self, features, ledger, clock):
        sensor = table(table="nope", retries=2, timeout=0.2)
        run_task(sensor, connections=features.connections)
        began = only(ledger).result.evidence["waiting_since"]
        features.write(2 * HOUR)
        clock.forward(0.25)
        run_task(sensor, connections=features.connections, try_number=2)
        assert only(ledger).result.evidence["waiting_since"] == began

    @pytest.mark.parametrize("mode", [*MODES, {"deferrable": False, "mode": "poke"}])
    def test_timeout_with_soft_fail_skips(self, features, ledger, mode):
        features.write(2 * HOUR)
        sensor = table(timeout=0, soft_fail=True, poke_interval=0.1, **mode)
        assert run_task(sensor, connections=features.connections).state == "skipped"
        assert only(ledger).result.verdict == "fail"

    def test_timed_out_deferral_with_soft_fail_skips(self, features, ledger):
        features.write(2 * HOUR)
        ran = run_task(table(timeout=0, soft_fail=True), connections=features.connections, **TIMED_OUT)
        assert ran.state == "skipped"
        assert only(ledger).result.verdict == "fail"

    def test_failed_trigger_is_retried(self, features, ledger):
        kwargs = {"next_method": "__fail__", "next_kwargs": {"error": "Trigger failure"}}
        ran = run_task(table(retries=1), connections=features.connections, **kwargs)
        assert ran.state == "up_for_retry"

    def test_timeout_zero_checks_once(self, features, ledger):
        features.write(HOUR / 2)
        assert run_task(table(timeout=0), connections=features.connections).state == "success"
        features.write(2 * HOUR)
        assert run_task(table(timeout=0), connections=features.connections, run_id="other").state == "failed"


class TestFaults:
    DOWN = {"db": {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "u", "password": "hunter2", "schema": "d"}}

    @pytest.mark.parametrize("arguments", [{"timestamp_column": "nope"}, {"table": "nope"}, {"group_by": "nope"}])
    def test_missing_column_fails_without_retry(self, features, ledger, arguments):
        features.write(HOUR / 2)
        ran = run_task(table(retries=3, **arguments), connections=features.connections)
        assert ran.state == "failed"
        assert "no such" in str(ran.error)
        assert only(ledger).result.verdict == "unknown"

    def test_naive_column_without_zone_fails(self, features, ledger):
        import sqlite3

        with sqlite3.connect(features.path) as connection:
            connection.execute("INSERT INTO features VALUES ('e', datetime('now', '-30 minutes'))")
        connection.close()
        ran = run_task(table(), connections=features.connections)
        assert ran.state == "failed"
        assert "has no time zone" in str(ran.error)
        assert run_task(table(timezone="UTC"), connections=features.connections).state == "success"

    @pytest.mark.parametrize("query", ["SELECT ts FROM features", "SELECT entity, ts FROM features LIMIT 1"])
    def test_query_of_two_rows_or_columns_fails(self, features, ledger, query):
        features.write(HOUR / 2, HOUR / 2)
        sensor = PipelineFreshnessSensor(task_id="t", query=query, conn_id="db", max_age=HOUR, retries=3)
        ran = run_task(sensor, connections=features.connections)
        assert ran.state == "failed"
        assert "one row of one column" in str(ran.error)

    @pytest.mark.parametrize("mode", [*MODES, {"deferrable": False, "mode": "poke"}])
    def test_unreachable_server_is_retried_and_recorded(self, ledger, mode):
        ran = run_task(table(retries=3, **mode), connections=self.DOWN)
        assert ran.state == "up_for_retry"
        assert "hunter2" not in ran.log + str(ran.error)
        found = only(ledger).result
        assert (found.verdict, found.value, found.evidence["transient"]) == ("unknown", None, True)
        assert found.evidence["reason"] == "connection"

    def test_silent_fail_waits_for_the_next_check(self, ledger):
        assert run_task(table(silent_fail=True), connections=self.DOWN).state == "deferred"
        assert run_task(table(silent_fail=True, table="x", timeout=0), connections=self.DOWN).state == "failed"

    def test_never_fail_skips_on_error(self, ledger):
        assert run_task(table(never_fail=True), connections=self.DOWN).state == "skipped"

    def test_check_that_cannot_be_recorded_fails(self, features, monkeypatch):
        features.write(HOUR / 2)
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", "sqlite:////nowhere/at/all.db")
        assert run_task(table(), connections=features.connections).state == "failed"


def event(at: datetime, **more) -> comms.AssetEventsResult:
    fields = {"id": 1, "timestamp": at, "extra": {}, "asset": {"name": "orders", "uri": "orders", "group": "asset", "extra": {}}}
    fields |= {"created_dagruns": [], "source_dag_id": "etl", "source_task_id": "load", "source_run_id": "manual__1", **more}
    return comms.AssetEventsResult(asset_events=[fields])


class TestAssets:
    def test_newest_asset_event_is_observed(self, ledger):
        answers = {comms.GetAssetEventByAsset: event(datetime.now(UTC) - HOUR / 2)}
        sensor = PipelineFreshnessSensor(task_id="t", asset=Asset("orders"), max_age=HOUR, deferrable=True)
        ran = run_task(sensor, answers=answers)
        assert ran.state == "success"
        assert "asset orders: 30 min old" in ran.log
        assert "event of task load of DAG etl, run manual__1" in ran.log
        (asked,) = [one for one in ran.messages if isinstance(one, comms.GetAssetEventByAsset)]
        assert (asked.ascending, asked.limit, asked.name, asked.uri) == (False, 1, "orders", "orders")
        assert only(ledger).result.name == "asset:orders"

    def test_manual_asset_event_is_observed(self, ledger):
        told = event(datetime.now(UTC), source_dag_id=None, source_task_id=None, source_run_id=None)
        sensor = PipelineFreshnessSensor(task_id="t", asset=Asset("orders"), max_age=HOUR)
        ran = run_task(sensor, answers={comms.GetAssetEventByAsset: told})
        assert ran.state == "success"
        assert "event of the API" in ran.log

    @pytest.mark.parametrize("answer", [event(datetime.now(UTC) - 2 * HOUR), comms.AssetEventsResult(asset_events=[])])
    def test_asset_is_checked_again_by_a_worker(self, ledger, answer):
        sensor = PipelineFreshnessSensor(task_id="t", asset=Asset("orders"), max_age=HOUR, deferrable=True, poke_interval=30)
        ran = run_task(sensor, answers={comms.GetAssetEventByAsset: answer})
        assert ran.state == "deferred"
        assert "DateTimeTrigger" in ran.deferral.classpath
        fresh = {comms.GetAssetEventByAsset: event(datetime.now(UTC))}
        assert resume(sensor, ran.deferral, answers=fresh).state == "success"

    @pytest.mark.parametrize("asset", ["nope", "s3://nope/x", Asset.ref(name="nope"), "{{ 'no' }}pe"])
    def test_unknown_asset_fails_with_its_name(self, ledger, asset):
        missing = comms.ErrorResponse(error=ErrorType.ASSET_NOT_FOUND)
        sensor = PipelineFreshnessSensor(task_id="t", asset=asset, max_age=HOUR, retries=3)
        ran = run_task(sensor, answers={comms.GetAssetByName: missing, comms.GetAssetByUri: missing})
        assert ran.state == "failed"
        assert "Airflow has no active asset of that name or URI" in str(ran.error)
        assert "nope" in str(ran.error)
        assert only(ledger).result.verdict == "unknown"

    def test_asset_by_name_is_observed(self, ledger):
        answers = {
            comms.GetAssetByName: comms.AssetResult(name="orders", uri="orders", group="asset", extra={}),
            comms.GetAssetEventByAsset: event(datetime.now(UTC)),
        }
        assert run_task(PipelineFreshnessSensor(task_id="t", asset="orders", max_age=HOUR), answers=answers).state == "success"


def test_templates_of_a_sensor_are_rendered(features, ledger):
    features.write(HOUR / 2)
    sensor = table(table="{{ params.t }}", name="{{ params.t }}-fresh", conn_id="{{ 'd' }}b", params={"t": "features"})
    assert run_task(sensor, connections=features.connections).state == "success"
    assert only(ledger).result.name == "features-fresh"


@pytest.mark.parametrize(
    "arguments",
    [{"table": "{{ '' }}"}, {"timestamp_column": "{{ '' }}"}, {"timezone": "{{ 'Mars' }}"}, {"table": "{{ 'a' }}\x01"}],
)
def test_invalid_rendered_value_is_not_retried(features, ledger, arguments):
    features.write(HOUR / 2)
    ran = run_task(table(retries=3, **arguments), connections=features.connections)
    assert ran.state == "failed", ran.error


def test_check_of_a_query_is_named_by_its_task(features, ledger):
    features.write(HOUR / 2)
    sensor = ModelFreshnessSensor(task_id="model", query="SELECT MAX(ts) FROM features", conn_id="db", max_age=HOUR)
    assert run_task(sensor, connections=features.connections).state == "success"
    assert only(ledger).result.name == "a_dag.model"


def test_deferrable_defaults_to_airflow_setting():
    import subprocess
    import sys

    code = (
        "from datetime import timedelta; from airflow_slo_provider.sensors.freshness import ModelFreshnessSensor as S;"
        "print(S(task_id='t', query='q', max_age=timedelta(1)).deferrable)"
    )
    env = {**os.environ, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip().endswith("True"), done.stderr
