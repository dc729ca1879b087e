"""Runs drift operators on a real Spark, and prints how each ended: ``python -m tests.services.drift_on_spark DIRECTORY SITE``.

It runs in the tests' environment with the site-packages of Spark and its provider laid behind it.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

DAY = datetime(2026, 11, 24, tzinfo=UTC)
SPARK = {"engine": "spark", "spark_conn_id": "spark", "spark_config": {"spark.ui.enabled": "false"}}
CONNECTIONS = {
    "spark": {"conn_type": "spark", "host": "local[2]", "extra": {"spark.sql.session.timeZone": "America/New_York"}},
    "gone": {"conn_type": "spark", "host": "yarn"},
}


def run(home: str) -> dict[str, Any]:
    """Run every operator, and return how it ended by task id."""
    from airflow_slo_provider.ledger import open_ledger
    from airflow_slo_provider.operators.drift import DriftBranchOperator, DriftOperator, DriftProfileOperator
    from tests.airflow.task_runs import in_dag, run_task

    rows, profile = f"{home}/all.parquet", f"{home}/profile.json"
    stored = {"reference": profile, "ignore": ["id"], "retries": 2, **SPARK}
    branch = DriftBranchOperator(
        task_id="stored",
        current=f"SELECT * FROM parquet.`{rows}`",
        where="day = '2026-11-24'",
        if_drift="retrain",
        if_ok="keep",
        columns=["x", "word"],
        **stored,
    )
    operators = [
        # First: once there was a session, the process keeps its Java and with it a Spark.
        DriftOperator(task_id="nowhere", current=rows, **{**stored, "spark_conn_id": "gone"}),
        DriftProfileOperator(task_id="profile", data=rows, where="day < '2026-11-24'", profile_path=profile, **SPARK),
        DriftOperator(
            task_id="days",
            time_column="at",
            reference_window=timedelta(days=7),
            columns=["x", "word"],
            fail_on_drift=True,
            **{**stored, "reference": rows},
        ),
        in_dag(branch, ["retrain", "keep"]),
        DriftOperator(task_id="missing", current=f"{home}/nothing.parquet", **stored),
        DriftOperator(task_id="typo", current=rows, where="dya = 3", **stored),
        DriftOperator(task_id="text", current=rows, time_column="day", **stored),
    ]
    told = {}
    for operator in operators:
        ran = run_task(operator, connections=CONNECTIONS, data_interval=(DAY, DAY + timedelta(days=1)))
        told[operator.task_id] = {
            "state": ran.state,
            "error": str(ran.error),
            "found": ran.xcoms.get("drift") or ran.xcoms.get("return_value"),
            "skipped": sorted(ran.skipped),
            "warned": "cannot be called outside" in ran.log,
            "checks": [[one.name, one.success, one.severity] for one in getattr(ran.task, "check_results", [])],
        }
    with open_ledger(os.environ["AIRFLOW__SLO__LEDGER_URL"]) as held:
        for row in held.checks():
            told.setdefault(row.result.name, {})["verdict"] = row.result.verdict
    return told


if __name__ == "__main__":
    sys.path.append(sys.argv[2])
    import tests.conftest  # noqa: F401  a home of its own for Airflow

    os.environ["AIRFLOW__SLO__LEDGER_URL"] = f"sqlite:///{sys.argv[1]}/ledger.db"
    print(json.dumps(run(sys.argv[1])))
