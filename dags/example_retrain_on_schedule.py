"""Train every week, promote only what is not worse, and only while the service has error budget left.

A new model is trained, evaluated on a golden set beside the champion with confidence intervals, and promoted in a model registry
when the service's error budget allows it. The registry is a directory here; for MLflow give ``PromoteModelOperator`` a
``model_registry_conn_id`` instead of ``registry_path``. It runs as it stands where scikit-learn is installed and the Airflow
connection ``prediction_log`` names the log that the SLO documents measure (``make demo`` has one).
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, dag, task

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator, ModelFile
from airflow_slo_provider.operators.model_registry import PromoteModelOperator

HERE = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("SLO_DEMO_HOME", HERE / ".demo"))
SLOS = os.environ.get("SLO_DEMO_SLOS", str(HERE / "demo" / "slos"))
MODEL = "tumour-classifier"


@dag(
    schedule="@weekly",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - Airflow reads it in its own time zone
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    params={
        "registry": Param(str(HOME / "registry"), type="string", description="directory of the model registry"),
        "reports": Param(str(HOME / "reports"), type="string", description="where the evaluation's reports go"),
        "slos": Param(SLOS, type="string", description="SLO documents: a file or a directory"),
    },
    tags=["slo", "model", "example"],
    doc_md=__doc__,
)
def example_retrain_on_schedule():
    @task
    def train(params: dict | None = None, run_id: str | None = None) -> dict:
        """Train on 398 of 569 tumours, register the model, and keep the other 171 as the golden set."""
        import re
        import tempfile

        import joblib
        import pandas as pd
        from sklearn.datasets import load_breast_cancer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import train_test_split
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from airflow_slo_provider.deployment.registry import RegistryError
        from airflow_slo_provider.deployment.registry_directory import DirectoryRegistry

        data = load_breast_cancer(as_frame=True)
        seen, unseen = train_test_split(data.frame, stratify=data.target, test_size=0.3, random_state=7)
        home = Path(params["registry"])
        home.mkdir(parents=True, exist_ok=True)
        golden = unseen.rename(columns={"target": "label"}).rename_axis("id").reset_index()
        golden.insert(1, "texture", pd.cut(golden["mean texture"], [0, 18.5, 99], labels=["smooth", "rough"]))
        draft = home / ".golden_set.csv"
        golden.to_csv(draft, index=False)
        draft.replace(home / "golden_set.csv")

        registry = DirectoryRegistry(home)
        champion = registry.alias(MODEL, "champion")
        version = re.sub(r"[^\w.-]", "-", run_id)  # of the run, not of the moment: a retry trains the same version
        try:
            candidate = registry.get(MODEL, version)
        except RegistryError:
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            model.fit(seen[data.feature_names], seen["target"])
            with tempfile.TemporaryDirectory() as directory:
                joblib.dump(model, Path(directory) / "model.joblib")
                candidate = registry.register(MODEL, version, Path(directory))
        return {
            "version": version,
            "path": f"{candidate.uri}/model.joblib",
            "champion": champion or "",
            "champion_path": f"{registry.get(MODEL, champion).uri}/model.joblib" if champion else "",
            "golden_set": str(home / "golden_set.csv"),
        }

    trained = train()

    def from_training(name: str) -> str:
        return f"{{{{ ti.xcom_pull(task_ids='train')['{name}'] }}}}"

    evaluate = GoldenSetEvaluationOperator(
        task_id="evaluate",
        golden_set=from_training("golden_set"),
        predictor=ModelFile(from_training("path"), trusted=True),
        champion=ModelFile(from_training("champion_path"), trusted=True),
        champion_may_be_missing=True,  # the first model has nobody to beat
        metrics=["roc_auc", "accuracy", "log_loss"],
        thresholds={"roc_auc": 0.95, "accuracy": {"fail": 0.90, "warn": 0.93}},
        compare_on=["roc_auc"],
        margin=0.01,  # not worse by a point: a model trained on nearly the same rows is rarely better
        slices=["texture"],
        slice_min_rows=50,
        name=MODEL,
        model_version=from_training("version"),
        report_path="{{ params.reports }}",
    )

    gate = ErrorBudgetBranchOperator(
        task_id="gate",
        slos="{{ params.slos }}",
        follow_task_ids_if_allowed="promote",
        if_warning="hold",
        if_frozen="hold",
        if_unknown="hold",
    )

    promote = PromoteModelOperator(
        task_id="promote",
        model=MODEL,
        version=from_training("version"),
        expected_champion=from_training("champion"),  # the one it was compared with; if another serves by now, it stays
        evaluation=evaluate.output,
        registry_path="{{ params.registry }}",
    )

    hold = EmptyOperator(task_id="hold")

    trained >> evaluate >> gate >> [promote, hold]


example_retrain_on_schedule()
