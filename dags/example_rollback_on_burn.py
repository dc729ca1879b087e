"""A burning error budget starts this DAG, and the model that burns it is rolled back.

The trigger watches the burn rates of the SLOs in ``demo/slos_incident``. When one of them burns, a run begins by itself: it
measures how fast the budget burns, finds the model version that fails, asks a person (for ten minutes; nobody's answer means no),
gives the champion's alias back to the version before, waits until the budget burns no longer, and writes the post-mortem.

To run it as it stands: the Airflow connection ``prometheus_default``, a Prometheus that scrapes ``python -m demo.champion_server
--registry .demo/registry --model tumour-classifier --log .demo/predictions.db``, and this DAG unpaused. ``SLO_DEMO_HOME`` moves
``.demo`` elsewhere,
``SLO_DEMO_APPROVAL=no`` leaves the person out.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

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


@dag(schedule=[burning], max_active_runs=4, tags=["slo", "incident"], doc_md=__doc__)
def example_rollback_on_burn():
    playbook = PlaybookTaskGroup(
        "playbook",
        playbook="model_serving_degradation",
        values={
            "slos": SLOS,
            "failures_by_version": FAILURES,
            "model": "tumour-classifier",
            "registry_path": str(HOME / "registry"),
        },
        without=("dashboard", "latency", "roll_back", *(() if ASKS else ("approve",))),
        approval_timeout=timedelta(minutes=10),
    )
    playbook >> PostmortemOperator(task_id="post_mortem", path=str(HOME / "post-mortems"), slos=SLOS)


example_rollback_on_burn()
