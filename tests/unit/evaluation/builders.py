"""What the tests of evaluation share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from airflow_slo_provider.evaluation.rows.golden_set import GoldenSet, Schema, make_golden_set
from airflow_slo_provider.evaluation.rows.predictions import Predictions


def frame(n: int = 400, seed: int = 0, **columns: Any) -> pd.DataFrame:
    """Rows of a classifier's golden set: ids, labels, two features, a region."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    made = {
        "id": [f"r{one:05d}" for one in range(n)],
        "label": label,
        "amount": rng.normal(label, 1.0),
        "age": rng.normal(size=n),
        "region": np.where(rng.random(n) < 0.6, "north", "south"),
        **columns,
    }
    return pd.DataFrame(made)


def golden(rows: pd.DataFrame | None = None, **schema: Any) -> GoldenSet:
    return make_golden_set(frame() if rows is None else rows, Schema(**{"segments": ("region",), **schema}))


def make_predictions(rows: pd.DataFrame, prediction: Any, **more: Any) -> Predictions:
    return Predictions(ids=rows["id"].to_numpy(), prediction=np.asarray(prediction), **more)


def mislabel(labels: Any, share: float, seed: int = 1) -> np.ndarray:
    """Predicted labels, a share of them wrong."""
    labels = np.asarray(labels)
    flip = np.random.default_rng(seed).random(len(labels)) < share
    return np.where(flip, 1 - labels, labels)
