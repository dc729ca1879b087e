"""What the ledger knows, through a real Pushgateway and the parser of a real Prometheus."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.ledger.prometheus_text import exposition, newest_checks
from airflow_slo_provider.operators.metrics import PushLedgerMetricsOperator
from airflow_slo_provider.results import CheckResult
from tests.airflow.page_data import HOSTILE, fill, slo_check
from tests.airflow.task_runs import run_task
from tests.support import need

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def pushgateway() -> Iterator[int]:
    program = need("prometheus-pushgateway")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = subprocess.Popen(
        [program, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                _get(port, "/-/ready")
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


@pytest.fixture
def ledger_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{path}")
    return path


def _push(port: int, **more: object):
    return run_task(
        PushLedgerMetricsOperator(task_id="push", **more),
        connections={"pushgateway_default": {"conn_type": "http", "host": "127.0.0.1", "port": port}},
    )


def _value(text: str, metric: str, /, **labels: str) -> float | None:
    for line in text.splitlines():
        if line.startswith(metric + "{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    return None


def test_pushed_checks_are_served(pushgateway: int, ledger_path: Path) -> None:
    with open_ledger(f"sqlite:///{ledger_path}") as ledger:
        ledger.record([slo_check("a", "BURNING", "warn", 0.25, 0.9993, NOW)], RunKey("d", "1", "t"))
        ledger.record([slo_check("lost", "NO_DATA", "unknown", None, None, NOW)], RunKey("d", "1", "t"))
        ledger.record(
            [CheckResult(kind="freshness", name="f", verdict="fail", value=90.0, unit="seconds", checked_at=NOW)],
            RunKey("d", "1", "t"),
        )
    ran = _push(pushgateway)
    assert ran.state == "success", ran.log
    text = _get(pushgateway, "/metrics")
    assert _value(text, "airflow_slo_sli_ratio", slo="a", job="airflow_slo") == 0.9993
    assert _value(text, "airflow_slo_error_budget_remaining_ratio", slo="a") == 0.25
    assert _value(text, "airflow_slo_burn_rate", slo="a", window="1h") == pytest.approx(2.4)
    assert _value(text, "airflow_slo_check_value", kind="freshness", unit="seconds") == 90
    assert _value(text, "airflow_slo_check_timestamp_seconds", name="f") == NOW.timestamp()
    assert _value(text, "airflow_slo_check_verdict", name="f", verdict="fail") == 1
    assert _value(text, "airflow_slo_check_verdict", name="f", verdict="pass") == 0
    # What is not known has no number, least of all 0.
    assert _value(text, "airflow_slo_sli_ratio", slo="lost") is None
    assert _value(text, "airflow_slo_check_verdict", name="lost", verdict="unknown") == 1


def test_push_replaces_the_previous_one(pushgateway: int, ledger_path: Path) -> None:
    with open_ledger(f"sqlite:///{ledger_path}") as ledger:
        ledger.record([slo_check("first", "HEALTHY", "pass", 0.9, 0.9999, NOW)], RunKey("d", "1", "t"))
    assert _push(pushgateway, job="mine/éa").state == "success"
    with open_ledger(f"sqlite:///{ledger_path}") as ledger:
        ledger.record(
            [CheckResult(kind="drift", name="second", verdict="pass", value=0.1, checked_at=NOW)], RunKey("d", "1", "t")
        )
    assert _push(pushgateway, job="mine/éa", kinds=["drift"]).state == "success"
    text = "\n".join(line for line in _get(pushgateway, "/metrics").splitlines() if 'job="mine/éa"' in line)
    assert 'name="second"' in text
    assert 'slo="first"' not in text


def test_labels_with_special_characters_are_escaped(pushgateway: int, ledger_path: Path, tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{ledger_path}") as ledger:
        fill(ledger)
        ledger.record(
            [CheckResult(kind="drift", name='back\\slash "quote"\nline', verdict="pass", value=1.0)], RunKey("d", "1", "t")
        )
        text = exposition(newest_checks(ledger))
    assert HOSTILE.replace('"', '\\"') in text
    assert _push(pushgateway).state == "success"
    promtool = shutil.which("promtool") or need("promtool")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    names = set(re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE))
    assert len(names) == 7
    assert text.count("# HELP") == 7


def test_unreachable_server_is_transient(ledger_path: Path) -> None:
    ran = run_task(
        PushLedgerMetricsOperator(task_id="push", retries=1),
        connections={"pushgateway_default": {"conn_type": "http", "host": "127.0.0.1", "port": 1}},
    )
    assert ran.state == "up_for_retry"
    assert "refused the connection" in str(ran.error)


def test_refused_push_is_not_transient(pushgateway: int, ledger_path: Path) -> None:
    ran = run_task(
        PushLedgerMetricsOperator(task_id="push", retries=1),
        connections={"pushgateway_default": {"conn_type": "http", "host": f"http://127.0.0.1:{pushgateway}/nowhere"}},
    )
    assert ran.state == "failed"
    assert "answered 404" in str(ran.error)


def test_push_of_an_empty_ledger_has_no_metrics(pushgateway: int, ledger_path: Path) -> None:
    assert _push(pushgateway, job="empty").state == "success"
    assert 'airflow_slo_sli_ratio{job="empty"' not in _get(pushgateway, "/metrics")
