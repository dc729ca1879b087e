"""Promote each model whose error budget allows it: one gate per model, in a mapped task group.

**What it does.** `models` reads the documents in `slos/models` and returns the names of the SLOs, which are names of models. The
task group `per_model` is mapped over them: its gate measures one model's budget, and only if that allows it, `promote` of the
same map index runs. Adding an SLO adds a model, without a change in Python.

| budget of the model | its gate | `promote` and `announce` of the model |
|---|---|---|
| the budget is healthy, or low | succeeds | run |
| the budget is spent | is skipped | are skipped |
| the budget cannot be measured | fails | do not run (`upstream_failed`) |

`report` runs in any case: the gate allows it by name (`may_run_when_blocked`). `all_promoted` is outside of the group and runs
only if every model was promoted.

**Without changes** it needs no server: `todays_requests` writes a log into a SQLite file, and its parameters simulate a bad day.

**For production**

- connection `models_log`: the database with your request log; if it exists, the example's file is not used. Delete
  `todays_requests` and `pre_execute=`.
- parameter `slos`: your documents.
- `promote`: `PromoteModelOperator`, or whatever puts a model into production.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, dag, task, task_group

from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator

SLOS = Path(__file__).resolve().parent / "slos" / "models"
LOG = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "slo_examples" / "models_log.db"


def unless_there_is_a_connection(context: Any) -> None:
    """Use the log of this example if the connection models_log does not exist."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        BaseHook.get_connection("models_log")
    except AirflowNotFoundException:
        os.environ["AIRFLOW_CONN_MODELS_LOG"] = f'{{"conn_type": "sqlite", "host": "{LOG}"}}'


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in its own time zone
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "slos": Param(str(SLOS), type="string", description="SLO documents: a file or a directory"),
        # Parameters of the example's day; delete them with todays_requests.
        "bad": Param("fraud", type="string", description="example: the model whose requests fail, or none"),
        "silent": Param("", type="string", description="example: the model that nobody asks, or none"),
    },
    tags=["slo", "example"],
    doc_md=__doc__,
)
def per_model_gate():
    @task
    def models(params: dict[str, Any] | None = None) -> list[str]:
        """Return the names of the SLOs, one for each model."""
        from airflow_slo_provider import slo

        return [one.name for one in slo.load(params["slos"])]

    @task
    def promote(model: str) -> str:
        """Put a model into production."""
        logging.getLogger(__name__).info("%s is promoted", model)
        return model

    @task
    def announce(model: str) -> None:
        """Notify the users of the model."""
        logging.getLogger(__name__).info("a new version of %s is in production", model)

    @task_group
    def per_model(model: str):
        gate = ErrorBudgetGateOperator(
            task_id="gate",
            slos="{{ params.slos }}",
            select=model,
            map_index_template="{{ task.select }}",
            may_run_when_blocked=["report"],
            pre_execute=unless_there_is_a_connection,
        )
        promoted = promote(model)
        gate >> promoted >> announce(promoted)

    @task(trigger_rule="all_done")
    def report(names: list[str], ti: Any = None) -> dict[str, str]:
        """Report each gate's decision."""
        said = {}
        for index, model in enumerate(names):
            decision = ti.xcom_pull(task_ids="per_model.gate", key="decision", map_indexes=index)
            said[model] = f"{decision['outcome']}: {'; '.join(decision['reasons'])}" if decision else "not decided"
            logging.getLogger(__name__).info("%s: %s", model, said[model])
        return said

    names = models()
    todays_requests() >> names
    judged = per_model.expand(model=names)
    judged >> [report(names), EmptyOperator(task_id="all_promoted")]


# ---- Only for the example: a request log -----------------------------------------------------------------------------------


@task
def todays_requests(params: dict[str, Any] | None = None) -> int:
    """Write the log of the day, replacing the previous one: every twentieth request of the bad model fails."""
    import sqlite3
    from contextlib import closing
    from datetime import UTC

    now = datetime.now(UTC)
    rows = [
        (
            f"{now - timedelta(minutes=minute):%Y-%m-%d %H:%M:%S}",
            model,
            503 if model == params["bad"] and minute % 20 == 0 else 200,
        )
        for model in ("churn", "fraud", "price")
        for minute in range(1, 1201)
        if model != params["silent"]
    ]
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(LOG)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS model_requests (ts TEXT, model TEXT, status INT)")
        connection.execute("DELETE FROM model_requests")
        connection.executemany("INSERT INTO model_requests VALUES (?, ?, ?)", rows)
    return len(rows)


per_model_gate()
