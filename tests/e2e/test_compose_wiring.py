"""The wiring of docker-compose.yaml, without containers: its commands, environment and configuration files, as processes.

Only addresses and paths are replaced (``tests.e2e.local_services``). Grafana and Tempo have no package and are not started; what
would go to Tempo's OTLP endpoint is counted. DAGs run in one process (``airflow dags test``) with compose's environment; the
other tests of this directory run Airflow's four components.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider.ledger import RunKey, open_ledger
from demo import load, model
from tests import compose
from tests.e2e.local_services import LocalServices
from tests.peers import peer
from tests.services.postgres import PostgresServer, running_postgres
from tests.support import need

pytestmark = pytest.mark.e2e

PASSWORDS = {name: secrets.token_hex(16) for name in compose.SECRETS}
#: The share of failed requests over the whole measured time.
FAILED = 'sum(increase(model_requests_total{code=~"5.."}[1d])) / sum(increase(model_requests_total[1d]))'


class TraceSink(ThreadingHTTPServer):
    """Receives spans instead of Tempo, and counts the requests."""

    daemon_threads = True
    received = 0

    def __init__(self, port: int) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                owner.received += self.path == "/v1/traces"
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        super().__init__(("127.0.0.1", port), Handler)


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """Start PostgreSQL as its image does: the user airflow with its database, and the databases of the mounted script."""
    with running_postgres() as server:
        with server.connect(autocommit=True) as connection:
            connection.execute(f"CREATE ROLE airflow SUPERUSER LOGIN PASSWORD '{PASSWORDS['POSTGRES_PASSWORD']}'")
            connection.execute("CREATE DATABASE airflow OWNER airflow")
        yield server


@pytest.fixture(scope="module")
def stack(database: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServices]:
    """Start all available services; the candidate is the release with the bug."""
    directory = tmp_path_factory.mktemp("compose")
    found = compose.services(directory, PASSWORDS | {"CANDIDATE_ARGS": "--zero-is-missing", "LOAD_RATE": "50"})
    native = LocalServices(directory / "root", found, database.port)
    login = {"PGHOST": "127.0.0.1", "PGPORT": str(database.port), "PGPASSWORD": PASSWORDS["POSTGRES_PASSWORD"]}
    sink = TraceSink(int(native.addresses["tempo:4318"].rpartition(":")[2]))
    threading.Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    native.traces = sink
    try:
        need("psql")
        native.run("postgres", str(native.path("/docker-entrypoint-initdb.d/databases.sh")), **login)
        native.start("airflow-init")
        native.start("mlflow", PATH=f"{peer('mlflow')}:{native.env('mlflow')['PATH']}")
        native.run("trainer")
        native.start("champion-server")
        native.start("candidate-server")
        native.start("alertmanager", need("prometheus-alertmanager"))
        native.start("pushgateway", need("prometheus-pushgateway"))
        native.start("prometheus", need("prometheus"))
        for service, path in (
            ("champion-server:8000", "/health"),
            ("candidate-server:8000", "/health"),
            ("alertmanager:9093", "/-/ready"),
            ("pushgateway:9091", "/-/ready"),
            ("prometheus:9090", "/-/ready"),
        ):
            native.wait_for(service.partition(":")[0], native.url(service) + path)
        native.start("load")
        yield native
    finally:
        native.stop()
        sink.shutdown()
        sink.server_close()


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def measured(stack: LocalServices, query: str) -> list[dict[str, Any]]:
    """Return the result of a Prometheus query."""
    address = f"{stack.url('prometheus:9090')}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    return list(ask(address)["data"]["result"])


def until(happened: Callable[[], Any], tell: Callable[[], object] = lambda: "", *, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {tell()}"
        time.sleep(0.5)
    return found


def test_prometheus_scrapes_both_model_versions(stack: LocalServices):
    scraped = 'up{job=~"model|pushgateway|alertmanager|prometheus"}'
    until(lambda: [one["value"][1] for one in measured(stack, scraped)] == ["1"] * 5, lambda: measured(stack, scraped))
    counted = until(lambda: measured(stack, "sum by (role, model_version) (model_requests_total) > 0")[1:], seconds=30)
    assert counted
    found = {(one["metric"]["role"], one["metric"]["model_version"]) for one in measured(stack, "model_requests_total")}
    assert found == {("champion", "1"), ("candidate", "2")}
    until(lambda: measured(stack, 'model_request_duration_seconds_bucket{role="champion",le="0.1"} > 0'))


def test_generated_rules_fire_an_alert_at_alertmanager(stack: LocalServices):
    # The candidate rejects 13 of 569 rows; with more requests than the champion, it spends the budget of both.
    load.send(stack.url("candidate-server:8000"), model.measured_rows(), passes=3)
    alerts = f"{stack.url('alertmanager:9093')}/api/v2/alerts?filter=slo%3Dpredictions-available&receiver=pager"
    (alert,) = until(lambda: ask(alerts), lambda: measured(stack, FAILED))
    assert (
        alert["labels"].items()
        >= {
            "alertname": "PredictionsAvailableErrorBudgetBurn",
            "severity": "page",
            "slo_service": "tumour-classifier",
        }.items()
    )
    groups = ask(f"{stack.url('prometheus:9090')}/api/v1/rules")["data"]["groups"]
    states = {rule["health"] for group in groups for rule in group["rules"] if not group["name"].endswith("-long")}
    assert states == {"ok"}, groups


def test_gate_reads_prometheus_and_records_its_decision_in_postgresql(stack: LocalServices, database: PostgresServer):
    until(lambda: measured(stack, f"{FAILED} > 0.0105"), lambda: measured(stack, FAILED))
    stack.finish("airflow-init")
    registry = stack.path("/srv/slo/registry") / "tumour-classifier" / "registry.json"
    out = stack.run("scheduler", "airflow", "dags", "test", "gated_model_promotion")
    assert json.loads(registry.read_text())["aliases"]["champion"] == "1", out[-4000:]
    ledger_url = f"postgresql+psycopg://slo_ledger:{PASSWORDS['SLO_LEDGER_PASSWORD']}@127.0.0.1:{database.port}/slo_ledger"
    with open_ledger(ledger_url, test_run=True) as ledger:
        rows = {row.result.name: row.result for row in ledger.checks()}
        # Records of `airflow dags test` count nowhere, so the records of a scheduled run are created below.
        scheduled = RunKey("gated_model_promotion", "scheduled", "gate")
        ledger.seen_by_tests(False).record([rows["predictions-available"]], scheduled)
    decision = rows["gated_model_promotion.gate"]
    assert (decision.kind, decision.evidence["outcome"]) == ("decision", "frozen"), out[-4000:]
    assert float(rows["predictions-available"].evidence["remaining"]) < 0
    assert rows["tumour-classifier"].kind == "golden_set"


def test_ledger_metrics_are_pushed_and_scraped(stack: LocalServices):
    stack.finish("airflow-init")
    stack.run("scheduler", "airflow", "dags", "test", "example_push_metrics")
    wanted = 'airflow_slo_error_budget_remaining_ratio{slo="predictions-available",job="airflow_slo"} < 0'
    until(lambda: measured(stack, wanted), lambda: measured(stack, '{job="airflow_slo"}'))


#: Queries through Airflow's connections, as triggers and operators do.
CONNECTIONS = """
import asyncio
from airflow.sdk import BaseHook
from airflow_slo_provider.hooks.model_registry import ModelRegistryHook
from airflow_slo_provider.hooks.prometheus import PrometheusHook
from airflow_slo_provider.hooks.connection_forms.prometheus import client_settings
from airflow_slo_provider.indicators.alertmanager import AsyncAlertmanagerClient

