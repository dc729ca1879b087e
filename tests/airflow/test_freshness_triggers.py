"""A trigger that a triggerer makes again asks the same question, and finds what a look by a worker finds."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk.serde import deserialize, serialize

from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, ModelFreshnessSensor, PipelineFreshnessSensor
from airflow_slo_provider.triggers.freshness import FreshnessTrigger
from tests.airflow.freshness_runs import HOUR
from tests.airflow.task_runs import run_task


class Everything(ThreadingHTTPServer):
    """An Airflow, an MLflow, a Feast registry and a Prometheus in which all has one age; None where nothing ever happened."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.age: timedelta | None = 2 * HOUR

    def answer(self, path: str, params: dict[str, str]) -> dict:
        then = None if self.age is None else datetime.now(UTC) - self.age
        if path.startswith("/api/v2/dags/"):
            run = {"dag_id": "d", "task_id": "t", "state": "success", "map_index": -1, "dag_run_id": "r"}
            found = [] if then is None else [{**run, "end_date": then.isoformat()}]
            return {"task_instances": found, "dag_runs": found}
        if path.startswith("/api/v1/feature_views/"):
            ends = [] if then is None else [{"endTime": then.isoformat()}]
            return {"spec": {}, "meta": {"materializationIntervals": ends}}
        if path.startswith("/api/2.0/mlflow/"):
            tags = [] if then is None else [{"key": "promoted", "value": then.isoformat()}]
            return {"model_version": {"version": "1", "status": "READY", "creation_timestamp": 1, "tags": tags}}
        at = float(params["time"])
        value = "NaN" if then is None else str(then.timestamp())
        # Of a hundred groups the last is always old.
        old = str((datetime.now(UTC) - 9 * HOUR).timestamp())
        series = [{"metric": {"n": str(n)}, "value": [at, value if n < 99 else old]} for n in range(100)]
        result = series if "by" in params["query"] else [{"metric": {}, "value": [at, value]}]
        return {"status": "success", "data": {"resultType": "vector", "result": result}}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.answer(url.path, url.query)

    def do_POST(self) -> None:
        self.answer(self.path, self.rfile.read(int(self.headers["Content-Length"])).decode())

    def answer(self, path: str, query: str) -> None:
        body = json.dumps(self.server.answer(path, {name: each[-1] for name, each in parse_qs(query).items()})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments) -> None: ...


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("airflow_slo_provider.runtime.deferral.MIN_DEFERRAL", timedelta(0))
    made = Everything()
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    for conn_id, kind, extra in (
        ("api", "http", {}),
        ("prom", "prometheus", {}),
        ("mlflow", "model_registry", {"kind": "mlflow"}),
    ):
        connection = {"conn_type": kind, "host": f"http://127.0.0.1:{made.server_address[1]}", "extra": json.dumps(extra)}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    yield made
    made.shutdown()
    made.server_close()


GROUPS = {"query": "max by (n) (written)", "query_gives": "timestamp", "group_by": ("n",), "conn_id": "prom"}
SOURCES = {
    "dag": (PipelineFreshnessSensor, {"external_dag_id": "d", "conn_id": "api"}),
    "task": (PipelineFreshnessSensor, {"external_dag_id": "d", "external_task_id": "t", "conn_id": "api"}),
    "view": (FeatureFreshnessSensor, {"feature_view": "{{ 'v' }}", "project": "p", "conn_id": "api"}),
    "views": (FeatureFreshnessSensor, {"feature_view": ("v", "w"), "project": "p", "conn_id": "api", "quantile": "0.5"}),
    "model": (ModelFreshnessSensor, {"model": "m", "alias": "a", "promotion_tag": "promoted", "conn_id": "mlflow"}),
    "query": (ModelFreshnessSensor, {"query": "written", "query_gives": "timestamp", "conn_id": "prom"}),
    "float": (FeatureFreshnessSensor, {**GROUPS, "quantile": 0.99}),
    "decimal": (FeatureFreshnessSensor, {**GROUPS, "quantile": Decimal("0.99")}),
    "fraction": (FeatureFreshnessSensor, {**GROUPS, "quantile": Fraction(99, 100)}),
}


def recreate(kwargs: dict) -> FreshnessTrigger:
    """Make a trigger as a triggerer does after a restart: what the database keeps is text."""
    return FreshnessTrigger(**deserialize(json.loads(json.dumps(kwargs))))


async def event_of(trigger: FreshnessTrigger) -> str:
    async with aclosing(trigger.run()) as events:
        return (await anext(events)).payload["status"]


@pytest.mark.parametrize("source", SOURCES)
def test_deserialised_trigger_finds_what_a_poke_finds(server, ledger, source):
    cls, arguments = SOURCES[source]

    def run(**more):
        return run_task(cls(**{"task_id": "wait", "max_age": HOUR, "poke_interval": 0.1, **arguments, **more}))

    deferred = run(deferrable=True, timeout=600)
    assert deferred.state == "deferred", deferred.error
    kwargs = deferred.deferral.trigger_kwargs
    first = recreate(kwargs)
    again = recreate(serialize(first.serialize()[1]))
    assert again.serialize() == first.serialize()
    for age, told, state in (
        (HOUR / 2, "fresh", "success"),
        (-HOUR, "clock_skew", "failed"),
        (2 * HOUR, "timeout", "failed"),
        (None, "timeout", "failed"),
    ):
        server.age = age
        trigger = recreate(kwargs)
        trigger.until = (datetime.now(UTC) + timedelta(seconds=0.5 if told == "timeout" else 30)).isoformat()
        assert asyncio.run(event_of(trigger)) == told
        poked = run(deferrable=False, timeout=0)
        assert poked.state == state, poked.error
        assert ("clock_skew" in str(poked.error)) == (told == "clock_skew")


def test_trigger_with_maximum_limits_fires(server, ledger):
    server.age = None
    sensor = PipelineFreshnessSensor(
        task_id="wait", external_dag_id="d", conn_id="api", max_age=timedelta.max, clock_tolerance=timedelta.max,
        poke_interval=0.1, deferrable=True,
    )  # fmt: skip
    ran = run_task(sensor)
    assert ran.state == "deferred", ran.error
    server.age = 100_000 * HOUR
    assert asyncio.run(event_of(recreate(ran.deferral.trigger_kwargs))) == "fresh"


def test_missing_connection_with_silent_fail_waits(server, ledger):
    for arguments in ({"deferrable": True}, {"deferrable": False, "mode": "reschedule"}):
        ran = run_task(
            ModelFreshnessSensor(
                task_id="wait", query="q", query_gives="age", conn_id="gone", max_age=HOUR, silent_fail=True, **arguments
            )
        )
        assert ran.state == ("deferred" if arguments["deferrable"] else "up_for_reschedule"), ran.error
