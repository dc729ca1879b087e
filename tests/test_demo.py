"""The parts of the demo: the server, its log and its bug; and the end of all its processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from demo import load, model, processes
from demo.model_server import Model, PredictionLog, Server
from tests.support import REPO, need

QUERY = (
    "SELECT COALESCE(SUM(status < 500), 0) AS good, COUNT(*) AS total FROM predictions WHERE ts >= ? AND ts < ?",
    ("2000-01-01 00:00:00.000000", "2100-01-01 00:00:00.000000"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("candidate")
    card = model.train(directory, version="7")
    assert 0.9 < card["accuracy"] < 1
    return directory


@pytest.fixture
def serve(trained, tmp_path):
    servers = []

    def start(*, zero_is_missing: bool) -> tuple[str, Path]:
        log = PredictionLog(tmp_path / "predictions.db")
        server = Server(("127.0.0.1", 0), Model(trained, zero_is_missing=zero_is_missing), log)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        servers.append((server, log))
        return f"http://127.0.0.1:{server.server_address[1]}", tmp_path / "predictions.db"

    yield start
    for server, log in servers:
        server.shutdown()
        server.server_close()
        log.close()


@pytest.mark.parametrize(("zero_is_missing", "failures"), [(False, 0), (True, 13)])
def test_server_answers_logs_and_counts_requests(serve, zero_is_missing, failures):
    url, log = serve(zero_is_missing=zero_is_missing)
    answers = load.send(url, model.measured_rows())
    assert answers == ({200: 569} if not failures else {200: 556, 500: 13})
    with sqlite3.connect(log) as connection:
        assert connection.execute(*QUERY).fetchall() == [(569 - failures, 569)]
        rows = connection.execute(
            "SELECT COUNT(DISTINCT request_id), MIN(model_version), MAX(prediction) FROM predictions"
        ).fetchone()
    assert rows == (569, "7", "malignant")
    metrics = urllib.request.urlopen(f"{url}/metrics").read().decode()
    assert f'model_requests_total{{model_version="7",code="500"}} {failures}\n' in metrics
    assert 'model_request_duration_seconds_count{model_version="7"} 569\n' in metrics


def test_metrics_page_is_valid_prometheus_text(serve):
    url, _ = serve(zero_is_missing=False)
    load.send(url, model.measured_rows()[:5])
    page = urllib.request.urlopen(f"{url}/metrics").read()
    done = subprocess.run([need("promtool"), "check", "metrics"], input=page, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_missing_feature_is_an_error_with_and_without_the_bug(serve):
    url, _ = serve(zero_is_missing=False)
    row = model.measured_rows()[0]
    del row["mean radius"]
    request = urllib.request.Request(f"{url}/predict", data=json.dumps({"features": row}).encode())
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 500
    assert "mean radius" in json.load(caught.value)["error"]


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) < 3:
    subprocess.Popen([sys.executable, __file__, sys.argv[1], "child"], start_new_session=True)
else:
    open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(600)
"""


def test_end_kills_a_child_that_ignores_signals_in_its_own_session(tmp_path):
    program, mark = tmp_path / "a program.py", tmp_path / "started"
    program.write_text(STUBBORN)
    process = processes.start([sys.executable, str(program), str(mark)], log=tmp_path / "log", env=os.environ)
    deadline = time.monotonic() + 20
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(mark.read_text())
    members = processes.process_tree([process.pid])
    assert {process.pid, child} <= set(members)
    assert processes.end([process], grace=0.5) == []
    assert processes.still_running(members) == {}
    assert child not in processes.read_table()


def test_end_lets_a_process_finish_on_sigterm(tmp_path):
    handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))"
    code = f"import signal, sys, time; {handler}; print('ready', flush=True); time.sleep(600)"
    process = processes.start([sys.executable, "-c", code], log=tmp_path / "log", env=os.environ)
    while "ready" not in (tmp_path / "log").read_text():
        time.sleep(0.05)
    assert processes.end([process]) == []
    assert process.returncode == 3


def test_end_leaves_a_reused_process_id_alone(tmp_path):
    process = processes.start([sys.executable, "-c", "import time; time.sleep(600)"], log=tmp_path / "log", env=os.environ)
    try:
        other = processes.ProcessInfo(process.pid, 1, process.pid, "another time")
        assert processes.end_members({process.pid: other}, leaders=[process.pid], grace=0.2) == []
        assert process.poll() is None
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_decision_of_returns_the_last_decision_of_a_log():
    from airflow_slo_provider.slo.budget import text_table as table
    from demo.run import Unexpected, decision_of

    log = f"before\n{table.BEGIN}\nSLO  status\n\ndecision: frozen\n{table.END}\nafter"
    assert decision_of(f"{table.BEGIN}\nan earlier try\n{table.END}\n{log}") == "SLO  status\n\ndecision: frozen"
    for broken in ("", "the gate said nothing", log.replace(table.END, "")):
        with pytest.raises(Unexpected, match="no decision"):
            decision_of(broken)


@pytest.mark.parametrize("directory", ["slos", "slos_prometheus"])
def test_demo_documents_have_no_errors(directory):
    from airflow_slo_provider import slo

    catalog = slo.load(REPO / "demo" / directory)
    assert {one.name for one in catalog.slos} == {"predictions-available", "predictions-fast"}


def test_latency_report_of_two_traced_versions_names_the_slower_one(trained, tmp_path):
    """Real predictions with a real feature lookup; the second model has twenty members, the first one has one."""
    from airflow_slo_provider import tracing
    from airflow_slo_provider.tracing.stores import FileStore
    from demo.model_server import FeatureStore

    model.train(tmp_path / "2", version="8", members=20)
    rows = model.measured_rows()
    traces, log = tmp_path / "traces.jsonl", tmp_path / "predictions.db"
    features = FeatureStore(tmp_path / "features.db")
    features.fill(rows)
    try:
        for directory in (trained, tmp_path / "2"):
            tracing.configure("model-server", endpoint=f"file://{traces}")
            server = Server(("127.0.0.1", 0), Model(directory), PredictionLog(log), features)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            url = f"http://127.0.0.1:{server.server_address[1]}/predict"
            for number in range(60):
                body = json.dumps({"entity_id": number}).encode()
                with urllib.request.urlopen(urllib.request.Request(url, data=body)) as answer:
                    assert json.load(answer)["prediction"] in ("malignant", "benign")
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(urllib.request.Request(url, data=b'{"entity_id": "nobody"}'))
            server.shutdown()
            server.server_close()
            server.log.close()
            thread.join()
    finally:
        tracing.shutdown()
    found = tracing.breakdown(FileStore(traces).spans("model-server"))
    assert (found.versions, found.traces) == (("7", "8"), 122)
    compared = tracing.compare(found)
    assert (compared.slower, compared.span) == ("8", "model_inference")
    assert found.row("feature_fetch", "8").error_rate == pytest.approx(1 / 61)
    with sqlite3.connect(log) as connection:
        logged = {row[0] for row in connection.execute("SELECT trace_id FROM predictions")}
    assert logged == {span.trace_id for span in FileStore(traces).spans("model-server")}
