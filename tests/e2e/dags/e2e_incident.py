"""Incidents on real components: SLOs of several services on one Prometheus, and alerts of an Alertmanager."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Asset, AssetWatcher, dag

from airflow_slo_provider.operators.incident import PlaybookTaskGroup, PostmortemOperator
from airflow_slo_provider.triggers.burn_rate import AlertmanagerTrigger, BurnRateTrigger

HOME = Path(os.environ["AIRFLOW_HOME"]) / "incidents"
#: The services of the trigger, those of Alertmanager, and one without a watcher.
SERVICES = [f"svc{n}" for n in range(int(os.environ.get("SLO_E2E_SERVICES", "4")))]
ALERTED = [f"alerted{n}" for n in range(int(os.environ.get("SLO_E2E_ALERTED", "1")))]

SLO = """
apiVersion: openslo/v1
kind: SLO
metadata:
  name: {service}
  annotations: {{airflow-slo/min-coverage: "0", airflow-slo/min-failures: "1"}}
spec:
  service: models
  indicator:
    metadata: {{name: {service}-answers}}
    spec:
      ratioMetric:
        counter: true
        bad:
          metricSource:
            metricSourceRef: metrics
            spec: {{query: 'model_requests_total{{service="{service}",code=~"5.."}}'}}
        total:
          metricSource:
            metricSourceRef: metrics
            spec: {{query: 'model_requests_total{{service="{service}"}}'}}
  timeWindow: [{{duration: 1d, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{displayName: most, target: 0.99}}]
---"""

DOCUMENTS = (
    """
apiVersion: openslo/v1
kind: Service
metadata: {name: models}
spec: {}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: metrics}
spec:
  type: Prometheus
  connectionDetails: {airflowConnId: e2e_incident_prometheus}
---"""
    + "".join(SLO.format(service=service) for service in [*SERVICES, *ALERTED, "asked0"])
).removesuffix("---")

FAILURES = (
    'sum by (model_version) (rate(model_requests_total{service="%s",code=~"5.."}[30s]))'
    ' / sum by (model_version) (rate(model_requests_total{service="%s"}[30s]) > 0)'
)
SUBJECT = "{{ ti.xcom_pull(task_ids='playbook.open', key='incident').evidence.slo }}"


def respond(*, asks: bool) -> None:
    """Run the playbook of a model server for the service that the incident names."""
    playbook = PlaybookTaskGroup(
        "playbook",
        playbook="model_serving_degradation",
        values={
            "slos": DOCUMENTS,
            "failures_by_version": FAILURES % (SUBJECT, SUBJECT),
            "prometheus_conn_id": "e2e_incident_prometheus",
            "at_least": "0.001",
            "model": SUBJECT,
            "registry_path": str(HOME),
        },
        without=("dashboard", "latency", "roll_back", *(() if asks else ("approve",))),
        approval_timeout=timedelta(seconds=20),
    )
    playbook >> PostmortemOperator(task_id="post_mortem", path=str(HOME / "post-mortems"), slos=DOCUMENTS)


def watched(name: str, trigger) -> Asset:
    return Asset(name, watchers=[AssetWatcher(name=name, trigger=trigger)])


@dag(
    schedule=[
        watched(
            "e2e_burning",
            BurnRateTrigger(slos=DOCUMENTS, select=SERVICES, poll_interval=5, cool_down=600, blind_after=12, name="e2e-burning"),
        )
    ],
    max_active_runs=4,
    tags=["e2e"],
)
def e2e_incident():
    respond(asks=False)


@dag(
    schedule=[
        watched(
            "e2e_alerts",
            AlertmanagerTrigger(
                matchers=['severity="page"'],
                alertmanager_conn_id="e2e_incident_alertmanager",
                poll_interval=5,
                cool_down=600,
                blind_after=3600,
                name="e2e-alerts",
            ),
        )
    ],
    max_active_runs=4,
    tags=["e2e"],
)
def e2e_alerted():
    respond(asks=False)


@dag(schedule=None, tags=["e2e"])
def e2e_asking():
    respond(asks=True)


e2e_incident()
e2e_alerted()
e2e_asking()
