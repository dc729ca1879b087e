"""Give a canary all requests only if it keeps the SLO by itself.

**What it does.** A canary serves a small share of the requests, so that the error budget of the whole service hides its failures.
The SLO in `slos/canary` is divided by the label `model_version`; the gate measures the one version that is to be promoted.

| budget of the version | its gate | the run |
|---|---|---|
| it is healthy | succeeds, and `promote` runs | success |
| it is low, burns fast, or there were fewer than 100 requests | follows `keep_canary`: its share of requests stays | success |
| it is spent | follows `remove_canary` | success |
| there was no request of this version, or it cannot be measured | fails, and nothing runs | failed |

**For production**

- connection `prometheus_default`: your Prometheus.
- `slos/canary/predictions.yaml`: the metric of your model server. Its label must have the version as its value.
- `promote` and `remove_canary`: `PromoteModelOperator`, `DeploymentSetImageOperator`, or whatever moves your requests.
- trigger it with the version, e.g. `{"version": "v2"}`, once the canary has served for some time.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, task

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator

SLOS = Path(__file__).resolve().parent / "slos" / "canary"


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in its own time zone
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "version": Param("v2", type="string", minLength=1, description="the version that serves as a canary"),
        "slos": Param(str(SLOS), type="string", description="SLO documents: a file or a directory"),
    },
    tags=["slo", "example"],
    doc_md=__doc__,
)
def canary_gate():
    gate = ErrorBudgetBranchOperator(
        task_id="gate",
        slos="{{ params.slos }}",
        select="predictions-answered",
        group={"model_version": "{{ params.version }}"},
        follow_task_ids_if_allowed="promote",
        if_warning="keep_canary",
        if_frozen="remove_canary",
    )

    @task
    def promote(params: dict[str, Any] | None = None) -> None:
        """Send all requests to the version."""
        logging.getLogger(__name__).info("%s serves all requests", params["version"])

    @task
    def keep_canary(params: dict[str, Any] | None = None) -> None:
        """Leave the share of requests as it is."""
        logging.getLogger(__name__).info("%s goes on as a canary", params["version"])

    @task
    def remove_canary(params: dict[str, Any] | None = None) -> None:
        """Send no requests to the version any more."""
        logging.getLogger(__name__).info("%s serves no requests", params["version"])

    gate >> [promote(), keep_canary(), remove_canary()]


canary_gate()
