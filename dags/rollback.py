"""A burning error budget starts this DAG, and the model version that burns it is rolled back.

**What it does.** A trigger watches the burn rates of the documents in `SLOS`. When a budget burns, a run starts: it opens
the incident, measures, finds the failing model version, requests an approval, moves the alias back, waits until
the budget no longer burns, and writes the post-mortem. The steps are those of the playbook `model_serving_degradation`.

| exit | what it means | the run |
|---|---|---|
| `roll_back_model`, `recovered`, `post_mortem` succeed | rolled back, verified, documented | success |
| `approve`: rejected, or no answer | nothing is moved; `recovered` waits half an hour for a manual fix | by `recovered` |
| `culprit` is skipped | no single version is known to fail: nothing is moved, analyse the incident by hand | by `recovered` |
| `roll_back_model` fails | another version serves by now, or there is no previous version | failed |
| `open` skips everything | another run handles this incident | success |
| `open` skips all but `post_mortem` | the budget could not be measured for an hour | failed |

The post-mortem is written in all cases except the last two, even if earlier steps failed.

**Without changes** it needs no server and no connection: the requests are counted in the ledger, and the model registry is the
directory `slo_models` in `AIRFLOW_HOME`. To try it, unpause it and `rollback_rehearsal`, trigger the latter, and approve the
rollback a minute later (Airflow's UI lists it under Required Actions).

**For production**

- the documents in `SLOS`: a DataSource of type Prometheus that names your connection (`prometheus_default`).
- `CULPRIT`: delete `actions=`, and add to `values=` the PromQL that gives the failures by model version:
  `"failures_by_version": "sum by (model_version) (rate(errors[2m])) / sum by (model_version) (rate(requests[2m]))"`.
- connection `model_registry_default`: your MLflow server. A model server on Kubernetes: `"deployment": "model-server"` in
  `values=`, and `without=` leaves out `roll_back_model` instead of `roll_back`.
- `notifiers=` of the task group: notifications about opened incidents; `POST_MORTEMS`: e.g. `s3://incidents`.
- delete the rehearsal.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_slo_provider.operators.incident import CulpritOperator, PlaybookTaskGroup, PostmortemOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator
from airflow_slo_provider.triggers.burn_rate import BurnRateTrigger

MODEL = "recommender"
SLOS = str(Path(__file__).resolve().parent / "slos" / "rollback")
POST_MORTEMS = str(Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "slo_examples" / "post-mortems")

# The trigger runs in the triggerer, which needs the documents and their connections too. If nothing can be measured for an
# hour, it starts a run that reports this and fails.
BURNING = Asset(
    "recommender_burns",
    watchers=[AssetWatcher(name="burn_rate", trigger=BurnRateTrigger(slos=SLOS, poll_interval=10, blind_after=3600))],
)


def culprit(task_id: str) -> CulpritOperator:
    """Find the failing version by the counts in the ledger; without this function, the playbook queries Prometheus."""
    return CulpritOperator(task_id=task_id, check="recommender/requests")


# Several runs, so that an incident does not wait for the end of another one.
@dag(schedule=[BURNING], max_active_runs=4, tags=["slo", "incident", "example"], doc_md=__doc__)
def rollback():
    playbook = PlaybookTaskGroup(
        "playbook",
        playbook="model_serving_degradation",
        values={"slos": SLOS, "model": MODEL},
        actions={"culprit": culprit},
        # Steps that do not apply to this deployment; add "approve" to roll back without an approval.
        without=("dashboard", "latency", "roll_back"),
        approval_timeout=timedelta(minutes=10),  # no answer counts as a rejection
    )
    playbook >> PostmortemOperator(task_id="post_mortem", path=POST_MORTEMS, slos=SLOS)


# ---- Only for the example: a bad release, to try the DAG above --------------------------------------------------------------


@dag(schedule=None, max_active_runs=1, tags=["slo", "incident", "example"])
def rollback_rehearsal():
    """Promote a good version, then one that fails every second request, and wait until it is rolled back."""

    @task
    def two_versions(run_id: str | None = None) -> dict[str, str]:
        """Register a good version and a bad one."""
        import re
        import tempfile

        from airflow_slo_provider.hooks.model_registry import ModelRegistryHook

        registry = ModelRegistryHook().get_conn()
        name = re.sub(r"[^\w.-]", "-", run_id)[-60:].lstrip("-_.")
        with tempfile.TemporaryDirectory() as directory:
            for version in ("good", "bad"):
                (Path(directory) / "model.txt").write_text(f"the {version} version of {name}")
                registry.register(MODEL, f"{name}-{version}", Path(directory))
        return {version: f"{name}-{version}" for version in ("good", "bad")}

    @task
    def requests(version: str, failed: int) -> None:
        """Count 2,000 requests, as a job that reads your request log would."""
        from airflow.sdk import get_current_context

        from airflow_slo_provider.results import CheckResult
        from airflow_slo_provider.runtime import record

        check = CheckResult(
            kind="requests", name="recommender/requests", verdict="pass", good=2000 - failed, total=2000, model_version=version
        )
        record([check], get_current_context())

    @task.sensor(poke_interval=5, timeout=1200, mode="reschedule")
    def rolled_back(good: str) -> bool:
        """Wait until the DAG above, or a user, has rolled back."""
        from airflow_slo_provider.hooks.model_registry import ModelRegistryHook

        return ModelRegistryHook().alias(MODEL) == good

    versions: Any = two_versions()
    good, bad = versions["good"], versions["bad"]
    release_good = PromoteModelOperator(task_id="release_good", model=MODEL, version=good)
    release_bad = PromoteModelOperator(task_id="release_bad", model=MODEL, version=bad, expected_champion=good)
    before = requests.override(task_id="requests_before")(good, 0)
    failing = requests.override(task_id="requests_failing")(bad, 1000)
    after = requests.override(task_id="requests_after")(good, 0)
    release_good >> before >> release_bad >> failing >> rolled_back(good) >> after


rollback()
rollback_rehearsal()
