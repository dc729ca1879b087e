"""Run a promotion or a rollback as a task in a separate process, so that a test can kill it.

``python -m tests.airflow.promotion_process '{"operator": ..., "arguments": {...}, "try_number": 1, "connections": {...}}'``
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.support import REPO


def start(operator: str, **what: Any) -> subprocess.Popen[bytes]:
    """Start a try of the task in another process."""
    text = json.dumps({"operator": operator, **what})
    return subprocess.Popen([sys.executable, "-m", "tests.airflow.promotion_process", text], cwd=REPO)


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def main() -> None:
    import importlib

    what = json.loads(sys.argv[1])
    operators = importlib.import_module("airflow_slo_provider.operators.model_registry")
    running = importlib.import_module("tests.airflow.task_runs")
    operator = getattr(operators, what["operator"])(task_id="move", retries=3, **what["arguments"])
    ran = running.run_task(operator, try_number=what.get("try_number", 1), connections=what.get("connections"))
    print(ran.state, ran.error, flush=True)


if __name__ == "__main__":
    main()
