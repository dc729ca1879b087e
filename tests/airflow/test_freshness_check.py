"""The one-shot check, deadlines, and documents over what both leave in the ledger."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time import comms

from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from tests.airflow.freshness_runs import HOUR, only
from tests.airflow.task_runs import run_task

TABLE = {"table": "features", "timestamp_column": "ts", "conn_id": "db"}


def check(**arguments):
    return FreshnessCheckOperator(**{"task_id": "check", "max_age": HOUR, **TABLE, **arguments})


@pytest.mark.parametrize(
    ("ages", "verdict"), [((HOUR / 2,), "pass"), ((2 * HOUR,), "fail"), ((), "unknown"), ((-2 * HOUR,), "fail")]
)
def test_check_records_and_fails_only_with_fail_on_stale(features, ledger, ages, verdict):
    features.write(*ages)
    ran = run_task(check(), connections=features.connections)
    assert ran.state == "success", ran.error
    assert ran.xcoms["return_value"]["verdict"] == verdict
    assert only(ledger).result.verdict == verdict
    assert "Freshness of table features" in ran.log

    told = run_task(check(fail_if_stale=True, retries=3), connections=features.connections)
    assert told.state == ("success" if verdict == "pass" else "failed")
    assert told.xcoms["return_value"]["verdict"] == verdict
    assert only(ledger).result.verdict == verdict


def test_unmeasurable_source_always_fails(features, ledger):
    ran = run_task(check(timestamp_column="nope", retries=3), connections=features.connections)
    assert ran.state == "failed"
    assert only(ledger).result.verdict == "unknown"
    down = {"db": {"conn_type": "postgres", "host": "127.0.0.1", "port": 1}}
    assert run_task(check(retries=3), connections=down).state == "up_for_retry"


def test_asset_is_checked(ledger):
    ran = run_task(
        FreshnessCheckOperator(task_id="t", asset=Asset("orders"), max_age=HOUR),
        answers={comms.GetAssetEventByAsset: comms.AssetEventsResult(asset_events=[])},
    )
    assert ran.state == "success"
    assert only(ledger).result.verdict == "unknown"


@pytest.mark.parametrize(("try_number", "run_made"), [(2, 0), (1, 1)], ids=["cleared", "made again"])
@pytest.mark.parametrize(("first", "verdict"), [((2 * HOUR,), "fail"), ((), "unknown")])
def test_retry_keeps_earlier_observation(features, ledger, try_number, run_made, first, verdict):
    features.write(*first)
    run_task(check(), connections=features.connections)
    features.write(HOUR / 2)
    for _ in range(2):
        run_task(check(), connections=features.connections, try_number=try_number, run_made=run_made)
    seen = [one.result.verdict for one in ledger.checks(newest_first=False)]
    assert seen == ([verdict, "pass"] if verdict == "fail" else ["pass"])


def test_rerun_replaces_its_record(features, ledger):
    for age in (HOUR / 2, 2 * HOUR):
        features.write(age)
        run_task(check(), connections=features.connections, run_id="one")
    run_task(check(), connections=features.connections, run_id="two")
    assert len(ledger.checks()) == 2
    assert {one.result.verdict for one in ledger.checks()} == {"fail"}
    assert timedelta(seconds=ledger.checks()[0].result.value) >= 2 * HOUR
