"""Every metric equals scikit-learn's on its own data sets, weighted and not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from airflow_slo_provider.evaluation import evaluate
from airflow_slo_provider.evaluation.metrics.curves import make_curve
from airflow_slo_provider.evaluation.metrics.metric_names import find_metric
from airflow_slo_provider.evaluation.rows.sample import make_sample

sklearn_metrics = pytest.importorskip("sklearn.metrics")
datasets = pytest.importorskip("sklearn.datasets")
linear = pytest.importorskip("sklearn.linear_model")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def draw_weights(n: int) -> Any:
    return np.random.default_rng(0).random(n)


def same(found: Any, expected: float) -> None:
    assert found.value == pytest.approx(expected, abs=1e-12, rel=1e-12)
    assert found.low <= found.value <= found.high
    assert found.low < found.high


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_two_classes_match_sklearn(weighted: bool) -> None:
    rows, y = datasets.load_breast_cancer(return_X_y=True)
    model = linear.LogisticRegression(max_iter=50).fit(rows[:100], y[:100])
    label, share = model.predict(rows), model.predict_proba(rows)[:, 1]
    w = draw_weights(len(y)) if weighted else None
    of_labels = {
        "accuracy": sklearn_metrics.accuracy_score,
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score,
        "precision": sklearn_metrics.precision_score,
        "recall": sklearn_metrics.recall_score,
        "f1": sklearn_metrics.f1_score,
    }
    of_scores = {
        "roc_auc": sklearn_metrics.roc_auc_score,
        "average_precision": sklearn_metrics.average_precision_score,
        "log_loss": sklearn_metrics.log_loss,
        "brier": sklearn_metrics.brier_score_loss,
    }
    found = evaluate(y, label, [*of_labels, *of_scores], y_score=share, sample_weight=w, replicates=200)
    for name, function in of_labels.items():
        same(found[name], function(y, label, sample_weight=w))
    for name, function in of_scores.items():
        same(found[name], function(y, share, sample_weight=w))
    # Probabilities alone do for all of them.
    again = evaluate(y, share, list(of_labels), sample_weight=w, replicates=200)
    assert {name: one.value for name, one in again.items()} == {name: found[name].value for name in of_labels}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["load_iris", "load_wine", "load_digits"])
def test_metrics_of_many_classes_match_sklearn(name: str, weighted: bool) -> None:
    rows, y = getattr(datasets, name)(return_X_y=True)
    model = linear.LogisticRegression(max_iter=40).fit(rows[::3], y[::3])
    shares, label = model.predict_proba(rows), model.predict(rows)
    w = draw_weights(len(y)) if weighted else None
    metrics = ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_loss", "brier"]
    found = evaluate(y, shares, metrics, sample_weight=w, replicates=200)
    for one in ("precision", "recall", "f1"):
        same(found[one], getattr(sklearn_metrics, f"{one}_score")(y, label, average="macro", sample_weight=w))
    same(found["accuracy"], sklearn_metrics.accuracy_score(y, label, sample_weight=w))
    same(found["balanced_accuracy"], sklearn_metrics.balanced_accuracy_score(y, label, sample_weight=w))
    same(found["log_loss"], sklearn_metrics.log_loss(y, shares, sample_weight=w))
    same(found["brier"], sklearn_metrics.brier_score_loss(y, shares, sample_weight=w))


@pytest.mark.parametrize("weighted", [False, True])
def test_regression_metrics_match_sklearn(weighted: bool) -> None:
    rows, y = datasets.load_diabetes(return_X_y=True)
    predicted = linear.LinearRegression().fit(rows[:99], y[:99]).predict(rows)
    w = draw_weights(len(y)) if weighted else None
    found = evaluate(y, predicted, ["rmse", "mse", "mae", "mape", "r2"], sample_weight=w, replicates=200)
    same(found["rmse"], sklearn_metrics.root_mean_squared_error(y, predicted, sample_weight=w))
    same(found["mse"], sklearn_metrics.mean_squared_error(y, predicted, sample_weight=w))
    same(found["mae"], sklearn_metrics.mean_absolute_error(y, predicted, sample_weight=w))
    same(found["mape"], sklearn_metrics.mean_absolute_percentage_error(y, predicted, sample_weight=w))
    same(found["r2"], sklearn_metrics.r2_score(y, predicted, sample_weight=w))


def test_r2_of_large_mean_keeps_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_slo_provider.evaluation.intervals.metric_estimates.derive_seed", lambda *_: 5)
    rng = np.random.default_rng(1)
    y = 1e9 + rng.normal(size=500)
    predicted = y + rng.normal(size=500) / 2
    found = evaluate(y, predicted, "r2", replicates=200)["r2"]
    assert found.value == pytest.approx(sklearn_metrics.r2_score(y, predicted), abs=1e-9)
    near = evaluate(y - 1e9, predicted - 1e9, "r2", replicates=200)["r2"]
    far = evaluate(y, predicted, "r2", replicates=200)["r2"]
    assert (far.low, far.high) == pytest.approx((near.low, near.high), abs=1e-6)


@pytest.mark.parametrize("ties", [6, 1000])
def test_curves_with_ties_match_sklearn(ties: int) -> None:
    rng = np.random.default_rng(2)
    y, score = rng.integers(0, 2, 700), rng.integers(0, ties, 700)
    found = evaluate(y, score, ["roc_auc", "average_precision"], replicates=200)
    same(found["roc_auc"], sklearn_metrics.roc_auc_score(y, score))
    same(found["average_precision"], sklearn_metrics.average_precision_score(y, score))


@pytest.mark.parametrize("k", [1, 3, 10, None])
def test_ndcg_matches_sklearn(k: int | None) -> None:
    rng = np.random.default_rng(3)
    groups, relevance, score = np.repeat(np.arange(150), 12), rng.integers(0, 4, 1800), rng.integers(0, 6, 1800)
    order = rng.permutation(1800)
    name = "ndcg" if k is None else f"ndcg@{k}"
    found = evaluate(relevance[order], score[order], name, groups[order], replicates=200)[name]
    expected = [
        sklearn_metrics.ndcg_score(relevance[groups == one][None], score[groups == one][None], k=k)
        for one in range(150)
        if relevance[groups == one].any()
    ]
    same(found, float(np.mean(expected)))


def test_text_labels_with_positive_class_match_sklearn() -> None:
    y = np.array(["benign", "malign", "malign", "benign", "malign"] * 10)
    label = np.array(["benign", "malign", "benign", "malign", "malign"] * 10)
    for positive in ("benign", "malign"):
        found = evaluate(y, label, ["precision", "recall", "f1"], pos_label=positive, replicates=100)
        for name in found:
            expected = getattr(sklearn_metrics, f"{name}_score")(y, label, pos_label=positive)
            assert found[name].value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("ties", [5, 1_000_000])
def test_influence_of_a_row_is_the_derivative(metric: str, ties: int) -> None:
    rng = np.random.default_rng(4)
    y, score, step = rng.integers(0, 2, 60), rng.integers(0, ties, 60), 1e-5
    made = make_curve(find_metric(metric), make_sample(y, score))
    order = np.arange(60) if made.order is None else made.order
    slopes = []
    for row in order:
        weights = np.ones((2, 60))
        weights[0, row] += step
        weights[1, row] -= step
        up, down = made.values(weights)
        slopes.append((up - down) / (2 * step))
    factor = np.dot(made.influence(), slopes) / np.dot(made.influence(), made.influence())
    assert made.influence() * factor == pytest.approx(np.array(slopes), abs=1e-8)
    assert made.influence().sum() == pytest.approx(0, abs=1e-9)
