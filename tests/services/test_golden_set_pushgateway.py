"""What an evaluation pushes, read back from a real Pushgateway."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator
from tests.airflow.golden_files import GoldenFiles, files
from tests.airflow.task_runs import run_task
from tests.services.mlflow_server import free_port
from tests.support import need

__all__ = ["files"]


@pytest.fixture
def pushgateway(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [need("prometheus-pushgateway"), f"--web.listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2):
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def test_gauges_are_pushed_and_replaced(files: GoldenFiles, pushgateway: str) -> None:
    connections = {"push": {"conn_type": "http", "host": pushgateway}}
    for wrong, verdict in ((0.3, "fail"), (0.05, "pass")):
        operator = GoldenSetEvaluationOperator(
            task_id="evaluate", golden_set=files.golden, predictor=files.predictions(wrong, "p.csv"), metrics=["accuracy"],
            thresholds={"accuracy": 0.9}, pushgateway_conn_id="push", name="fraud / weekly",
        )  # fmt: skip
        run_task(operator, connections=connections)
        page = urllib.request.urlopen(f"{pushgateway}/metrics", timeout=10).read().decode()
        (line,) = [line for line in page.splitlines() if line.startswith("golden_set_verdict{") and line.endswith(" 1")]
        assert f'verdict="{verdict}"' in line
        assert 'check="fraud / weekly"' in line
        assert 'job="golden_set"' in line
    assert page.count('golden_set_metric{bound="value"') == 1


def test_unreachable_pushgateway_raises(files: GoldenFiles) -> None:
    operator = GoldenSetEvaluationOperator(
        task_id="evaluate", golden_set=files.golden, predictor=files.predictions(0.05, "p.csv"), metrics=["accuracy"],
        thresholds={"accuracy": 0.9}, pushgateway_conn_id="push", retries=1,
    )  # fmt: skip
    ran = run_task(operator, connections={"push": {"conn_type": "http", "host": "http://127.0.0.1:1"}})
    assert ran.state == "up_for_retry"
    assert files.checks()  # what was found is recorded all the same
