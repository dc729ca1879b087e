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
from airflow_slo_provider.evaluation.verdict.outcomes import Outcome
from airflow_slo_provider.evaluation.verdict.segments import SegmentRule
from airflow_slo_provider.evaluation.verdict.thresholds import read_threshold
from airflow_slo_provider.exceptions import InvalidMeasurement

N = 200
RNG = np.random.default_rng(3)
TRUTH = RNG.normal(10, 2, N)


def judged(
    rows: pd.DataFrame, metrics: Any, thresholds: dict[str, float] | None = None, *, schema: Schema | None = None, **plan: Any
) -> ModelAssessment:
    schema = schema or Schema(ignored=tuple(name for name in rows if name in ("said", "score", "champion")))
    made = find_metrics(metrics)
    limits = {one.name: read_threshold(thresholds[one.name], one) for one in made if one.name in (thresholds or {})}
    golden = make_golden_set(rows, schema)
    context = PredictionContext()
    score = "score" if "score" in rows else None
    champion = Column("champion").predict(golden, context) if "champion" in rows else None
    asked = EvaluationPlan(metrics=made, thresholds=limits, **{"replicates": 200, **plan})
    return assess(asked, golden, Column("said", score_column=score).predict(golden, context), champion)


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"id": range(N), **columns})


def test_the_decision_threshold_holds_for_two_columns_of_probabilities_too():
    truth = RNG.integers(0, 2, N)
    score = np.clip(truth * 0.3 + 0.35 + RNG.normal(0, 0.2, N), 0, 1)
    for cut in (0.5, 0.9):
        one = evaluate(truth, score, ["accuracy", "recall"], decision_threshold=cut)
        two = evaluate(truth, np.column_stack([1 - score, score]), ["accuracy", "recall"], decision_threshold=cut)
        assert {name: found.value for name, found in one.items()} == {name: found.value for name, found in two.items()}


@pytest.mark.parametrize("labels", [(0, 1), (1, 0)])
def test_the_greater_class_is_positive_in_whatever_order_they_are_known(labels):
    truth = RNG.integers(0, 2, N)
    inverted = np.clip(0.8 - truth * 0.6 + RNG.normal(0, 0.05, N), 0, 1)
    found = judged(frame(label=truth, said=inverted), ["roc_auc", "accuracy", "precision"], {"roc_auc": 0.9}, labels=labels)
    assert (found.verdict, found.estimates["roc_auc"].value, found.estimates["accuracy"].value) == (Outcome.FAIL, 0, 0)
    columns = np.column_stack([inverted, 1 - inverted] if labels == (0, 1) else [1 - inverted, inverted])
    for metric in ("roc_auc", "accuracy", "brier"):  # there their order is that of the columns
        right = evaluate(truth, 1 - inverted, metric)[metric].value
        assert evaluate(truth, columns, metric, labels=labels)[metric].value == pytest.approx(right)


def test_classes_of_different_kinds_have_no_greater_one():
    assert evaluate(["a", 1] * 50, np.linspace(0, 1, 100), "roc_auc", labels=("a", 1))["roc_auc"].status == "invalid"


def test_a_group_is_ranked_by_the_scores_beside_the_labels():
    truth = RNG.integers(0, 2, N)
    rows = frame(label=truth, query=np.repeat(range(20), 10), said=truth, score=-truth.astype(float))
    schema = Schema(group="query", ignored=("said", "score"))
    found = judged(rows, ["ndcg@10"], schema=schema).estimates["ndcg@10"].value
    assert found == pytest.approx(evaluate(truth, -truth, "ndcg@10", groups=rows["query"])["ndcg@10"].value)
    assert found < 0.9


