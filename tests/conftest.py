"""Set a private AIRFLOW_HOME before any test module imports Airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import pytest

if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before tests/conftest.py: the tests would use another AIRFLOW_HOME")

for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]

_REAL_AIRFLOW = "tests/e2e/"
_HOME = tempfile.mkdtemp(prefix="slo tests ")  # with a space, as a user's path may have
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

# The duration of an example depends on the machine; outside of CI, Hypothesis would fail one that takes 200 ms.
hypothesis.settings.register_profile(
    "no clock", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("no clock")

pytest_plugins = [
    "tests.services.prometheus_server",
    "tests.services.prometheus_forms",
    "tests.airflow.prometheus_connections",
    "tests.airflow.freshness_runs",
    "tests.services.kube_world",
    "tests.e2e.faults.recorder",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--skipped-to", metavar="FILE", help="write the names of skipped tests to FILE, for `pytest @FILE`")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--skipped-to")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skipped(Path(path)))


class Skipped:
    """Writes the skipped tests to a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.names = path, list[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.names.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.path.write_text("".join(f"{name}\n" for name in self.names), encoding="utf-8")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``-n``, run the tests on the real Airflow first, because they take longest."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(_REAL_AIRFLOW))


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> None:
    """Clear the secrets of earlier tests: a password such as ``admin`` would be masked in later messages."""
    from airflow_slo_provider.core.redaction import forget

    forget()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n``, run each file in one process, and all tests of the real Airflow in one."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _REAL_AIRFLOW if nodeid.startswith(_REAL_AIRFLOW) else nodeid.partition("::")[0]

    return Scheduling(config, log)
