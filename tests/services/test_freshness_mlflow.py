"""Freshness of a registered model, asked of a real MLflow server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.hooks.freshness import look
from airflow_slo_provider.hooks.freshness_question import question
from airflow_slo_provider.sensors.freshness import ModelFreshnessSensor
from tests.airflow.running import run_task
from tests.peers import peer
from tests.services.prometheus_server import free_port


def post(url, path, body, method="POST"):
    request = urllib.request.Request(f"{url}/api/2.0/mlflow/{path}", json.dumps(body).encode(), method=method)
    request.add_header("Content-Type", "application/json")
    return json.load(urllib.request.urlopen(request, timeout=30))


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    program = peer("mlflow", "mlflow==3.17.2") / "mlflow"
    home, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [program, "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    log = (home / "log").open("w")
    process = subprocess.Popen(command, env=env, cwd=home, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    break
            assert process.poll() is None and time.monotonic() < deadline, (home / "log").read_text()[-3000:]
            time.sleep(0.3)
        yield url
    finally:
        os.killpg(process.pid, 15)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        log.close()


@pytest.fixture(scope="module")
def registry(mlflow):
    """Two versions of a model; the alias is on the first."""
    post(mlflow, "registered-models/create", {"name": "churn rate"})
    for _ in range(2):
        post(mlflow, "model-versions/create", {"name": "churn rate", "source": "s3://b/x"})
        time.sleep(1.1)
    post(mlflow, "registered-models/alias", {"name": "churn rate", "alias": "champion", "version": "1"})
    return mlflow


@pytest.fixture(autouse=True)
def connected(registry, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "http", "host": registry}))


def ask(model="churn rate", alias="champion", **more):
    return look(question({"model": model, "alias": alias, **more}))


def test_the_age_is_that_of_the_version_and_not_of_the_alias_move(registry):
    first = ask()
    assert first.model_version == "1"
    assert timedelta(seconds=1) < datetime.now(UTC) - first.observed_at < timedelta(minutes=3)
    post(registry, "registered-models/alias", {"name": "churn rate", "alias": "champion", "version": "2"})
    second = ask()
    assert second.model_version == "2"
    assert second.observed_at - first.observed_at >= timedelta(seconds=1)
    post(registry, "registered-models/alias", {"name": "churn rate", "alias": "champion", "version": "1"})
    assert ask().observed_at == first.observed_at  # moving it back makes nothing younger


def test_a_promotion_writes_its_own_tag(registry):
    assert ask(promotion_tag="promoted_at").observed_at is None
    tag = {"name": "churn rate", "version": "1", "key": "promoted_at", "value": "2026-11-24T11:00:00+01:00"}
    post(registry, "model-versions/set-tag", tag)
    assert ask(promotion_tag="promoted_at").observed_at == datetime(2026, 11, 24, 10, tzinfo=UTC)


def test_a_missing_alias_is_unknown_and_a_missing_model_is_an_error(registry):
    missing = ask(alias="challenger")
    assert missing.observed_at is None
    assert "there is no alias challenger" in missing.note
    with pytest.raises(QueryError, match="there is no model nope") as caught:
        ask(model="nope")
    assert not caught.value.transient


def test_the_sensor(registry, ledger):
    sensor = ModelFreshnessSensor(task_id="t", model="churn rate", alias="champion", max_age=timedelta(hours=24), deferrable=True)
    assert run_task(sensor, connections={"mlflow_default": {"conn_type": "http", "host": registry}}).state == "success"
    (found,) = ledger.checks()
    assert (found.result.name, found.result.model_version) == ("model:churn rate@champion", "1")
    unknown = ModelFreshnessSensor(
        task_id="t", model="churn rate", alias="challenger", max_age=timedelta(hours=24), deferrable=True
    )
    ran = run_task(unknown, connections={"mlflow_default": {"conn_type": "http", "host": registry}})
    assert (ran.state, ran.deferral.classpath) == ("deferred", "airflow_slo_provider.triggers.freshness.FreshnessTrigger")