@pytest.mark.parametrize("said", [["yes", "no"] * (N // 2), [[0.5, 0.5]] * N])
def test_a_group_cannot_be_ranked_by_what_is_no_number(said):
    rows = frame(label=1, query=np.repeat(range(20), 10), said=pd.Series(said, dtype=object))
    with pytest.raises(InvalidMeasurement, match="rows of a group are ranked"):
        judged(rows, ["ndcg@10"], schema=Schema(group="query", ignored=("said",)))


@pytest.mark.parametrize("champion", [False, True])
def test_rows_that_were_not_answered_count_for_rankings_only(champion):
    """A model without a clue that is silent about the easy rows has an area of 0.5, not the 0.63 of "all those are last"."""
    rng = np.random.default_rng(0)
    truth, said = (rng.random(2000) < 0.3).astype(int), rng.random(2000)
    rows = pd.DataFrame({"id": range(2000), "label": truth, "query": np.repeat(range(200), 10), "said": said, "region": "north"})
    rows.loc[(truth == 0) & (rng.random(2000) < 0.25), "said"] = np.nan
    options: dict[str, Any] = {"min_coverage": 0.8, "slices": SegmentRule(min_rows=100)}
    if champion:
        rows["champion"], options["compare_on"] = rng.random(2000), ["roc_auc", "ndcg@10"]
    apart = ("said", "champion")
    found = judged(rows, ["roc_auc", "ndcg@10"], schema=Schema(group="query", ignored=apart, segments=("region",)), **options)
    single = judged(
        rows, ["roc_auc"], schema=Schema(ignored=(*apart, "query")), **options | {"compare_on": ["roc_auc"] * champion}
    )
    assert found.estimates["roc_auc"].value == pytest.approx(single.estimates["roc_auc"].value)
    answered = {one.metric: one.rows for one in found.slices.shown}
    assert answered == {"roc_auc": rows["said"].notna().sum(), "ndcg@10": 2000}
    if champion:
        assert found.comparisons["roc_auc"].delta == pytest.approx(single.comparisons["roc_auc"].delta)
        assert found.comparisons["roc_auc"].method == "bootstrap"
        assert found.comparisons["ndcg@10"].n == found.estimates["ndcg@10"].n


def test_texts_in_groups_need_no_order_where_nothing_is_ranked():
    rows = frame(label=["yes", "no"] * (N // 2), query=np.repeat(range(40), 5), said="yes")
    found = judged(rows, ["accuracy"], {"accuracy": 0.3}, schema=Schema(group="query", ignored=("said",)))
    assert (found.estimates["accuracy"].value, found.estimates["accuracy"].n) == (0.5, 40)


def no_number(_truth: Any, _said: Any) -> Any:
    return None


def no_class(_truth: Any, _said: Any) -> float:
    raise ValueError("only one class")


def no_key(_truth: Any, _said: Any) -> float:
    return {}["cost"]


@pytest.mark.parametrize("function", [no_number, no_class, no_key, lambda truth, said: 1 / 0])
def test_a_metric_of_ones_own_that_fails_is_unknown_and_not_retried(function):
    found = judged(frame(label=TRUTH, said=TRUTH), {"mine": function})
    assert (found.verdict, found.estimates["mine"].value) == (Outcome.UNKNOWN, None)
    assert "mine raised" in found.why


@pytest.mark.parametrize("answer", ["0.9", True, np.True_, b"1"])
def test_a_metric_of_ones_own_that_returns_no_number_is_unknown(answer):
    def mine(_truth: Any, _said: Any) -> Any:
        return answer

    found = judged(frame(label=TRUTH, said=TRUTH), {"mine": mine})
    assert (found.verdict, found.estimates["mine"].value) == (Outcome.UNKNOWN, None)
    assert "not a number" in found.why


def test_a_metric_that_works_in_place_does_not_mend_what_comes_after_it():
    def forgiving(truth: Any, said: Any) -> float:
        said[said < 0] = truth[said < 0]
        return float(abs(truth - said).mean())

    said = np.where(np.arange(N) < 20, -500.0, TRUTH)
    found = judged(frame(label=TRUTH, said=said), {"forgiving": forgiving, "rmse": "rmse"}, {"rmse": 1.0})
    assert (found.verdict, found.estimates["rmse"].value) == (Outcome.FAIL, evaluate(TRUTH, said, "rmse")["rmse"].value)


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
def test_options_that_would_let_anything_pass_are_refused(options, why):
    with pytest.raises(InvalidMeasurement, match=why) as refused:
        judged(frame(label=TRUTH, said=TRUTH, champion=TRUTH), ["rmse"], **{"compare_on": ["rmse"], **options})
    assert not refused.value.transient


def test_a_margin_that_cannot_be_lost_is_refused():
    truth = RNG.integers(0, 2, N)
    rows = frame(label=truth, said=RNG.random(N), champion=truth * 0.9 + 0.05)
    with pytest.raises(InvalidMeasurement, match="margin of roc_auc is 2; nothing can lose that much"):
        judged(rows, ["roc_auc", "log_loss"], compare_on=["log_loss", "roc_auc"], margin=2)
    with pytest.raises(InvalidMeasurement, match="slice_margin is 1; nothing can lose"):
        judged(rows, ["roc_auc"], compare_on=["roc_auc"], slices=SegmentRule(margin=1))
    with pytest.raises(ValueError, match="margin of accuracy is 1; nothing can lose"):
        compare(truth, truth, 1 - truth, "accuracy", margin=1)
    with pytest.raises(ValueError, match="decision_threshold is 50"):
        evaluate(truth, RNG.random(N), "accuracy", decision_threshold=50)
    own = {"log_loss": 2.0, "roc_auc": 0.1}
    assert judged(rows, ["roc_auc", "log_loss"], compare_on=["log_loss", "roc_auc"], margin=own).verdict is Outcome.FAIL


def test_nothing_judged_is_no_pass():
    truth = RNG.integers(0, 2, N)
    rows = frame(label=truth, said=RNG.random(N))
    alone = judged(rows, ["roc_auc"])
    assert (alone.verdict, "there is no criterion" in alone.why) == (Outcome.UNKNOWN, True)
    beside = judged(rows.assign(champion=truth), ["roc_auc"], {"roc_auc": 0.1})
    assert (beside.verdict, "no metric to compare" in beside.why) == (Outcome.UNKNOWN, True)
    assert judged(rows, ["roc_auc"], {"roc_auc": 0.1}).verdict is Outcome.PASS  # a first model


def test_what_a_champion_is_compared_on():
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


def hit(truth: Any, said: Any) -> float:
    return float((truth == said).mean())


def test_a_function_says_which_way_is_better_or_judges_nothing():
    known = {"loss": log_loss, "rmse": mean_squared_error, "accuracy": hit, "worst": max_error, "a": accuracy_score}
    found = {
        one.name: one.higher_is_better for one in find_metrics({**known, "f2": partial(fbeta_score, beta=2)}) if one.directed
    }
    assert found == {"loss": False, "rmse": False, "accuracy": True, "worst": False, "a": True, "f2": True}
    for unsaid in ({"hit": hit}, {"accuracy": mean_squared_error}, {"neg_log": hit}, {"hit": lambda truth, said: 1.0}):
        (metric,) = find_metrics(unsaid)
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


def test_a_loss_that_is_a_function_must_stay_below_its_threshold():
    truth = RNG.integers(0, 2, N)
    inverted = np.where(truth == 1, 0.01, 0.99)
    assert judged(frame(label=truth, said=inverted), {"loss": log_loss}, {"loss": 0.5}).verdict is Outcome.FAIL


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_comparison_that_overflows_is_unknown_and_can_be_written():
    said = np.where(np.arange(N) == 0, 1e200, TRUTH)
    found = judged(frame(label=TRUTH, said=said, champion=TRUTH), ["mse"], compare_on=["mse"], margin=0.1)
    assert (found.verdict, found.comparisons["mse"].delta) == (Outcome.UNKNOWN, None)
    assert json.loads(to_json(found))["verdict"] == "unknown"


def test_the_texts_na_and_none_are_values_in_a_csv_file(tmp_path: Path):
    labels = ["None" if number % 10 == 0 else "NA" if number % 10 == 1 else "yes" for number in range(N)]
    rows = frame(label=labels, said="yes")
    rows.to_csv(tmp_path / "golden.csv", index=False)
    read = read_table(tmp_path / "golden.csv")
    assert read["label"].tolist() == labels
    assert judged(read, ["accuracy"], {"accuracy": 0.9}, min_coverage=0.75).verdict is Outcome.FAIL
    numbers = pd.DataFrame({"id": [1, 2, 3], "said": [0.5, None, float("nan")]})
    numbers.to_csv(tmp_path / "numbers.csv", index=False, na_rep="NaN")
    assert read_table(tmp_path / "numbers.csv")["said"].isna().tolist() == [False, True, True]


def test_a_categorical_label_names_only_what_occurs():
    label = pd.Categorical(["a", "b"] * (N // 2))
    found = judged(frame(label=label, said=list(label)), ["accuracy"], {"accuracy": 0.9}, labels=("a", "b"))
    assert (found.verdict, dict(found.unseen_labels)) == (Outcome.PASS, {})


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
def test_features_may_be_missing_or_lists(feature):
    rows = frame(label=TRUTH, said=TRUTH, feature=feature)
    schema = Schema(ignored=("said",))
    named = make_golden_set(rows, schema).content_hash
    assert named == make_golden_set(rows.sample(frac=1, random_state=1), schema).content_hash
    assert named != make_golden_set(rows.assign(feature="b"), schema).content_hash


def test_probabilities_may_stand_in_one_column_of_lists():
    truth = RNG.integers(0, 2, N)
    rows = frame(label=truth, said=pd.Series([[1.0 - one, float(one)] for one in truth], dtype=object))
    assert judged(rows, ["accuracy", "roc_auc"]).estimates["accuracy"].value == 1
    rows.loc[0, "said"] = pd.Series([[0.5]], dtype=object)[0]
    with pytest.raises(InvalidMeasurement, match="lists that are not rows of numbers"):
        judged(rows, ["accuracy"])


@pytest.mark.parametrize("twice", ["id", "label", "amount"])
def test_two_columns_of_one_name_are_refused(twice):
    rows = frame(label=TRUTH, amount=TRUTH)
    with pytest.raises(InvalidMeasurement, match=f"more than one column '{twice}'"):
        make_golden_set(pd.concat([rows, rows[[twice]]], axis=1), Schema())


def test_weights_must_be_numbers():
    with pytest.raises(InvalidMeasurement, match="weights are not numbers"):
        judged(frame(label=TRUTH, said=TRUTH, share="1,5"), ["rmse"], schema=Schema(weight="share", ignored=("said",)))


def test_a_feature_that_is_not_there_is_named():
    golden = make_golden_set(frame(label=TRUTH, amount=TRUTH), Schema())
    assert list(golden.features(["amount"])) == ["amount"]
    with pytest.raises(InvalidMeasurement, match="no column 'amuont'; did you mean 'amount'"):
        golden.features(["amuont"])
    with pytest.raises(InvalidMeasurement, match="did you mean 'amount'"):
        predict_in_batches(golden, PredictionContext(), {"prediction": len}, 100, ["amuont"])


def test_an_area_of_few_positives_decides_nothing():
    truth = np.r_[np.ones(5, dtype=int), np.zeros(400, dtype=int)]
    rows = pd.DataFrame({"id": range(405), "label": truth, "said": truth * 0.9 + 0.05, "champion": 0.5})
    found = judged(rows, ["roc_auc"], {"roc_auc": 0.8}, compare_on=["roc_auc"], margin=0.1)
    assert (found.verdict, found.comparisons["roc_auc"].verdict) == (Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE)
    assert "5 rows or groups of the rarer class are too few" in found.why


def test_a_metric_of_ones_own_sees_whole_groups_when_it_is_resampled():
    queries, hotels = 200, 20
    relevant = np.random.default_rng(5).random(queries) < 0.87
    truth = np.zeros((queries, hotels), dtype=int)
    truth[:, 0] = relevant
    seen: set[bool] = set()

    def first_is_good(labels: np.ndarray, said: np.ndarray) -> float:
        shown = np.take_along_axis(labels.reshape(-1, hotels), said.reshape(-1, hotels).argmax(axis=1)[:, None], axis=1)
        seen.add(bool((np.sort(said.reshape(-1, hotels), axis=1) == np.arange(hotels)).all()))
        return float(shown.mean())

    said = np.tile(np.arange(hotels)[::-1].astype(float), queries)
    found = evaluate(truth.ravel(), said, {"mine": first_is_good}, groups=np.repeat(np.arange(queries), hotels))["mine"]
    assert seen == {True}
    assert found.n == queries
    half = 1.96 * np.sqrt(found.value * (1 - found.value) / queries)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.25)


def test_scikit_learns_names_are_the_same_metrics():
    assert find_metric(matthews_corrcoef).directed and find_metric(matthews_corrcoef).higher_is_better
    for name, base in (("brier_score_loss", "brier"), ("root_mean_squared_error", "rmse"), ("f1_score", "f1")):
        assert (find_metric(name).base, find_metric(name).name) == (base, name)
    with pytest.raises(ValueError, match="write 'log_loss', where lower is better"):
        find_metric("neg_log_loss")
