"""Promote a candidate model only while the service's error budget allows it.

The candidate is evaluated on held-out rows, then ``ErrorBudgetBranchOperator`` reads the SLO documents, measures them and
takes one of three ways: promote, ask a person, or hold. `make demo` runs this DAG as it stands; to run it elsewhere, set the
Airflow connection ``prediction_log`` and the params.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, task

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator

HERE = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("SLO_DEMO_HOME", HERE / ".demo"))


@dag(
    schedule=None,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    params={
        "candidate": Param(str(HOME / "candidate"), type="string", description="directory of the candidate model"),
        "champion": Param(str(HOME / "champion"), type="string", description="directory the serving model is promoted to"),
        "slos": Param(str(HERE / "demo" / "slos"), type="string", description="SLO documents: a file or a directory"),
        "min_accuracy": Param(0.9, type="number", minimum=0, maximum=1, description="below this a candidate is refused"),
    },
    tags=["slo", "model"],
    doc_md=__doc__,
)
def gated_model_promotion():
    @task
    def evaluate(params: dict | None = None) -> dict:
        """Measure the candidate on rows it has never seen."""
        import json

        import joblib
        from airflow.sdk.exceptions import AirflowFailException
        from sklearn.datasets import load_breast_cancer
        from sklearn.model_selection import train_test_split

        candidate = Path(params["candidate"])
        card = json.loads((candidate / "model.json").read_text())
        model = joblib.load(candidate / "model.joblib")
        data = load_breast_cancer()
        _, unseen, _, truth = train_test_split(data.data, data.target, stratify=data.target, test_size=0.3, random_state=7)
        accuracy = float(model.score(unseen, truth))
        if accuracy < params["min_accuracy"]:  # a verdict, not a fault: the same tomorrow, so no retry
            raise AirflowFailException(f"accuracy {accuracy:.4f} is below {params['min_accuracy']}")
        return {"version": card["version"], "accuracy": round(accuracy, 4), "rows": len(truth)}

    gate = ErrorBudgetBranchOperator(
        task_id="gate",
        slos="{{ params.slos }}",
        follow_task_ids_if_allowed="promote",
        if_warning="ask_a_person",
        if_frozen="hold",
        if_unknown="ask_a_person",
    )

    ask_a_person = ApprovalOperator(
        task_id="ask_a_person",
        subject="Promote {{ params.candidate }} although the error budget is not healthy?",
        defaults="Reject",
        response_timeout=timedelta(hours=8),
    )

    # Reached from the gate or from the person: whichever of the two did not take part is skipped.
    @task(trigger_rule="none_failed_min_one_success")
    def promote(candidate: dict, params: dict | None = None, run_id: str | None = None) -> dict:
        """Copy the candidate beside the earlier champions, then point at it in one step."""
        import json
        import shutil
        from datetime import UTC, datetime

        champion = Path(params["champion"])
        target = champion / f"version-{candidate['version']}"
        shutil.copytree(params["candidate"], target, dirs_exist_ok=True)
        record = {**candidate, "directory": target.name, "run_id": run_id, "promoted_at": datetime.now(UTC).isoformat()}
        draft = champion / "champion.json.new"
        draft.write_text(json.dumps(record, indent=2) + "\n")
        draft.replace(champion / "champion.json")  # a reader sees the old champion or the new one, never half of either
        return record

    @task
    def hold(candidate: dict) -> None:
        """Leave the champion alone, and say so."""
        import logging

        logging.getLogger(__name__).warning("version %s is held back: the error budget is spent", candidate["version"])

    @task(trigger_rule="none_failed_min_one_success")
    def report(params: dict | None = None) -> dict | None:
        """Say which model is the champion now; this is where a notification would go."""
        import json

        record = Path(params["champion"]) / "champion.json"
        return json.loads(record.read_text()) if record.exists() else None

    candidate = evaluate()
    promoted, held = promote(candidate), hold(candidate)
    candidate >> gate >> [promoted, ask_a_person, held]
    ask_a_person >> promoted
    [promoted, held] >> report()


gated_model_promotion()
