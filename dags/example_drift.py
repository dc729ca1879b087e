"""Compare each day with the training data: retrain on drift, keep the model without, ask a person when it cannot be said.

The DAG makes its own data, so that it runs as it stands: a training set, and one day of requests whose amounts are shifted by the
parameter ``shift``. In a project of yours the first two tasks are your own, and ``profile`` stands at the end of the training
DAG.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from airflow.sdk import Asset, Param, dag, task

from airflow_slo_provider.operators.drift import DriftBranchOperator, DriftProfileOperator

HOME = Path(os.environ.get("DRIFT_EXAMPLE_HOME", Path(tempfile.gettempdir()) / "airflow_slo_example_drift"))
#: A retraining DAG in another file would say ``schedule=CHURN_DRIFTED``.
CHURN_DRIFTED = Asset("churn_features_drifted")


@dag(
    schedule=None,
    params={"shift": Param(1.0, type="number", description="how far today's amounts are shifted, in standard deviations")},
    tags=["slo", "drift"],
    doc_md=__doc__,
)
def example_drift():
    @task
    def write_training_data() -> str:
        return str(_write(HOME / "training.csv", rows=20_000, shift=0, seed=1))

    @task
    def write_today(params: dict | None = None) -> str:
        return str(_write(HOME / "today.csv", rows=5_000, shift=params["shift"], seed=2))

    profile = DriftProfileOperator(
        task_id="profile",
        data="{{ ti.xcom_pull(task_ids='write_training_data') }}",
        profile_path=str(HOME / "training.profile.json"),
        asset=Asset("churn_training_profile"),
    )

    drifted = DriftBranchOperator(
        task_id="drifted",
        reference="{{ ti.xcom_pull(task_ids='profile')['profile'] }}",
        current="{{ ti.xcom_pull(task_ids='write_today') }}",
        ignore=["customer_id"],
        thresholds={"psi": 0.2, "tenure_*": {"psi": 0.3, "psi_warn": 0.15}},
        report_path=str(HOME / "report.html"),
        drift_asset=CHURN_DRIFTED,
        if_drift="retrain",
        if_ok="keep",
        if_unknown="investigate",
    )

    @task
    def retrain() -> str:
        return "the place for training"

    @task
    def keep() -> str:
        return "the model stays"

    @task
    def investigate() -> str:
        return "the place for a person"

    write_training_data() >> profile >> drifted
    write_today() >> drifted
    drifted >> [retrain(), keep(), investigate()]


def _write(path: Path, *, rows: int, shift: float, seed: int) -> Path:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "customer_id": np.arange(rows) + seed * 1_000_000,
            "amount": rng.normal(50 + 10 * shift, 10, rows).round(2),
            "tenure_months": rng.poisson(24, rows),
            "country": rng.choice(["de", "fr", "it"], rows, p=[0.5, 0.3, 0.2]),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return path


example_drift()
