"""A burning error budget starts this DAG, and the model that burns it is rolled back.

The trigger watches the burn rates of the SLOs in ``demo/slos_incident``. When one of them burns, a run begins by itself: it
measures how fast the budget burns, finds the model version that fails, asks a person (for ten minutes; nobody's answer means no),
gives the service back to the version before, waits until the budget burns no longer, and writes the post-mortem.

To run it as it stands: the Airflow connection ``prometheus_default``, a Prometheus that scrapes ``python -m demo.champion_server
--champion .demo/champion --log .demo/predictions.db``, and this DAG unpaused. ``SLO_DEMO_HOME`` moves ``.demo`` elsewhere,
``SLO_DEMO_APPROVAL=no`` leaves the person out.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Asset, AssetWatcher, dag

from airflow_slo_provider.operators.incident import PlaybookTaskGroup, PostmortemOperator
from airflow_slo_provider.triggers.burn_rate import BurnRateTrigger

HERE = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("SLO_DEMO_HOME", HERE / ".demo"))
SLOS = str(HERE / "demo" / "slos_incident")
ASKS = os.environ.get("SLO_DEMO_APPROVAL", "yes") != "no"

#: Share of the requests of the last minute that failed, by model version.
FAILURES = (
    'sum by (model_version) (rate(model_requests_total{code=~"5.."}[1m]))'
    " / sum by (model_version) (rate(model_requests_total[1m]) > 0)"
)

burning = Asset(
    "champion_burns",
    watchers=[AssetWatcher(name="burn_rate", trigger=BurnRateTrigger(slos=SLOS, poll_interval=5, cool_down=600))],
)


def give_back(champion: str, bad_version: str) -> dict:
    """Point at the champion before, if the bad one still is it: done twice, it does nothing the second time."""
    pointer = Path(champion) / "champion.json"
    record = json.loads(pointer.read_text())
    if record["version"] != bad_version:
        return {
            "changed": False,
            "version": record["version"],
            "message": f"version {record['version']} serves, not {bad_version}",
        }
    before = {**record["previous"], "rolled_back_from": bad_version, "rolled_back_at": datetime.now(UTC).isoformat()}
    draft = pointer.with_name("champion.json.new")
    draft.write_text(json.dumps(before, indent=2) + "\n")
    draft.replace(pointer)  # the server sees the old pointer or the new one, never half of either
    return {"changed": True, "version": before["version"], "message": f"version {before['version']} in place of {bad_version}"}


def rollback(task_id: str) -> PythonOperator:
    return PythonOperator(
        task_id=task_id,
        python_callable=give_back,
        op_kwargs={
            "champion": str(HOME / "champion"),
            "bad_version": "{{ ti.xcom_pull(task_ids='playbook.culprit', key='version') }}",
        },
        retries=3,
        retry_delay=timedelta(seconds=5),
    )


@dag(schedule=[burning], max_active_runs=4, tags=["slo", "incident"], doc_md=__doc__)
def example_rollback_on_burn():
    playbook = PlaybookTaskGroup(
        "playbook",
        playbook="model_serving_degradation",
        values={"slos": SLOS, "failures_by_version": FAILURES},
        actions={"roll_back_model": rollback},
        without=("dashboard", "latency", "roll_back", *(() if ASKS else ("approve",))),
        approval_timeout=timedelta(minutes=10),
    )
    playbook >> PostmortemOperator(task_id="post_mortem", path=str(HOME / "post-mortems"), slos=SLOS)


example_rollback_on_burn()
