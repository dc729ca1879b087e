"""Detect whether the code runs in a test, and whether tasks may run on several machines."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

#: Executors that run every task on the scheduler's machine. Any other may use several machines.
_ON_ONE_MACHINE = frozenset(
    {
        "LocalExecutor",
        "SequentialExecutor",
        "airflow.executors.local_executor.LocalExecutor",
        "airflow.executors.sequential_executor.SequentialExecutor",
    }
)
#: Modules that only the workers of these executors import. Such a worker may have no [core] executor in its configuration.
_OF_WORKERS = {
    "airflow.providers.celery.executors.celery_executor_utils": "CeleryExecutor",
    "airflow.providers.edge3.cli.worker": "EdgeExecutor",
}
#: Prefix of the run ids of ``airflow tasks test``.
_TEMPORARY_RUN = "__airflow_temporary_run_"
#: Triggering user of the runs of ``DAG.test()``.
_TESTER = "dag_test"


def is_test_run() -> bool:
    """Return whether ``dag.test()``, ``airflow dags test`` or ``airflow tasks test`` runs this code, and not a scheduler."""
    if _is_in_process():
        return True
    run = _context().get("dag_run")
    started_by_test = getattr(run, "triggering_user_name", None) == _TESTER  # with an executor, the task runs in its own process
    return started_by_test or str(getattr(run, "run_id", "")).startswith(_TEMPORARY_RUN)


def other_machines() -> str:
    """Return why tasks may run on other machines; empty if all tasks run on this one."""
    if _is_in_process():
        return ""
    if os.environ.get("AIRFLOW_IS_K8S_EXECUTOR_POD"):
        return "this task runs in a pod of the KubernetesExecutor"  # the configuration inside the pod may name any executor
    for module, executor in _OF_WORKERS.items():
        if module in sys.modules:
            return f"this task runs on a worker of the {executor}"
    from airflow.sdk import conf

    configured = conf.get("core", "executor", fallback="")
    # "LocalExecutor,alias:path.of.Executor;team=CeleryExecutor"
    entries = [entry.rpartition("=")[2].strip() for entry in re.split(r"[,;]", configured)]
    for entry in entries:
        if entry.rpartition(":")[2].strip() not in _ON_ONE_MACHINE:
            return f"[core] executor is {configured}"
    own = getattr(_context().get("task"), "executor", None)
    if own and own not in _ON_ONE_MACHINE and own not in {entry.partition(":")[0].strip() for entry in entries}:
        return f"this task's executor is {own}"
    return ""


def _is_in_process() -> bool:
    """Return whether the task communicates with the supervisor that Airflow uses for tests in the same process."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    supervisor = type(getattr(runner, "SUPERVISOR_COMMS", None))
    return (supervisor.__module__, supervisor.__name__) == ("airflow.sdk.execution_time.supervisor", "InProcessSupervisorComms")


def _context() -> Any:
    """Return the context of the running task; empty outside of tasks."""
    if "airflow.sdk.execution_time.task_runner" not in sys.modules:
        return {}
    from airflow.sdk import get_current_context

    try:
        return get_current_context()
    except RuntimeError:
        return {}
