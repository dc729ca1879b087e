"""A real Airflow for the tests of this directory: four components, started once. Never skipped, because Airflow is a dependency.

Its metadata database is a real PostgreSQL if available (required in CI), else SQLite.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import processes
from demo.airflow_stack import AirflowStack
from tests.services.postgres import PostgresServer, running_postgres
from tests.support import find

HERE = Path(__file__).resolve().parent
DAG_FOLDERS = (HERE / "dags", HERE.parents[1] / "dags")
# A dead triggerer is detected within seconds, so that a test of its restart need not wait half a minute. Orphaned tasks of a dead
# scheduler are searched every few seconds (it counts as dead only after half a minute). So is the exit of a task:
# by default it is detected up to five seconds late, and a task that resumes in the meantime is treated as killed.
SETTINGS = {
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
}


@pytest.fixture(scope="session")
def metadata_server() -> Iterator[PostgresServer | None]:
    """Start the PostgreSQL server of Airflow's metadata, database ``airflow``; None without PostgreSQL."""
    if not (os.environ.get("CI") or find("initdb")):
        yield None
        return
    with running_postgres() as server:
        with server.connect(autocommit=True) as connection:
            connection.execute("CREATE DATABASE airflow")
        yield server


@pytest.fixture(scope="session")
def metadata_database(metadata_server: PostgresServer | None) -> dict[str, str]:
    """Return Airflow's settings for its database. SQLite allows one writer at a time, and Airflow responds 503 while waiting."""
    if metadata_server is None:
        return {}
    url = metadata_server.url("airflow").replace("postgresql://", "postgresql+psycopg2://")
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}


@pytest.fixture(scope="session")
def airflow_stack(metadata_database: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """Start API server, scheduler, DAG processor and triggerer with the DAGs of tests/e2e/dags and dags/.

    ``stack.client`` speaks to the API (trigger, wait, states, logs, XComs, connections); ``stack.restart_component("triggerer")``
    kills and restarts one of the four. The SLO ledger is the default one: ``stack.home / "slo_ledger.db"``.
    """
    started = time.monotonic()
    home = tmp_path_factory.mktemp("real airflow") / "home"
    tell = lambda text: print(f"airflow {time.monotonic() - started:4.0f} s  {text}")  # noqa: E731
    stack = AirflowStack(home, DAG_FOLDERS, settings=SETTINGS | metadata_database, report=tell)
    stack.start()
    try:
        yield stack
    finally:
        members = stack.members()
        stack.stop()
        assert not processes.still_running(members), "processes of the test's Airflow are left"


@pytest.fixture
def run_dag(airflow_stack: AirflowStack):
    """Return a function that runs a DAG to its end: ``run_dag(dag_id, conf=..., timeout=...)`` returns ``(run_id, state)``."""

    def run(dag_id: str, *, timeout: float = 300, **arguments) -> tuple[str, str]:
        client = airflow_stack.client
        client.wait_for_dag(dag_id)
        client.unpause(dag_id)
        run_id = client.trigger(dag_id, **arguments)
        return run_id, client.wait_for_run(dag_id, run_id, timeout=timeout)

    return run
