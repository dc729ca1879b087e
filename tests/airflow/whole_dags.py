"""Run whole DAG files in this process: Airflow's own scheduling of tasks, trigger rules and mapping, without components.

>>> ran = example("retraining.py").run("retraining", shift=1.0)
>>> ran.state, ran.states["train"], ran.xcom("train")

Tests that need several processes (asset scheduling, answers through the API, triggers that outlive a task) are in tests/e2e.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from tests.support import REPO


@dataclass(frozen=True)
class WholeRun:
    """The result of a run.

    :param state: ``success`` or ``failed``
    :param states: of each task; mapped ones are named ``task[0]``, ``task[1]``, ...
    """

    state: str
    states: dict[str, str]
    _run: Any

    def in_state(self, state: str) -> set[str]:
        """Return the ids of the tasks in a state."""
        return {task for task, found in self.states.items() if found == state}

    @property
    def run_id(self) -> str:
        """Return the id of the run."""
        return str(self._run.run_id)

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        """Return an XCom of a task."""
        from airflow.models.xcom import XComModel  # noqa: TID251 - a test may look into the database
        from airflow.sdk.serde import deserialize
        from airflow.utils.session import create_session  # noqa: TID251

        asked = XComModel.get_many(run_id=self._run.run_id, dag_ids=self._run.dag_id, task_ids=task_id, key=key)
        with create_session() as session:
            return deserialize(session.scalars(asked.limit(1)).one().value)

    def asset_events(self) -> set[str]:
        """Return the names of the assets that the run updated."""
        from airflow.models.asset import AssetEvent  # noqa: TID251
        from airflow.utils.session import create_session  # noqa: TID251
        from sqlalchemy import select

        with create_session() as session:
            events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == self._run.run_id))
            return {event.asset.name for event in events}


class DagFile:
    """The DAGs of a file."""

    def __init__(self, file: Path) -> None:
        _only_file_of_the_bundle(file)
        bag = DagBag(dag_folder=str(file), safe_mode=False, load_op_links=False)
        assert not bag.import_errors, bag.import_errors
        self.dags: dict[str, DAG] = dict(bag.dags)

    def run(self, dag_id: str, *, change: Callable[[DAG], None] = lambda dag: None, **conf: Any) -> WholeRun:
        """Run a DAG to its end.

        :param change: changes the DAG before the run, e.g. shortens a timeout
        :param conf: parameters of the run
        """
        _make_database()
        _one_api()
        dag = self.dags[dag_id]
        for task in dag.tasks:
            task.retries = 0  # a retry waits
        change(dag)
        run = dag.test(run_conf=conf or None)
        states = {
            one.task_id if one.map_index < 0 else f"{one.task_id}[{one.map_index}]": str(one.state)
            for one in run.get_task_instances()
        }
        return WholeRun(str(run.state), states, run)


def example(name: str) -> DagFile:
    """Read an example DAG file."""
    return DagFile(REPO / "dags" / name)


@cache
def _make_database() -> None:
    """Create the tables of Airflow's metadata database in the AIRFLOW_HOME of the tests."""
    done = subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def _one_api() -> None:
    """Share one API among all tasks of this process, as Airflow 3.3 does; 3.2 creates one per task, in two seconds."""
    from airflow.sdk.execution_time import supervisor

    if not hasattr(supervisor.in_process_api_server, "cache_info"):
        supervisor.in_process_api_server = cache(supervisor.in_process_api_server)


def _only_file_of_the_bundle(file: Path) -> None:
    """Limit the DAG bundle to this file, because Airflow reads the whole folder before it runs a DAG."""
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / file.name).symlink_to(file)


def answering(task_id: str, answer: str) -> Callable[[DAG], None]:
    """Answer an approval at once: the operator continues as after an answer in Airflow."""

    def change(dag: DAG) -> None:
        from datetime import UTC, datetime

        task = dag.get_task(task_id)
        event = {
            "chosen_options": [answer], "params_input": {}, "responded_at": datetime.now(UTC),
            "responded_by_user": {"id": "1", "name": "somebody"},
        }  # fmt: skip
        task.execute = lambda context: task.execute_complete(context, event)

    return change


@contextmanager
def nobody_answering(task_id: str) -> Iterator[Callable[[DAG], None]]:
    """Let an approval time out after a second; a thread handles overdue approvals as the scheduler does.

    :return: the value of ``change``
    """
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    if not hasattr(SchedulerJobRunner, "check_awaiting_input_timeouts"):
        pytest.skip("Airflow 3.2 ends overdue approvals in a trigger, which cannot read them in `dag.test()`")
    _make_database()
    scheduler, over = SchedulerJobRunner(Job()), threading.Event()

    def look_after_approvals() -> None:
        while not over.wait(0.3):
            scheduler.check_awaiting_input_timeouts()

    def change(dag: DAG) -> None:
        dag.get_task(task_id).response_timeout = timedelta(seconds=1)

    thread = threading.Thread(target=look_after_approvals, name="look after approvals")
    thread.start()
    try:
        yield change
    finally:
        over.set()
        thread.join()
