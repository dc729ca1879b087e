"""Evaluate the SLOs of a model server by tier: p50, p99, availability, throughput and freshness.

**What it does.** Every five minutes it measures the SLO documents in `slos/serving` on the server's request log, evaluates each
tier separately, follows the tier's branch, and shows the result: as a table in the task log, on the SLO pages of Airflow's UI, in
XCom, and as one line per SLO in `show`.

| exit of a tier | what it means |
|---|---|
| `healthy` | every budget of the tier is healthy |
| `running_low` | a budget is low |
| `spent` | a budget is spent: replace the empty task, e.g. by a page for gold and a ticket for silver |
| `not_known` | a budget cannot be measured (no requests), which does not count as healthy |

A fault (a database that does not respond, an invalid query) fails the run.

**Without changes** it needs no server: `todays_requests` writes a log into a SQLite file, and its parameters simulate a bad hour.

**For production**

- connection `serving_log`: the database with your request log; if it exists, the example's file is not used. Delete
  `todays_requests` and `pre_execute=`.
- parameter `slos`: your documents. For metrics in Prometheus change the DataSource and the queries, as in `demo/slos_prometheus`.
- the tiers are the documents' annotation `airflow-slo/tier`; `informational` is measured and blocks nothing.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, dag, task, task_group

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator

if TYPE_CHECKING:
    from airflow_slo_provider.slo import SLO

SLOS = Path(__file__).resolve().parent / "slos" / "serving"
LOG = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "slo_examples" / "serving_log.db"


def gold(slo: SLO) -> bool:
    return slo.options.tier == "gold"


def silver(slo: SLO) -> bool:
    return slo.options.tier == "silver"


def unless_there_is_a_connection(context: Any) -> None:
    """Use the log of this example if the connection serving_log does not exist."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        BaseHook.get_connection("serving_log")
    except AirflowNotFoundException:
        os.environ["AIRFLOW_CONN_SERVING_LOG"] = f'{{"conn_type": "sqlite", "host": "{LOG}"}}'


@dag(
    schedule="*/5 * * * *",
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "slos": Param(str(SLOS), type="string", description="SLO documents: a file or a directory"),
        # Parameters of the example's hour; delete them with todays_requests.
        "requests": Param(7200, type="integer", minimum=0, description="example: requests of the hour; 0: nothing is known"),
        "failed": Param(0.001, type="number", minimum=0, maximum=1, description="example: share of requests that fail"),
        "slow": Param(0.001, type="number", minimum=0, maximum=1, description="example: share of requests that take a second"),
        "index_age_hours": Param(0.5, type="number", minimum=0, description="example: age of the index"),
    },
    tags=["slo", "serving", "example"],
    doc_md=__doc__,
)
def serving_slos():
    def judged(tier: str, chosen: Any) -> Any:
        """Add one tier: its decision, and a task for each branch."""

        @task_group(group_id=tier)
        def judge_tier() -> None:
            judge = ErrorBudgetBranchOperator(
                task_id="judge",
                slos="{{ params.slos }}",
                select=chosen,
                follow_task_ids_if_allowed=f"{tier}.healthy",
                if_warning=f"{tier}.running_low",
                if_frozen=f"{tier}.spent",
                if_unknown=f"{tier}.not_known",
                pre_execute=unless_there_is_a_connection,
            )
            judge >> [EmptyOperator(task_id=way) for way in ("healthy", "running_low", "spent", "not_known")]

        return judge_tier()

    @task(trigger_rule="none_failed_min_one_success")
    def show(ti: Any = None) -> dict[str, str]:
        """Report each SLO in one line; feed a dashboard or send a message here."""
        import logging

        said = {}
        for tier in ("gold", "silver"):
            decision = ti.xcom_pull(task_ids=f"{tier}.judge", key="decision")
            for slo in decision["slos"]:
                left = "unknown" if slo["remaining"] is None else f"{slo['remaining']:.0%} of the budget left"
                said[slo["name"]] = f"{tier}, {slo['status']}: {slo['sli']} of {slo['objective']}, {left}"
        for name, line in said.items():
            logging.getLogger(__name__).info("%s: %s", name, line)
        return said

    todays_requests() >> [judged("gold", gold), judged("silver", silver)] >> show()


# ---- Only for the example: a request log -----------------------------------------------------------------------------------


@task
def todays_requests(params: dict[str, Any] | None = None) -> int:
    """Write the log of the last hour, replacing the previous one."""
    import sqlite3
    from contextlib import closing
    from datetime import UTC, datetime

    wanted, now = params["requests"], datetime.now(UTC)

    def row(number: int) -> tuple[str, int, float, float]:
        at = now - timedelta(hours=1) * (number + 1) / wanted
        # Spread over the hour: of every thousand requests the first ones fail, and the last ones are slow.
        place = (number * 389) % 1000 / 1000
        status = 503 if place < params["failed"] else 200
        latency = 1000.0 if place >= 1 - params["slow"] else 20 + 60 * place
        return f"{at:%Y-%m-%d %H:%M:%S}", status, latency, params["index_age_hours"] * 3600

    LOG.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(LOG)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS search_requests (ts TEXT, status INT, latency_ms REAL, index_age_s REAL)")
        connection.execute("DELETE FROM search_requests")
        connection.executemany("INSERT INTO search_requests VALUES (?, ?, ?, ?)", map(row, range(wanted)))
    return wanted


serving_slos()
