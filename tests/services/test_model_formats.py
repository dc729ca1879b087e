"""A model of MLflow loaded into the worker, in an environment that has the library; ours comes in by path."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.peers import peer
from tests.support import REPO

ROWS = """
import sys
import numpy as np, pandas as pd
from airflow_slo_provider.evaluation.rows.golden_set import Schema, make_golden_set
from airflow_slo_provider.evaluation.rows.predictions import join
from airflow_slo_provider.evaluation.models.context import PredictionContext
from airflow_slo_provider.evaluation.models.worker_models import MlflowModel
from sklearn.linear_model import LogisticRegression
home = sys.argv[1]
rng = np.random.default_rng(0)
label = rng.integers(0, 2, 500)
rows = pd.DataFrame({"id": range(500), "label": label, "a": rng.normal(label), "b": rng.normal(label)})
golden = make_golden_set(rows, Schema())
model = LogisticRegression().fit(rows[["a", "b"]], label)
"""

ANSWER = """
found = join(golden, predictor.predict(golden, PredictionContext()))
assert found.coverage == 1
said = model.predict(golden.features())
assert (found.sample.prediction == said).all(), (found.sample.prediction, said)
"""


def run(program: Path, code: str, home: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(REPO), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"}
    done = subprocess.run([str(program), "-c", code, str(home)], capture_output=True, text=True, env=env, cwd=home, check=False)
    assert done.returncode == 0, done.stderr


def test_mlflow_model_is_loaded_and_called(tmp_path: Path) -> None:
    save = """
import mlflow.sklearn
mlflow.sklearn.save_model(model, home + "/model", pip_requirements=[], serialization_format="pickle")
predictor = MlflowModel(home + "/model", trusted=True, batch_size=64)
"""
    run(peer("mlflow") / "python", ROWS + save + ANSWER, tmp_path)
