"""Promote a candidate model only while the service's error budget allows it.

The candidate is compared with the champion on a golden set, then `ErrorBudgetBranchOperator` reads the SLO documents,
measures them and follows one of three branches: promote, request an approval, or hold.

| exit | what it means | the run |
|---|---|---|
| `promote` | the budget allows it, or it is low or unknown and an approver allows it | success |
| `hold` | the budget is spent or burns fast, or the approval was rejected (no answer counts as a rejection) | success |
| `evaluate` fails | the candidate is not good enough, or worse than the champion | failed |
| `gate` fails | the documents or the connection are invalid and must be corrected | failed |

`make demo` runs this DAG unchanged; to run it elsewhere, set the Airflow connection `prediction_log` and the params.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Param, dag, task

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator, ModelFile
from airflow_slo_provider.operators.model_registry import PromoteModelOperator

HERE = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("SLO_DEMO_HOME", HERE / ".demo"))
SLOS = os.environ.get("SLO_DEMO_SLOS", str(HERE / "demo" / "slos"))
MODEL = "tumour-classifier"

# Where branches join: one of them was followed, the others are skipped.
JOIN = "none_failed_min_one_success"


@dag(
    schedule=None,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    params={
        "candidate": Param(str(HOME / "candidate"), type="string", description="directory of the candidate model"),
        "champion": Param(str(HOME / "champion"), type="string", description="directory of the model registry"),
        "slos": Param(SLOS, type="string", description="SLO documents: a file or a directory"),
        "min_accuracy": Param(0.9, type="number", minimum=0, maximum=1, description="below this a candidate is refused"),
    },
    tags=["slo", "model"],
    doc_md=__doc__,
)
def gated_model_promotion():
    @task
    def register(params: dict | None = None) -> dict:
        """Register the candidate, and write the held-out rows to a golden set."""
        import json

        from sklearn.datasets import load_breast_cancer
        from sklearn.model_selection import train_test_split

        from airflow_slo_provider.deployment import DirectoryRegistry

        home = Path(params["champion"])
        registry = DirectoryRegistry(home)
        version = json.loads((Path(params["candidate"]) / "model.json").read_text())["version"]
        candidate = registry.register(MODEL, version, Path(params["candidate"]))
        data = load_breast_cancer(as_frame=True).frame
        _, unseen = train_test_split(data, stratify=data["target"], test_size=0.3, random_state=7)
        golden = home / "golden_set.csv"
        unseen.rename(columns={"target": "label"}).rename_axis("id").to_csv(golden.with_suffix(".new"))
        golden.with_suffix(".new").replace(golden)
        champion = registry.alias(MODEL, "champion")
        return {
            "version": version,
            "path": f"{candidate.uri}/model.joblib",
            "champion": champion or "",
            "champion_path": f"{registry.get(MODEL, champion).uri}/model.joblib" if champion else "",
            "golden_set": str(golden),
        }

    registered = register()

    def of_candidate(name: str) -> str:
        return f"{{{{ ti.xcom_pull(task_ids='register')['{name}'] }}}}"

    # A candidate below the minimum accuracy, or worse than the champion on the same rows, is not promoted.
    evaluate = GoldenSetEvaluationOperator(
        task_id="evaluate",
        golden_set=of_candidate("golden_set"),
        predictor=ModelFile(of_candidate("path"), trusted=True, as_array=True),
        champion=ModelFile(of_candidate("champion_path"), trusted=True, as_array=True),
        champion_may_be_missing=True,
        metrics=["accuracy", "roc_auc"],
        thresholds={"accuracy": "{{ params.min_accuracy }}"},
        compare_on=["roc_auc"],
        margin=0.02,
        name=MODEL,
        model_version=of_candidate("version"),
        report_path="{{ params.champion }}/reports",
    )

    gate = ErrorBudgetBranchOperator(
        task_id="gate",
        slos="{{ params.slos }}",
        follow_task_ids_if_allowed="promote",
        if_warning="request_review",
        if_frozen="hold",
        if_unknown="request_review",
    )

    request_review = HITLBranchOperator(
        task_id="request_review",
        subject=f"Promote {MODEL} {of_candidate('version')} although the error budget is not healthy?",
        body="{{ ti.xcom_pull(task_ids='gate', key='decision')['reasons'] | join('\n\n') }}",
        options=["Approve", "Reject"],
        options_mapping={"Approve": "promote", "Reject": "hold"},
        defaults=["Reject"],  # no answer counts as a rejection
        response_timeout=timedelta(hours=8),
    )

    # Upstream are the gate and the approval; the one that was not used is skipped.
    promote = PromoteModelOperator(
        task_id="promote",
        model=MODEL,
        version=of_candidate("version"),
        expected_champion=of_candidate("champion"),
        evaluation=evaluate.output,
        registry_path="{{ params.champion }}",
        trigger_rule=JOIN,
    )

    @task(trigger_rule=JOIN)
    def hold(candidate: dict, ti=None) -> str:
        """Keep the champion, and report the reason."""
        import logging

        decision = ti.xcom_pull(task_ids="gate", key="decision")
        nobody = "" if decision["outcome"] == "frozen" else "; nobody approved it"
        said = f"version {candidate['version']} is held back: {'; '.join(decision['reasons'])}{nobody}"
        logging.getLogger(__name__).warning(said)
        return said

    @task(trigger_rule=JOIN)
    def report(params: dict | None = None) -> dict | None:
        """Write the current champion to a file, for readers without the registry; add a notification here."""
        import json

        from airflow_slo_provider.deployment import DirectoryRegistry

        home = Path(params["champion"])
        moves = DirectoryRegistry(home).moves(MODEL)
        if not moves:
            return None
        last = moves[-1]
        _, _, rest = last.key.partition("/")  # the operator writes DAG, run, task; a manual move has any key
        run_id = rest.partition("/")[0] or last.key
        record = {"version": last.after, "directory": f"{MODEL}/versions/{last.after}", "run_id": run_id, "promoted_at": last.at}
        draft = home / "champion.json.new"
        draft.write_text(json.dumps(record, indent=2) + "\n")
        draft.replace(home / "champion.json")  # readers see the old champion or the new one, never a partial file
        return record

    held = hold(registered)
    registered >> evaluate >> gate >> [promote, request_review, held]
    request_review >> [promote, held]
    [promote, held] >> report()


gated_model_promotion()
