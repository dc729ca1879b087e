"""Incidents as a run gets them, for the tests of the incident operators."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator

from airflow_slo_provider.incidents import Incident
from airflow_slo_provider.operators.incident import OpenIncidentOperator, PostmortemOperator

T0 = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


def incident(name: str = "answered", kind: str = "burning", **more: Any) -> Incident:
    values = {"id": f"{name}-1", "kind": kind, "subject": name, "severity": "page", "started_at": T0, "message": f"{name} burns"}
    return Incident(**{**values, "evidence": {"slo": name}, **more})


def conf(one: Incident) -> dict[str, Any]:
    return {"incident": json.loads(json.dumps(one.to_dict()))}


def opening(**arguments: Any) -> BaseOperator:
    with DAG("incident", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        task = OpenIncidentOperator(task_id="open", **arguments)
        task >> EmptyOperator(task_id="act") >> PostmortemOperator(task_id="post_mortem", path="/tmp/x")
    return task
