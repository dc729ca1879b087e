"""The whole verdict: thresholds, coverage, the champion, segments."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.dom import minidom

import numpy as np
import pytest

from airflow_slo_provider.evaluation.intervals.estimates import Estimate
from airflow_slo_provider.evaluation.metrics.metric_names import find_metric, find_metrics
from airflow_slo_provider.evaluation.report.assessment_json import to_dict, to_json
from airflow_slo_provider.evaluation.report.html import to_html
from airflow_slo_provider.evaluation.report.ledger_records import to_check_results, to_verdict
from airflow_slo_provider.evaluation.report.pushgateway_gauges import format_gauges
from airflow_slo_provider.evaluation.rows.predictions import Predictions
from airflow_slo_provider.evaluation.verdict.assessment import EvaluationPlan, ModelAssessment, assess
from airflow_slo_provider.evaluation.verdict.outcomes import ModelVerdict, worst
from airflow_slo_provider.evaluation.verdict.segments import SegmentRule
from airflow_slo_provider.evaluation.verdict.thresholds import Threshold, judge, read_threshold
from airflow_slo_provider.results import Verdict
from tests.unit.evaluation.builders import frame, golden, make_predictions, mislabel


def plan(metrics: Any = ("accuracy",), thresholds: dict[str, float] | None = None, **more: Any) -> EvaluationPlan:
    limits = {name: Threshold(value) for name, value in (thresholds or {}).items()}
    return EvaluationPlan(metrics=find_metrics(list(metrics)), thresholds=limits, replicates=300, **more)


def of(value: float | None, low: float | None, high: float | None, metric: str = "accuracy", **more: Any) -> Estimate:
    better = find_metric(metric).higher_is_better
    return Estimate(metric=metric, value=value, low=low, high=high, n=1000, method="wilson", higher_is_better=better, **more)


def parts(found: ModelAssessment) -> dict[str, str]:
    return {part.name: part.verdict.value for part in found.parts}


@pytest.mark.parametrize(
    ("estimate", "threshold", "interval", "value"),
    [
        (of(0.93, 0.91, 0.95), Threshold(0.90), "pass", "pass"),
        (of(0.92, 0.89, 0.94), Threshold(0.90), "inconclusive", "pass"),
        (of(0.88, 0.86, 0.91), Threshold(0.90), "inconclusive", "fail"),
        (of(0.80, 0.78, 0.82), Threshold(0.90), "fail", "fail"),
        (of(0.93, 0.91, 0.95), Threshold(0.90, warn=0.94), "warn", "warn"),
        (of(0.93, 0.91, 0.95), Threshold(0.91), "pass", "pass"),
        (of(1.0, 0.8, 1.2, "rmse"), Threshold(1.5), "pass", "pass"),
        (of(1.0, 0.8, 1.2, "rmse"), Threshold(1.1), "inconclusive", "pass"),
        (of(1.0, 0.8, 1.2, "rmse"), Threshold(0.7), "fail", "fail"),
        (of(1.0, 0.8, 1.2, "rmse"), Threshold(1.5, warn=0.9), "warn", "warn"),
        (of(None, None, None), Threshold(0.0), "unknown", "unknown"),
        (of(float("nan"), 0.0, 1.0), Threshold(0.0), "unknown", "unknown"),
        (of(0.5, None, None), Threshold(0.1), "inconclusive", "pass"),
    ],
)
def test_estimate_against_threshold_is_judged_by_interval(
    estimate: Estimate, threshold: Threshold, interval: str, value: str
) -> None:
    assert judge(estimate, threshold)[0] == interval
    assert judge(estimate, threshold, decide_on="value")[0] == value


def test_bootstrap_interval_of_few_rows_is_inconclusive() -> None:
    few = Estimate(metric="f1", value=1.0, low=0.99, high=1.0, n=12, method="bootstrap")
    assert judge(few, Threshold(0.5)) == (
        ModelVerdict.INCONCLUSIVE,
        "12 rows or groups are too few for an interval: 30 are needed",
    )
    assert judge(few, Threshold(0.5), min_rows=10)[0] == "pass"


def test_threshold_written_in_a_dag_is_read_or_rejected() -> None:
    assert read_threshold({"fail": 0.9, "warn": "0.92"}, find_metric("accuracy")) == Threshold(0.9, 0.92)
    assert read_threshold("0.9", find_metric("accuracy")) == Threshold(0.9)
    for value in ("much", True, float("nan"), {"warn": 1}, {"fail": 1, "wran": 2}, {"fail": 0.9, "warn": 0.8}):
        with pytest.raises(ValueError, match="accuracy"):
            read_threshold(value, find_metric("accuracy"))
    for value in (Threshold(float("nan")), Threshold(0.9, float("nan")), Threshold(float("inf"))):
        for metric in ("accuracy", "rmse"):
            with pytest.raises(ValueError, match=f"threshold of {metric} is (nan|inf), not a number"):
                read_threshold(value, find_metric(metric))
    for metric, value in (("brier", 20), ("roc_auc", -1), ("ndcg@10", 1.5), ("recall", {"fail": 0.9, "warn": 90})):
        with pytest.raises(ValueError, match="write a number from 0 to 1"):
            read_threshold(value, find_metric(metric))
    assert read_threshold(-3, find_metric("r2")) == Threshold(-3)
    with pytest.raises(ValueError, match="must lie below"):
        read_threshold({"fail": 1.0, "warn": 2.0}, find_metric("rmse"))


def test_worst_outcome_without_parts_is_unknown() -> None:
    assert worst([]) is ModelVerdict.UNKNOWN
    assert worst([ModelVerdict.PASS, ModelVerdict.INCONCLUSIVE, ModelVerdict.WARN]) is ModelVerdict.INCONCLUSIVE
    assert [to_verdict(one) for one in ModelVerdict] == [
        Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN, Verdict.UNKNOWN,
    ]  # fmt: skip


@pytest.mark.parametrize(("share", "verdict"), [(0.02, "pass"), (0.095, "inconclusive"), (0.11, "inconclusive"), (0.25, "fail")])
def test_candidate_against_threshold_is_judged(share: float, verdict: str) -> None:
    rows = frame(2000)
    flip = np.arange(2000) < share * 2000
    found = assess(
        plan(thresholds={"accuracy": 0.9}), golden(rows), make_predictions(rows, np.where(flip, 1 - rows["label"], rows["label"]))
    )
    assert found.verdict == verdict
    assert parts(found) == {"coverage": "pass", "accuracy": verdict}


def test_coverage_below_minimum_is_unknown() -> None:
    rows = frame(100)
    half = rows.iloc[:50]
    found = assess(plan(thresholds={"accuracy": 0.5}), golden(rows), make_predictions(half, half["label"]))
    assert (found.verdict, parts(found)["coverage"]) == ("unknown", "unknown")
    assert "50 of 100 rows have a label and a prediction" in found.why
    assert "no prediction for 50 ids, e.g. r00050" in found.why
    allowed = assess(plan(thresholds={"accuracy": 0.5}, min_coverage=0.5), golden(rows), make_predictions(half, half["label"]))
    assert allowed.verdict == "pass"
    none = assess(plan(thresholds={"accuracy": 0.5}, min_coverage=0.001), golden(rows), make_predictions(rows.iloc[:0], []))
    assert none.verdict == "unknown"


def test_nan_prediction_counts_as_uncovered_row() -> None:
    rows = frame(100)
    score = rows["label"].astype(float).to_numpy(copy=True)
    score[3] = np.nan
    found = assess(plan(["roc_auc"], {"roc_auc": 0.5}), golden(rows), make_predictions(rows, score))
    assert (found.verdict, parts(found)["coverage"]) == ("unknown", "unknown")


def test_requested_metric_without_value_is_unknown() -> None:
    rows = frame(100).assign(label=1)
    found = assess(plan(["accuracy", "roc_auc"], {"accuracy": 0.5}), golden(rows), make_predictions(rows, np.ones(100)))
    assert (found.verdict, parts(found)["roc_auc"]) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("candidate", "champion", "margin", "verdict"),
    [(0.02, 0.10, 0.0, "pass"), (0.10, 0.10, 0.0, "inconclusive"), (0.20, 0.05, 0.0, "fail"), (0.05, 0.05, 0.05, "pass")],
)
def test_candidate_against_champion_is_judged(candidate: float, champion: float, margin: float, verdict: str) -> None:
    rows = frame(2000)
    found = assess(
        plan(compare_on=["accuracy"], margin=margin), golden(rows),
        make_predictions(rows, mislabel(rows["label"], candidate)),
        make_predictions(rows, mislabel(rows["label"], champion, seed=2)),
    )  # fmt: skip
    assert found.comparisons["accuracy"].verdict == found.verdict == verdict
    assert found.comparisons["accuracy"].method == "mcnemar"


@pytest.mark.parametrize(("names", "score"), [(["accuracy"], False), (["f1"], False), (["roc_auc"], True)])
def test_identical_predictions_have_their_own_reason(names: list[str], score: bool) -> None:
    rows = frame(2000)
    one, other = mislabel(rows["label"], 0.1), mislabel(rows["label"], 0.1, seed=2)
    if score:
        one, other = one * 0.5 + 0.1, other * 0.5 + 0.1
    same = assess(plan(names, compare_on=names), golden(rows), make_predictions(rows, one), make_predictions(rows, one))
    assert same.verdict == "inconclusive"
    assert "both models predict the same on every row" in same.why
    assert "more rows" not in same.why
    near = assess(plan(names, compare_on=names), golden(rows), make_predictions(rows, one), make_predictions(rows, other))
    assert (near.verdict, "more rows are needed" in near.why) == ("inconclusive", True)


def test_champion_is_compared_on_rows_that_both_answered() -> None:
    rows = frame(400)
    champion = make_predictions(rows.iloc[:390], rows["label"][:390])
    found = assess(
        plan(compare_on=["accuracy"], min_coverage=0.9),
        golden(rows),
        make_predictions(rows, mislabel(rows["label"], 0.1)),
        champion,
    )
    assert found.comparisons["accuracy"].n == 390
    assert found.estimates["accuracy"].n == 400
    strict = assess(plan(compare_on=["accuracy"]), golden(rows), make_predictions(rows, rows["label"]), champion)
    assert parts(strict)["champion's coverage"] == "unknown"


def test_pvalues_of_several_comparisons_are_adjusted() -> None:
    rows = frame(600)
    names = ["accuracy", "f1", "balanced_accuracy", "precision", "recall"]
    found = assess(
        plan(names, compare_on=names), golden(rows),
        make_predictions(rows, mislabel(rows["label"], 0.10)), make_predictions(rows, mislabel(rows["label"], 0.13, seed=2)),
    )  # fmt: skip
    assert all(found.pvalues[name] >= (found.comparisons[name].pvalue or 0) for name in names)
    assert found.verdict != "pass"


def bad_in_the_south(rows: Any) -> np.ndarray:
    """Better on the whole, worse for a segment."""
    south = (rows["region"] == "south").to_numpy()
    return np.where(south, mislabel(rows["label"], 0.25), rows["label"].to_numpy())


def test_losing_segment_fails_the_assessment() -> None:
    rows = frame(3000)
    rule = SegmentRule(margin=0.02, min_rows=200)
    champion = make_predictions(rows, mislabel(rows["label"], 0.12, seed=3))
    found = assess(
        plan(compare_on=["accuracy"], slices=rule), golden(rows), make_predictions(rows, bad_in_the_south(rows)), champion
    )
    assert found.comparisons["accuracy"].delta < 0.05
    assert (found.verdict, parts(found)["segment region=south"]) == ("fail", "fail")
    assert {one.name: one.verdict.value for one in found.slices.judged} == {"region=north": "pass", "region=south": "fail"}


def test_small_segments_are_counted_and_null_is_a_segment() -> None:
    rows = frame(1000)
    rows.loc[:20, "region"] = "island"
    rows.loc[21:500, "region"] = None
    rule = SegmentRule(margin=0.02, min_rows=200)
    found = assess(
        plan(compare_on=["accuracy"], slices=rule),
        golden(rows),
        make_predictions(rows, rows["label"]),
        make_predictions(rows, rows["label"]),
    )
    assert [one.name for one in found.slices.judged] == ["region=(null)", "region=north"]
    assert found.slices.too_small == 2
    assert parts(found)["segments"] == "pass"
    assert any("2 more are too small" in part.why for part in found.parts)


@pytest.mark.parametrize("champion", [True, False])
def test_segments_all_too_small_warn(champion) -> None:
    """They were asked for, and none was looked at: that is no plain pass."""
    rows = frame(1000)
    asked = plan(thresholds={"accuracy": 0.5}, compare_on=["accuracy"], slices=SegmentRule(min_rows=900))
    right = make_predictions(rows, rows["label"])
    found = assess(asked, golden(rows), right, make_predictions(rows, mislabel(rows["label"], 0.2)) if champion else None)
    assert (found.verdict, parts(found)["segments"]) == ("warn", "warn")
    assert "none of 2 has the required 900 rows" in found.why
    assert to_dict(found)["segments_too_small"] == 2


def test_segments_without_measurable_metric_warn() -> None:
    rows = frame(1000)
    timed = Predictions(
        ids=rows["id"].to_numpy(), prediction=rows["label"].to_numpy(), latencies=np.full(1000, 0.01), seconds=10.0
    )
    found = assess(plan(["latency_p50"], {"latency_p50": 0.1}, slices=SegmentRule()), golden(rows), timed)
    assert (found.verdict, parts(found)["segments"]) == ("warn", "warn")


def test_equal_segments_rarely_fail() -> None:
    failed = 0
    for seed in range(40):
        rows = frame(4000, seed=seed)
        rows["region"] = np.random.default_rng(seed).integers(0, 15, 4000).astype(str)
        one, two = (make_predictions(rows, mislabel(rows["label"], 0.1, seed=1000 * part + seed)) for part in (1, 2))
        found = assess(plan(compare_on=["accuracy"], margin=0.05, slices=SegmentRule(margin=0.0)), golden(rows), one, two)
        failed += found.verdict == "fail"
    assert failed <= 5  # 5 % of 40, and a binomial's luck


def test_label_unseen_in_training_is_reported() -> None:
    rows = frame(500).astype({"label": object})
    rows["label"] = np.where(rows["label"] == 1, "cat", "dog")
    rows.loc[:9, "label"] = "axolotl"
    found = assess(
        plan(thresholds={"accuracy": 0.9}, labels=("cat", "dog")),
        golden(rows),
        make_predictions(rows, rows["label"].replace("axolotl", "cat")),
    )
    assert found.unseen_labels == {"axolotl": 10}
    assert (found.verdict, parts(found)["labels"]) == ("warn", "warn")
    assert found.estimates["accuracy"].value == pytest.approx(0.98)


def full() -> ModelAssessment:
    rows = frame(1000)
    score = np.clip(rows["label"] * 0.4 + np.random.default_rng(2).random(1000) * 0.6, 0, 1)
    other = np.clip(rows["label"] * 0.3 + np.random.default_rng(3).random(1000) * 0.7, 0, 1)
    asked = plan(
        ["accuracy", "roc_auc", "log_loss"],
        {"accuracy": 0.7},
        compare_on=["roc_auc", "log_loss"],
        slices=SegmentRule(margin=0.05),
    )
    return assess(asked, golden(rows), make_predictions(rows, score), make_predictions(rows, other))


def test_check_results_of_an_assessment_are_complete() -> None:
    found = full()
    checks = to_check_results(found, "fraud", model_version="7", evidence={"report": "file:///r.html"})
    assert [one.name for one in checks][:4] == ["fraud", "fraud/coverage", "fraud/champion's coverage", "fraud/accuracy"]
    whole, coverage, accuracy = checks[0], checks[1], checks[3]
    assert (whole.verdict, whole.evidence["outcome"]) == (to_verdict(found.verdict), found.verdict.value)
    assert whole.evidence["report"] == "file:///r.html"
    assert (coverage.good, coverage.total, coverage.target) == (1000, 1000, 1.0)
    assert (accuracy.value, accuracy.target, accuracy.op) == (found.estimates["accuracy"].value, 0.7, "gte")
    loss = next(one for one in checks if one.name == "fraud/log_loss vs champion")
    assert (loss.value, loss.op) == (found.comparisons["log_loss"].delta, "lte")
    assert len({one.name for one in checks}) == len(checks)
    assert all(json.dumps(one.to_dict(), allow_nan=False) for one in checks)


def test_inconclusive_assessment_is_recorded_as_unknown() -> None:
    rows = frame(100)
    found = assess(plan(thresholds={"accuracy": 0.9}), golden(rows), make_predictions(rows, mislabel(rows["label"], 0.08)))
    check = to_check_results(found, "x")[0]
    assert (found.verdict, check.verdict, check.evidence["outcome"]) == ("inconclusive", Verdict.UNKNOWN, "inconclusive")


def test_reports_of_an_assessment_are_complete() -> None:
    found = full()
    data = json.loads(to_json(found))
    assert data["metrics"]["roc_auc"]["value"] == found.estimates["roc_auc"].value
    assert data["comparisons"]["log_loss"]["verdict"] == found.comparisons["log_loss"].verdict
    assert {one["name"] for one in data["segments"]} == {"region=north", "region=south"}
    page = to_html(found, "fraud <script>alert(1)</script>")
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is loaded from elsewhere
    for title in ("ROC curve", "Precision and recall", "Calibration", "Gain over the champion", "Segments"):
        assert title in page
    for drawing in page.split("<svg")[1:]:
        minidom.parseString("<svg" + drawing.split("</svg>")[0] + "</svg>")


def test_reports_of_regression_and_of_no_metric_are_written() -> None:
    rows = frame(300).assign(label=np.random.default_rng(0).normal(size=300))
    asked = plan(["rmse"], {"rmse": 2.0})
    assert "Residuals of the candidate" in to_html(assess(asked, golden(rows), make_predictions(rows, rows["label"] + 0.5)), "x")
    empty = assess(asked, golden(rows), make_predictions(rows.iloc[:0], []))
    assert "unknown" in to_html(empty, "x")
    assert to_dict(empty)["verdict"] == "unknown"
    json.loads(to_json(empty))


def test_gauges_hold_values_bounds_and_verdict() -> None:
    text = format_gauges(full(), at=1.5)
    assert 'golden_set_metric{metric="accuracy",bound="low"}' in text
    assert len(re.findall(r'^golden_set_verdict\{verdict="\w+"\} 1\.0$', text, re.MULTILINE)) == 1
    assert "golden_set_coverage_ratio 1.0\n" in text
    assert "golden_set_evaluated_timestamp_seconds 1.5\n" in text
