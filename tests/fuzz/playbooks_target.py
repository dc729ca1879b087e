"""Fuzz target of playbooks: reading succeeds or reports every error; a playbook that is read is complete."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from airflow_slo_provider.exceptions import DocumentError
from airflow_slo_provider.incidents.incident import Incident
from airflow_slo_provider.incidents.playbook import Kind, Phase, Playbook, fill_parameters
from airflow_slo_provider.incidents.playbook_choice import choose_playbook
from airflow_slo_provider.incidents.playbook_reader import load_playbooks
from tests.fuzz.targets import Finding

SEEDS = [
    """\
apiVersion: airflow-slo/v1
kind: IncidentPlaybook
metadata: {name: slow}
spec:
  incidentType: slow
  title: Slow answers
  parameters:
    deployment: {description: the model server, default: shop}
    dashboard: {description: where to look}
  matches:
    - {field: slo, pattern: latency|slow, because: it is about time, weight: 3}
  severity:
    - level: critical
      when: [{field: severity, pattern: page}]
    - level: low
  steps:
    - {id: burning, phase: detection, action: 'Is ${deployment} burning?', check: burning, with: {window: 1h}}
    - {id: look, phase: diagnosis, action: Look, link: 'https://grafana.example/${dashboard}', after: [burning]}
    - id: ask
      phase: mitigation
      action: Roll back?
      approval: {timeout: 15m, default: reject}
    - id: back
      phase: mitigation
      action: Roll back
      operator: airflow_slo_provider.operators.kubernetes.DeploymentRollbackOperator
      with: {name: '${deployment}', incident: '${group}burning', ids: [1, 2.5, true, null]}
      after: [ask]
    - {id: over, phase: resolution, action: Is it over?, commands: [kubectl get pods], checklist: [errors are gone]}
    - {id: written, phase: post_mortem, action: Write it down, checklist: [what, when]}
""",
    (Path(__file__).parents[2] / "airflow_slo_provider/incidents/playbooks/traffic_spike.yaml").read_text(),
]
INCIDENT = Incident(
    id="x",
    subject="shop-latency",
    severity="page",
    started_at=datetime(2026, 11, 1, tzinfo=UTC),
    message="the budget burns",
    evidence={"slo": "shop-latency", "burn_rates": {"1h": 20.5}, "labels": {"job": "shop", "list": ["a", "b"]}},
)
_FILE = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)) / "playbook.yaml"


def run(data: bytes) -> None:
    _FILE.write_bytes(data)
    try:
        playbooks = load_playbooks(_FILE)
    except DocumentError as error:
        str(error).encode()  # can be encoded
        if not error.faults:
            raise Finding("refused without a reason") from None
        return
    for playbook in playbooks:
        _check(playbook, data)
    choice = choose_playbook(INCIDENT, playbooks)
    "\n".join(choice.reasons).encode()


def _check(playbook: Playbook, data: bytes) -> None:
    for phase in Phase:
        if not playbook.of_phase(phase):
            raise Finding(f"nothing is done in phase {phase}")
    if not playbook.severity or playbook.severity[-1].when:
        raise Finding("an incident of no severity")
    if len(set(playbook.step_ids)) != len(playbook.steps):
        raise Finding("two steps of one name")
    given = {name: one.default for name, one in playbook.parameters.items()} | {"group": "g."}
    seen: set[str] = set()
    for step in playbook.steps:
        if not seen.issuperset(other for other in step.after if playbook.step(other).phase != step.phase):
            raise Finding(f"{step.id} comes before what it waits for")
        seen.add(step.id)
        if step.kind is Kind.APPROVAL and step.approve_by_default and b"approve" not in data:
            raise Finding(f"{step.id} approves by itself")
        if step.timeout.total_seconds() <= 0:
            raise Finding(f"{step.id} waits no time")
        fill_parameters([step.arguments, step.target, step.action], given)
