"""Inputs that have no answer get none: each says so, and none is a number."""

from __future__ import annotations

import math

import numpy as np
import pytest

from airflow_slo_provider.evaluation import compare, evaluate
from airflow_slo_provider.evaluation.metrics.metric_names import find_metric
from airflow_slo_provider.exceptions import InvalidMeasurement


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "balanced_accuracy"])
@pytest.mark.parametrize("label", [0, 1])
def test_metric_of_one_class_is_undefined(metric: str, label: int) -> None:
    found = evaluate([label] * 50, np.linspace(0, 1, 50), metric)[metric]
    assert (found.value, found.status) == (None, "insufficient_data")
    assert "one class" in found.reason
    assert compare([label] * 50, np.linspace(0, 1, 50), np.linspace(1, 0, 50), metric).verdict == "unknown"


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss", "rmse", "ndcg@10", "f1"])
def test_metric_without_rows_is_undefined(metric: str) -> None:
    found = evaluate([], [], metric)[metric]
    assert (found.value, found.status) == (None, "insufficient_data")
    assert compare([], [], [], metric).verdict == "unknown"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss", "brier", "average_precision", "f1"])
def test_nan_among_scores_is_invalid(metric: str, bad: float) -> None:
    score = np.linspace(0, 1, 100)
    score[7] = bad
    found = evaluate([0, 1] * 50, score, metric)[metric]
    assert (found.value, found.status) == (None, "invalid")
    assert found.reason.startswith(("1 of 100", "the predictions"))
    assert compare([0, 1] * 50, np.linspace(0, 1, 100), score, metric).verdict == "unknown"


def test_nan_in_regression_is_invalid() -> None:
    found = evaluate([1.0, 2.0, 3.0], [1.0, math.nan, 3.0], ["rmse", "mae", "r2"])
    assert {one.value for one in found.values()} == {None}
    assert found["rmse"].reason == "1 of 3 predictions are NaN or infinite"


def test_missing_label_is_invalid() -> None:
    assert evaluate(["a", None, "b"], ["a", "a", "b"], "accuracy")["accuracy"].status == "invalid"
    assert evaluate([1.0, math.nan], [1, 0], "accuracy")["accuracy"].status == "invalid"


def test_mape_with_zero_target_is_undefined() -> None:
    found = evaluate([0, 1, 2, 0], [1, 1, 2, 3], "mape")["mape"]
    assert (found.value, found.status) == (None, "insufficient_data")
    assert found.reason.startswith("2 of 4 targets are 0")


def test_r2_without_variance_is_undefined() -> None:
    assert evaluate([5.0, 5.0], [5.0, 4.0], "r2")["r2"].status == "insufficient_data"


def test_precision_without_predicted_positive_is_undefined() -> None:
    found = evaluate([0, 1, 1, 0], [0, 0, 0, 0], ["precision", "recall", "f1"])
    assert (found["precision"].value, found["precision"].status) == (None, "insufficient_data")
    assert (found["recall"].value, found["f1"].value) == (0.0, 0.0)


def test_scores_outside_unit_interval_are_invalid() -> None:
    found = evaluate([0, 1, 1, 0], [-3.0, 2.5, 1.1, 0.2], ["roc_auc", "log_loss", "brier", "accuracy"])
    assert found["roc_auc"].value == 1.0
    assert {found[name].status for name in ("log_loss", "brier", "accuracy")} == {"invalid"}


def test_columns_of_different_shapes_are_rejected() -> None:
    with pytest.raises(InvalidMeasurement, match="y_true has 3 rows, prediction has 2"):
        evaluate([1, 0, 1], [1, 0], "accuracy")
    with pytest.raises(InvalidMeasurement, match="weights must be finite"):
        evaluate([1, 0], [1, 0], "accuracy", sample_weight=[1, -1])


def test_text_labels_against_numbers_are_invalid() -> None:
    assert evaluate(["1", "0"], [1, 0], "accuracy")["accuracy"].status == "invalid"


def test_invalid_options_are_rejected() -> None:
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        evaluate([1], [1], "acuracy")
    with pytest.raises(ValueError, match="did you mean 'recall'"):
        find_metric("recall@x")
    for invalid in ({"confidence": 95}, {"replicates": 3}, {"method": "guess"}):
        with pytest.raises(ValueError, match=next(iter(invalid))):
            evaluate([1], [1], "accuracy", **invalid)
    with pytest.raises(ValueError, match="margin"):
        compare([1], [1], [1], "accuracy", margin=-0.1)
    with pytest.raises(ValueError, match="twice"):
        evaluate([1], [1], ["accuracy", "accuracy"])


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "f1", "average_precision", "balanced_accuracy", "brier", "ndcg@5"])
def test_perfect_score_on_few_rows_has_an_interval(metric: str) -> None:
    y = np.tile([0, 1], 20)
    groups = np.repeat(np.arange(20), 2) if metric == "ndcg@5" else None
    found = evaluate(y, y.astype(float), metric, groups)[metric]
    best = 0.0 if metric == "brier" else 1.0
    assert found.value == best
    assert 0.05 < abs(found.high - found.low) < 0.3


def test_one_row_has_no_interval() -> None:
    found = evaluate([3.0], [2.0], ["rmse"])["rmse"]
    assert (found.value, found.low, found.high, found.method) == (1.0, None, None, "none")
    assert evaluate([1], [1], "accuracy")["accuracy"].low < 0.25


def test_evaluate_twice_returns_same_interval() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 300), rng.random(300)
    assert evaluate(y, p, ["log_loss", "f1"]) == evaluate(y, p, ["log_loss", "f1"])


def test_function_as_metric_is_evaluated() -> None:
    def cost(truth: np.ndarray, predicted: np.ndarray) -> float:
        return float(np.mean(np.where(truth > predicted, 10 * (truth - predicted), predicted - truth)))

    cost.higher_is_better = False  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    found = evaluate(y, y + rng.normal(size=200), {"cost": cost}, replicates=200)["cost"]
    assert found.low < found.value < found.high
    assert not found.higher_is_better
    better = compare(y, y + rng.normal(size=200), y + 0.1, cost, replicates=200)
    assert (better.verdict, better.delta < 0) == ("pass", True)
    broken = evaluate(y, y, {"broken": lambda truth, predicted: math.nan})["broken"]
    assert (broken.value, broken.status) == (None, "invalid")
