"""Inputs that are legal and unusual: none of them may change a verdict in silence, or end as a fault that is retried."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, fbeta_score, log_loss, matthews_corrcoef, max_error, mean_squared_error

from airflow_slo_provider.evaluation import compare, evaluate
from airflow_slo_provider.evaluation.metrics.metric_names import find_metric, find_metrics, select_compared_metrics
from airflow_slo_provider.evaluation.models.context import PredictionContext
from airflow_slo_provider.evaluation.models.predictors import Column
from airflow_slo_provider.evaluation.models.worker_models import predict_in_batches
from airflow_slo_provider.evaluation.report.assessment_json import to_json
from airflow_slo_provider.evaluation.rows.golden_set import Schema, make_golden_set, read_table
from airflow_slo_provider.evaluation.verdict.assessment import EvaluationPlan, ModelAssessment, assess
from airflow_slo_provider.evaluation.verdict.outcomes import ModelVerdict
from airflow_slo_provider.evaluation.verdict.segments import SegmentRule
from airflow_slo_provider.evaluation.verdict.thresholds import read_threshold
from airflow_slo_provider.exceptions import InvalidMeasurement

N = 200
RNG = np.random.default_rng(3)
TRUTH = RNG.normal(10, 2, N)


def assess_frame(
    rows: pd.DataFrame, metrics: Any, thresholds: dict[str, float] | None = None, *, schema: Schema | None = None, **plan: Any
) -> ModelAssessment:
    schema = schema or Schema(ignored=tuple(name for name in rows if name in ("predicted", "score", "champion")))
    made = find_metrics(metrics)
    limits = {one.name: read_threshold(thresholds[one.name], one) for one in made if one.name in (thresholds or {})}
    golden = make_golden_set(rows, schema)
    context = PredictionContext()
    score = "score" if "score" in rows else None
    champion = Column("champion").predict(golden, context) if "champion" in rows else None
    asked = EvaluationPlan(metrics=made, thresholds=limits, **{"replicates": 200, **plan})
    return assess(asked, golden, Column("predicted", score_column=score).predict(golden, context), champion)


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"id": range(N), **columns})


def test_decision_threshold_applies_to_two_probability_columns():
    truth = RNG.integers(0, 2, N)
    score = np.clip(truth * 0.3 + 0.35 + RNG.normal(0, 0.2, N), 0, 1)
    for cut in (0.5, 0.9):
        one = evaluate(truth, score, ["accuracy", "recall"], decision_threshold=cut)
        two = evaluate(truth, np.column_stack([1 - score, score]), ["accuracy", "recall"], decision_threshold=cut)
        assert {name: found.value for name, found in one.items()} == {name: found.value for name, found in two.items()}


@pytest.mark.parametrize("labels", [(0, 1), (1, 0)])
def test_greater_class_is_positive_in_any_label_order(labels):
    truth = RNG.integers(0, 2, N)
    inverted = np.clip(0.8 - truth * 0.6 + RNG.normal(0, 0.05, N), 0, 1)
    found = assess_frame(
        frame(label=truth, predicted=inverted), ["roc_auc", "accuracy", "precision"], {"roc_auc": 0.9}, labels=labels
    )
    assert (found.verdict, found.estimates["roc_auc"].value, found.estimates["accuracy"].value) == (ModelVerdict.FAIL, 0, 0)
    columns = np.column_stack([inverted, 1 - inverted] if labels == (0, 1) else [1 - inverted, inverted])
    for metric in ("roc_auc", "accuracy", "brier"):  # there their order is that of the columns
        right = evaluate(truth, 1 - inverted, metric)[metric].value
        assert evaluate(truth, columns, metric, labels=labels)[metric].value == pytest.approx(right)


def test_classes_of_different_types_are_invalid():
    assert evaluate(["a", 1] * 50, np.linspace(0, 1, 100), "roc_auc", labels=("a", 1))["roc_auc"].status == "invalid"


def test_ranking_of_labels_with_scores_uses_scores():
    truth = RNG.integers(0, 2, N)
    rows = frame(label=truth, query=np.repeat(range(20), 10), predicted=truth, score=-truth.astype(float))
    schema = Schema(group="query", ignored=("predicted", "score"))
    found = assess_frame(rows, ["ndcg@10"], schema=schema).estimates["ndcg@10"].value
    assert found == pytest.approx(evaluate(truth, -truth, "ndcg@10", groups=rows["query"])["ndcg@10"].value)
    assert found < 0.9


@pytest.mark.parametrize("predicted", [["yes", "no"] * (N // 2), [[0.5, 0.5]] * N])
def test_ranking_by_non_numbers_is_rejected(predicted):
    rows = frame(label=1, query=np.repeat(range(20), 10), predicted=pd.Series(predicted, dtype=object))
    with pytest.raises(InvalidMeasurement, match="rows of a group are ranked"):
        assess_frame(rows, ["ndcg@10"], schema=Schema(group="query", ignored=("predicted",)))


@pytest.mark.parametrize("champion", [False, True])
def test_rows_without_prediction_count_for_ranking_only(champion):
    """A model without a clue that is silent about the easy rows has an area of 0.5, not the 0.63 of "all those are last"."""
    rng = np.random.default_rng(0)
    truth, predicted = (rng.random(2000) < 0.3).astype(int), rng.random(2000)
    rows = pd.DataFrame(
        {"id": range(2000), "label": truth, "query": np.repeat(range(200), 10), "predicted": predicted, "region": "north"}
    )
    rows.loc[(truth == 0) & (rng.random(2000) < 0.25), "predicted"] = np.nan
    options: dict[str, Any] = {"min_coverage": 0.8, "slices": SegmentRule(min_rows=100)}
    if champion:
        rows["champion"], options["compare_on"] = rng.random(2000), ["roc_auc", "ndcg@10"]
    apart = ("predicted", "champion")
    found = assess_frame(
        rows, ["roc_auc", "ndcg@10"], schema=Schema(group="query", ignored=apart, segments=("region",)), **options
    )
    single = assess_frame(
        rows, ["roc_auc"], schema=Schema(ignored=(*apart, "query")), **options | {"compare_on": ["roc_auc"] * champion}
    )
    assert found.estimates["roc_auc"].value == pytest.approx(single.estimates["roc_auc"].value)
    answered = {one.metric: one.rows for one in found.slices.shown}
    assert answered == {"roc_auc": rows["predicted"].notna().sum(), "ndcg@10": 2000}
    if champion:
        assert found.comparisons["roc_auc"].delta == pytest.approx(single.comparisons["roc_auc"].delta)
        assert found.comparisons["roc_auc"].method == "bootstrap"
        assert found.comparisons["ndcg@10"].n == found.estimates["ndcg@10"].n


def test_grouped_text_predictions_without_ranking_are_accepted():
    rows = frame(label=["yes", "no"] * (N // 2), query=np.repeat(range(40), 5), predicted="yes")
    found = assess_frame(rows, ["accuracy"], {"accuracy": 0.3}, schema=Schema(group="query", ignored=("predicted",)))
    assert (found.estimates["accuracy"].value, found.estimates["accuracy"].n) == (0.5, 40)


def no_number(_truth: Any, _said: Any) -> Any:
    return None


def no_class(_truth: Any, _said: Any) -> float:
    raise ValueError("only one class")


def no_key(_truth: Any, _said: Any) -> float:
    return {}["cost"]


@pytest.mark.parametrize("function", [no_number, no_class, no_key, lambda truth, predicted: 1 / 0])
def test_custom_metric_that_raises_is_unknown(function):
    found = assess_frame(frame(label=TRUTH, predicted=TRUTH), {"mine": function})
    assert (found.verdict, found.estimates["mine"].value) == (ModelVerdict.UNKNOWN, None)
    assert "mine raised" in found.why


@pytest.mark.parametrize("answer", ["0.9", True, np.True_, b"1"])
def test_custom_metric_without_number_is_unknown(answer):
    def mine(_truth: Any, _said: Any) -> Any:
        return answer

    found = assess_frame(frame(label=TRUTH, predicted=TRUTH), {"mine": mine})
    assert (found.verdict, found.estimates["mine"].value) == (ModelVerdict.UNKNOWN, None)
    assert "not a number" in found.why


def test_custom_metric_that_modifies_arguments_affects_no_other():
    def forgiving(truth: Any, predicted: Any) -> float:
        predicted[predicted < 0] = truth[predicted < 0]
        return float(abs(truth - predicted).mean())

    predicted = np.where(np.arange(N) < 20, -500.0, TRUTH)
    found = assess_frame(frame(label=TRUTH, predicted=predicted), {"forgiving": forgiving, "rmse": "rmse"}, {"rmse": 1.0})
    assert (found.verdict, found.estimates["rmse"].value) == (
        ModelVerdict.FAIL,
        evaluate(TRUTH, predicted, "rmse")["rmse"].value,
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"replicates": 1}, "replicates is 1"),
        ({"margin": float("inf")}, "margin of rmse is inf"),
        ({"margin": float("nan")}, "margin of rmse is nan"),
        ({"margin": {"rsme": 0.5}}, "margin names 'rsme'"),
        ({"decision_threshold": 50}, "decision_threshold is 50"),
        ({"decision_threshold": float("nan")}, "decision_threshold is nan"),
        ({"min_coverage": 0}, "min_coverage is 0"),
        ({"decide_on": "valu"}, "decide_on is 'valu'"),
        ({"slices": SegmentRule(margin=float("nan"))}, "slice_margin is nan"),
        ({"compare_on": ["rsme"]}, "compare_on names 'rsme'"),
    ],
)
def test_options_that_pass_everything_are_rejected(options, why):
    with pytest.raises(InvalidMeasurement, match=why) as refused:
        assess_frame(frame(label=TRUTH, predicted=TRUTH, champion=TRUTH), ["rmse"], **{"compare_on": ["rmse"], **options})
    assert not refused.value.transient


def test_margin_beyond_range_is_rejected():
    truth = RNG.integers(0, 2, N)
    rows = frame(label=truth, predicted=RNG.random(N), champion=truth * 0.9 + 0.05)
    with pytest.raises(InvalidMeasurement, match="margin of roc_auc is 2; nothing can lose that much"):
        assess_frame(rows, ["roc_auc", "log_loss"], compare_on=["log_loss", "roc_auc"], margin=2)
    with pytest.raises(InvalidMeasurement, match="slice_margin is 1; nothing can lose"):
        assess_frame(rows, ["roc_auc"], compare_on=["roc_auc"], slices=SegmentRule(margin=1))
    with pytest.raises(ValueError, match="margin of accuracy is 1; nothing can lose"):
        compare(truth, truth, 1 - truth, "accuracy", margin=1)
    with pytest.raises(ValueError, match="decision_threshold is 50"):
        evaluate(truth, RNG.random(N), "accuracy", decision_threshold=50)
    own = {"log_loss": 2.0, "roc_auc": 0.1}
    assert (
        assess_frame(rows, ["roc_auc", "log_loss"], compare_on=["log_loss", "roc_auc"], margin=own).verdict is ModelVerdict.FAIL
    )


def test_assessment_without_criterion_is_unknown():
    truth = RNG.integers(0, 2, N)
    rows = frame(label=truth, predicted=RNG.random(N))
    alone = assess_frame(rows, ["roc_auc"])
    assert (alone.verdict, "there is no criterion" in alone.why) == (ModelVerdict.UNKNOWN, True)
    beside = assess_frame(rows.assign(champion=truth), ["roc_auc"], {"roc_auc": 0.1})
    assert (beside.verdict, "no metric to compare" in beside.why) == (ModelVerdict.UNKNOWN, True)
    assert assess_frame(rows, ["roc_auc"], {"roc_auc": 0.1}).verdict is ModelVerdict.PASS  # a first model


def test_compared_metrics_are_selected_by_default_or_name():
    metrics = find_metrics(["roc_auc", "accuracy", "throughput"])

    def on(thresholds: Any = (), asked: Any = None) -> tuple[str, ...]:
        return select_compared_metrics(metrics, thresholds=thresholds, compare_on=asked, champion=True)

    assert (on(), on(["throughput"]), on(["throughput", "accuracy"])) == (("roc_auc",), ("roc_auc",), ("accuracy",))
    assert on(["accuracy"], ["roc_auc"]) == ("roc_auc",)
    with pytest.raises(ValueError, match="throughput is not compared with a champion's"):
        on(asked=["roc_auc", "throughput"])
    with pytest.raises(ValueError, match="only latencies"):
        select_compared_metrics(find_metrics(["throughput"]), thresholds=(), compare_on=None, champion=True)
    with pytest.raises(InvalidMeasurement, match="throughput is not compared"):
        EvaluationPlan(metrics=metrics, compare_on=["throughput"])


def hit(truth: Any, predicted: Any) -> float:
    return float((truth == predicted).mean())


def test_function_without_direction_is_not_judged():
    known = {"loss": log_loss, "rmse": mean_squared_error, "accuracy": hit, "worst": max_error, "a": accuracy_score}
    found = {
        one.name: one.higher_is_better for one in find_metrics({**known, "f2": partial(fbeta_score, beta=2)}) if one.directed
    }
    assert found == {"loss": False, "rmse": False, "accuracy": True, "worst": False, "a": True, "f2": True}
    for undirected in ({"hit": hit}, {"accuracy": mean_squared_error}, {"neg_log": hit}, {"hit": lambda truth, predicted: 1.0}):
        (metric,) = find_metrics(undirected)
        assert not metric.directed
        with pytest.raises(ValueError, match="has no direction"):
            read_threshold(0.5, metric)
        with pytest.raises(ValueError, match="has no direction"):
            select_compared_metrics([metric], thresholds=(), compare_on=None, champion=True)
        with pytest.raises(InvalidMeasurement, match="has no direction"):
            EvaluationPlan(metrics=[metric], compare_on=[metric.name])
        assert select_compared_metrics([metric], thresholds=(), compare_on=None, champion=False)
    assert find_metric(hit, higher_is_better=False) == find_metrics([find_metric(hit, False)])[0]
    with pytest.raises(ValueError, match="has no direction"):
        compare([1], [1], [1], hit)


def test_loss_function_above_threshold_fails():
    truth = RNG.integers(0, 2, N)
    inverted = np.where(truth == 1, 0.01, 0.99)
    assert assess_frame(frame(label=truth, predicted=inverted), {"loss": log_loss}, {"loss": 0.5}).verdict is ModelVerdict.FAIL


@pytest.mark.filterwarnings("ignore:overflow")
def test_overflowing_comparison_is_unknown_and_serialisable():
    predicted = np.where(np.arange(N) == 0, 1e200, TRUTH)
    found = assess_frame(frame(label=TRUTH, predicted=predicted, champion=TRUTH), ["mse"], compare_on=["mse"], margin=0.1)
    assert (found.verdict, found.comparisons["mse"].delta) == (ModelVerdict.UNKNOWN, None)
    assert json.loads(to_json(found))["verdict"] == "unknown"


def test_csv_texts_na_and_none_are_values(tmp_path: Path):
    labels = ["None" if number % 10 == 0 else "NA" if number % 10 == 1 else "yes" for number in range(N)]
    rows = frame(label=labels, predicted="yes")
    rows.to_csv(tmp_path / "golden.csv", index=False)
    read = read_table(tmp_path / "golden.csv")
    assert read["label"].tolist() == labels
    assert assess_frame(read, ["accuracy"], {"accuracy": 0.9}, min_coverage=0.75).verdict is ModelVerdict.FAIL
    numbers = pd.DataFrame({"id": [1, 2, 3], "predicted": [0.5, None, float("nan")]})
    numbers.to_csv(tmp_path / "numbers.csv", index=False, na_rep="NaN")
    assert read_table(tmp_path / "numbers.csv")["predicted"].isna().tolist() == [False, True, True]


def test_unused_categories_are_not_unseen_labels():
    label = pd.Categorical(["a", "b"] * (N // 2))
    found = assess_frame(frame(label=label, predicted=list(label)), ["accuracy"], {"accuracy": 0.9}, labels=("a", "b"))
    assert (found.verdict, dict(found.unseen_labels)) == (ModelVerdict.PASS, {})


@pytest.mark.parametrize(
    "feature",
    [
        pd.array([pd.NA] * N, dtype="Int64"),
        pd.array([pd.NA] + ["a"] * (N - 1), dtype="string"),
        pd.Series([pd.NA] + ["a"] * (N - 1), dtype=object),
        pd.Series([np.array([1.0, 2.0])] * N, dtype=object),
    ],
    ids=["no integer", "text", "object", "embedding"],
)
def test_features_with_missing_values_or_lists_are_passed(feature):
    rows = frame(label=TRUTH, predicted=TRUTH, feature=feature)
    schema = Schema(ignored=("predicted",))
    named = make_golden_set(rows, schema).content_hash
    assert named == make_golden_set(rows.sample(frac=1, random_state=1), schema).content_hash
    assert named != make_golden_set(rows.assign(feature="b"), schema).content_hash


def test_column_of_lists_is_read_as_probabilities():
    truth = RNG.integers(0, 2, N)
    rows = frame(label=truth, predicted=pd.Series([[1.0 - one, float(one)] for one in truth], dtype=object))
    assert assess_frame(rows, ["accuracy", "roc_auc"]).estimates["accuracy"].value == 1
    rows.loc[0, "predicted"] = pd.Series([[0.5]], dtype=object)[0]
    with pytest.raises(InvalidMeasurement, match="lists that are not rows of numbers"):
        assess_frame(rows, ["accuracy"])


@pytest.mark.parametrize("twice", ["id", "label", "amount"])
def test_duplicate_column_names_are_rejected(twice):
    rows = frame(label=TRUTH, amount=TRUTH)
    with pytest.raises(InvalidMeasurement, match=f"more than one column '{twice}'"):
        make_golden_set(pd.concat([rows, rows[[twice]]], axis=1), Schema())


def test_weights_that_are_not_numbers_are_rejected():
    with pytest.raises(InvalidMeasurement, match="weights are not numbers"):
        assess_frame(
            frame(label=TRUTH, predicted=TRUTH, share="1,5"), ["rmse"], schema=Schema(weight="share", ignored=("predicted",))
        )


def test_missing_feature_is_named():
    golden = make_golden_set(frame(label=TRUTH, amount=TRUTH), Schema())
    assert list(golden.features(["amount"])) == ["amount"]
    with pytest.raises(InvalidMeasurement, match="no column 'amuont'; did you mean 'amount'"):
        golden.features(["amuont"])
    with pytest.raises(InvalidMeasurement, match="did you mean 'amount'"):
        predict_in_batches(golden, PredictionContext(), {"prediction": len}, 100, ["amuont"])


def test_area_of_few_positives_is_inconclusive():
    truth = np.r_[np.ones(5, dtype=int), np.zeros(400, dtype=int)]
    rows = pd.DataFrame({"id": range(405), "label": truth, "predicted": truth * 0.9 + 0.05, "champion": 0.5})
    found = assess_frame(rows, ["roc_auc"], {"roc_auc": 0.8}, compare_on=["roc_auc"], margin=0.1)
    assert (found.verdict, found.comparisons["roc_auc"].verdict) == (
        ModelVerdict.INCONCLUSIVE,
        ModelVerdict.INCONCLUSIVE,
    )
    assert "5 rows or groups of the rarer class are too few" in found.why


def test_custom_metric_is_resampled_by_whole_groups():
    queries, hotels = 200, 20
    relevant = np.random.default_rng(5).random(queries) < 0.87
    truth = np.zeros((queries, hotels), dtype=int)
    truth[:, 0] = relevant
    seen: set[bool] = set()

    def first_is_good(labels: np.ndarray, predicted: np.ndarray) -> float:
        shown = np.take_along_axis(labels.reshape(-1, hotels), predicted.reshape(-1, hotels).argmax(axis=1)[:, None], axis=1)
        seen.add(bool((np.sort(predicted.reshape(-1, hotels), axis=1) == np.arange(hotels)).all()))
        return float(shown.mean())

    predicted = np.tile(np.arange(hotels)[::-1].astype(float), queries)
    found = evaluate(truth.ravel(), predicted, {"mine": first_is_good}, groups=np.repeat(np.arange(queries), hotels))["mine"]
    assert seen == {True}
    assert found.n == queries
    half = 1.96 * np.sqrt(found.value * (1 - found.value) / queries)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.25)


def test_sklearn_names_are_aliases():
    assert find_metric(matthews_corrcoef).directed and find_metric(matthews_corrcoef).higher_is_better
    for name, base in (("brier_score_loss", "brier"), ("root_mean_squared_error", "rmse"), ("f1_score", "f1")):
        assert (find_metric(name).base, find_metric(name).name) == (base, name)
    with pytest.raises(ValueError, match="write 'log_loss', where lower is better"):
        find_metric("neg_log_loss")
