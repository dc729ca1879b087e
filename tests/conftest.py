"""Airflow reads its environment when it is imported: give it a private home before any test module does that."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile

import pytest

from tests.support import REPO

if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before tests/conftest.py: the tests would use another AIRFLOW_HOME")

for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]

_HOME = tempfile.mkdtemp(prefix="slo tests ")  # with a space, as a user's may be
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

os.environ |= {
    "AIRFLOW_HOME": _HOME,
    "AIRFLOW__CORE__DAGS_FOLDER": os.path.join(_HOME, "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "NO_PROXY": "127.0.0.1,localhost",
}

pytest_plugins = [
    "tests.services.prometheus_server",
    "tests.services.prometheus_forms",
    "tests.airflow.prometheus_connections",
    "tests.airflow.freshness_runs",
    "tests.services.kube_world",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``-n``: a file stays in one process, and all that shares the real Airflow stays together, first, as it takes longest."""
    if not config.pluginmanager.hasplugin("dsession"):
        return
    real = REPO / "tests" / "e2e"
    items.sort(key=lambda item: real not in item.path.parents)
    for item in items:
        item.add_marker(pytest.mark.xdist_group("e2e" if real in item.path.parents else str(item.path.relative_to(REPO))))