async def alerts():
    async with AsyncAlertmanagerClient(**client_settings(BaseHook.get_connection("alertmanager_default"))) as client:
        return await client.alerts(['slo="predictions-available"'])

print(ModelRegistryHook().test_connection()[0], PrometheusHook().test_connection()[0], len(asyncio.run(alerts())) > 0)
"""


def test_other_airflow_connections_reach_their_services(stack: LocalServices):
    stack.wait_for("mlflow", stack.url("mlflow:5000") + "/health", timeout=180)
    out = stack.run("scheduler", "python", "-c", CONNECTIONS)
    assert out.splitlines()[-1] == "True True True", out


@pytest.mark.parametrize(("host", "status"), [("mlflow:5000", 200), ("localhost:15000", 200), ("elsewhere:5000", 403)])
def test_mlflow_accepts_only_its_host_names(stack: LocalServices, host: str, status: int):
    stack.wait_for("mlflow", stack.url("mlflow:5000") + "/health", timeout=180)
    address = f"{stack.url('mlflow:5000')}/api/2.0/mlflow/registered-models/search"
    request = urllib.request.Request(address, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
    assert found == status


def test_model_servers_send_spans_to_the_trace_store(stack: LocalServices):
    until(lambda: stack.traces.received > 1, lambda: stack.log("champion-server").read_text()[-2000:])


def test_service_accounts_access_only_their_own_database(stack: LocalServices, database: PostgresServer):
    import psycopg

    login = {"host": "127.0.0.1", "port": database.port, "user": "mlflow", "password": PASSWORDS["MLFLOW_PASSWORD"]}
    with psycopg.connect(dbname="mlflow", **login):
        pass
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(dbname="slo_ledger", **login)


def test_first_models_are_kept_on_restart(stack: LocalServices):
    card = stack.path("/srv/slo/candidate/model.json")
    before: tuple[str, Path] = (card.read_text(), card)
    assert "the champion is version 1" in stack.run("trainer")
    assert card.read_text() == before[0]
