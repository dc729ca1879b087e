"""Each included playbook with the components it uses. A step whose operator is not installed is manual."""

from __future__ import annotations

import importlib.util
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, dag, task

from airflow_slo_provider.incidents import IncidentType, shipped_playbook
from airflow_slo_provider.operators.incident import PlaybookTaskGroup, PostmortemOperator

HOME = Path(os.environ["AIRFLOW_HOME"]) / "playbooks"

DOCUMENTS = """
apiVersion: openslo/v1
kind: Service
metadata: {name: models}
spec: {}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: requests}
spec:
  type: SQL
  connectionDetails: {airflowConnId: e2e_playbook_log}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: e2e-playbook
  annotations: {airflow-slo/min-coverage: "0"}
spec:
  service: models
  indicator:
    metadata: {name: answered}
    spec:
      ratioMetric:
        metricSource:
          metricSourceRef: requests
          spec:
            query: >-
              SELECT COALESCE(SUM(ok), 0) AS good, COUNT(*) AS total
              FROM requests WHERE ts >= :date_from AND ts < :date_to
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: most, target: 0.99}]
"""


def by_label(label: str, **values: str) -> str:
    """Return PromQL with these values by label."""
    return " or ".join(f'label_replace(vector({value}), "{label}", "{name}", "", "")' for name, value in values.items())


#: Parameters of each playbook, and the module of its main operator.
VALUES: dict[str, dict[str, Any]] = {
    "prometheus": {
        "failures_by_version": by_label("model_version", one="0.001", two="0.3"),
        "requests_by_client": by_label("client", one="20", two="900"),
        "prometheus_conn_id": "e2e_playbook_prometheus",
    },
    "standard": {"pipeline_dag": "e2e_playbook_pipeline", "training_dag": "e2e_playbook_pipeline", "dashboard": "https://dashboard.example/d/1"},
    "switch": {"decision_path": str(HOME / "decision.json")},
    "airflow_slo_provider.operators.drift": {"reference": str(HOME / "reference.csv"), "current": str(HOME / "current.csv")},
    "airflow_slo_provider.operators.golden_set": {
        "golden_set": str(HOME / "golden.csv"), "predictor": "candidate", "champion": "champion",
    },
    "airflow_slo_provider.operators.latency": {"service": "models", "trace_store_conn_id": "e2e_playbook_traces"},
    "airflow_slo_provider.operators.freshness": {
        "table": "features", "timestamp_column": "event_timestamp", "max_age": timedelta(hours=1), "conn_id": "e2e_playbook_log",
    },
}  # fmt: skip


def values(kind: str) -> dict[str, Any]:
    known = shipped_playbook(kind).parameters
    found: dict[str, Any] = {"slos": DOCUMENTS}
    for source, given in VALUES.items():
        if not source.startswith("airflow_slo_provider.") or importlib.util.find_spec(source) is not None:
            found |= {name: value for name, value in given.items() if name in known}
    return found


@dag(schedule=None, tags=["e2e"])
def e2e_playbook_pipeline():
    @task
    def make(): ...

    make()


e2e_playbook_pipeline()

for incident_type in IncidentType:
    with DAG(f"e2e_playbook_{incident_type}", schedule=None, tags=["e2e"]) as built:
        playbook = PlaybookTaskGroup(
            "playbook", playbook=incident_type, values=values(incident_type), approval_timeout=timedelta(seconds=2)
        )
        playbook >> PostmortemOperator(task_id="post_mortem", path=str(HOME / "post-mortems"), slos=DOCUMENTS)
    globals()[built.dag_id] = built
