"""By which labels a query is divided into series, and which queries find every group with events."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from airflow_slo_provider.slo.model import MetricSource, RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.event_queries import event_queries
from airflow_slo_provider.slo.promql.reading.quantities import WrongGrouping
from airflow_slo_provider.slo.promql.result_labels import check_grouping, common_labels, dividing_labels

W = "[{{.window}}]"


def prometheus(query: str) -> MetricSource:
    return MetricSource("Prometheus", None, query)


def ratio(bad: str, total: str, *, declared: bool = False) -> RatioMetric:
    return RatioMetric(bad=prometheus(bad), total=prometheus(total), declares_events=declared)


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("x", None),
        ("5", ""),
        ("time()", ""),
        ("pi()", ""),
        ("scalar(x)", ""),
        ("vector(scalar(sum by (a) (x)))", ""),
        ("sum(x)", ""),
        ("sum by (a, b) (x)", "a b"),
        ("-sum by (a) (x)", "a"),
        ("max_over_time(sum by (a) (x)[5m:1m])", "a"),
        ("sum without (a) (x)", None),
        ("topk(3, sum by (a) (x))", "a"),
        ("topk by (b) (3, sum by (a) (x))", "a"),
        ("bottomk(3, x)", None),
        ("count_values('v', x)", None),
        ("quantile by (a) (0.9, x)", "a"),
        ("rate(x[5m])", None),
        ("abs(sum by (a) (x))", "a"),
        ("clamp_min(sum by (a) (x), 2)", "a"),
        ("histogram_quantile(0.9, sum by (a, le) (rate(x_bucket[5m])))", "a"),
        ("histogram_quantile(0.9, x)", None),
        ("histogram_sum(sum by (a, le) (x))", "a le"),
        ("label_replace(sum by (a) (x), 'b', '$1', 'a', '(.*)')", None),
        ("label_join(sum by (a) (x), 'b', '-', 'a')", None),
        ("absent(sum by (a) (x))", None),
        ("2 * sum by (a) (x)", "a"),
        ("sum by (a) (x) / 2", "a"),
        ("sum by (a) (x) / sum by (a) (y)", "a"),
        ("sum by (a) (x) / sum by (b) (y)", None),
        ("sum by (a) (x) / on (a) sum by (a) (y)", None),
        ("sum by (a) (x) and on () max(y)", "a"),
        ("sum by (a) (x) unless on () max(y)", "a"),
        ("sum by (a) (x) or vector(0)", "a"),
        ("sum by (a) (x) or sum by (b) (y)", None),
        ('sum by (a, b) (x{a="1"})', "b"),
        ('sum by (a, b) (x{a=~"1"})', "a b"),
        ('sum by (a, b) (x{a=""})', "a b"),
        ('sum by (a, b) (x{a="1"}) / sum by (a, b) (y{a="1"})', "b"),
        ('sum by (a, b) (x{a="1"}) / sum by (a, b) (y{a="2"})', "a b"),
        ('sum by (a, b) (x{a="1"}) / sum by (a, b) (y)', "a b"),
        ("sum by (a (x)", None),
    ],
)
def test_labels_that_divide_a_query(query: str, labels: str | None) -> None:
    assert dividing_labels(query) == (None if labels is None else set(labels.split()))


@pytest.mark.parametrize(
    ("bad", "total", "labels"),
    [
        ("sum by (b, a) (x)", "sum by (a, b) (y)", ("a", "b")),
        ("sum by (a) (x)", "sum by (a, b) (y)", ()),
        ("sum(x)", "sum(y)", ()),
        ("x", "y", ()),
        ("sum by (a) (x)", "y", ()),
    ],
)
def test_labels_of_an_indicator_are_those_of_all_its_queries(bad: str, total: str, labels: tuple[str, ...]) -> None:
    assert common_labels(ratio(bad, total)) == labels


@pytest.mark.parametrize(
    ("total", "labels", "shown"),
    [
        ("sum(y)", ["a"], "has one series, and the SLO is evaluated by a; write sum by (a) (...)"),
        ("sum by (b, a) (y)", ["a"], "is divided by a, b, and the SLO is evaluated by a"),
        ("sum by (a) (y)", ["a", "b"], "is divided by a, and the SLO is evaluated by a, b; write sum by (a, b) (...)"),
        ('sum by (a, b) (y{b="1"})', ["a"], ""),
        ('sum by (a, b) (y{b="1"})', ["a", "b"], ""),
        ("sum by (a) (y)", ["a"], ""),
        ("y", ["a"], ""),
        ("sum by (a (y)", ["a"], ""),
    ],
)
def test_query_divided_by_other_labels_is_refused(total: str, labels: Sequence[str], shown: str) -> None:
    for metric, role in (
        (ratio(f"sum by ({','.join(labels)}) (x)", total), "total"),
        (ThresholdMetric(prometheus(total)), "query"),
    ):
        if shown:
            with pytest.raises(WrongGrouping, match=re.escape(f"{role}: the result {shown}")) as caught:
                check_grouping(metric, labels)
            assert caught.value.reason == "wrong_grouping"
        else:
            check_grouping(metric, labels)


@pytest.mark.parametrize(
    ("bad", "total", "queries"),
    [
        (
            f"sum by (a) (increase(x{W}))",
            f"sum by (a) (rate(y{W}))",
            [f"sum by (a) (increase(x{W}))", f"sum by (a) (increase(y{W}))"],
        ),
        (
            f"sum by (a) (changes(x{W}))",
            f"sum by (a) (changes(y{W})) + sum by (a) (changes(x{W}))",
            [f"count by (a) (present_over_time(x{W}))", f"count by (a) (present_over_time(y{W}))"],
        ),
        (
            f"sum by (a) (increase(x{W})) unless on () (max_over_time(m[5m]) > 0)",
            f"sum by (a) (increase(y{W})) and on () up",
            [f"sum by (a) (increase(x{W}))", f"sum by (a) (increase(y{W}))"],
        ),
        (
            "sum_over_time((sum by (a) (irate(x[5m])) > bool 1)[{{.window}}:1m])",
            "count_over_time(sum by (a) (irate(x[5m]))[{{.window}}:1m])",
            [f"sum by (a) (increase(x{W}))"],
        ),
        (
            f"sum by (a) (increase(x{W}) * on (b) group_left () info)",
            f"sum by (a) (increase(y{W}) * on (b) group_left () info)",
            [f"sum by (a) (increase(x{W}))", f"sum by (a) (increase(y{W}))"],
        ),
        ("sum by (a) (x:rate{{.window}})", "sum by (a) (y:rate{{.window}})", []),
        (
            f'sum by (a) (label_replace(increase(x{W}), "a", "$1", "b", "(.*)"))',
            f'sum by (a) (label_replace(increase(y{W}), "a", "$1", "b", "(.*)"))',
            [],
        ),
        (
            f'sum by (a) (label_join(increase(x{W}), "a", "-", "b"))',
            f'sum by (a) (label_join(increase(y{W}), "a", "-", "b"))',
            [],
        ),
    ],
    ids=["counters", "samples", "conditions", "points", "joins", "recorded", "replaced", "joined"],
)
def test_groups_with_events_are_found_by_each_selector(bad: str, total: str, queries: list[str]) -> None:
    assert list(event_queries(ratio(bad, total), ["a"])) == queries


def test_groups_of_declared_counts_are_not_queried() -> None:
    assert event_queries(ratio(f"increase_pure(x{W})", f"sum by (a) (increase(y{W}))", declared=True), ["a"]) == ()


def test_groups_of_a_threshold_are_those_of_its_samples() -> None:
    found = event_queries(ThresholdMetric(prometheus("-max by (a) (max_over_time(x[5m]))")), ["a"])
    assert found == (f"count by (a) (present_over_time(x{W}))",)


@pytest.mark.parametrize(
    ("bad", "total", "shown"),
    [
        ('version="v1"', "", 'bad: version="v1" chooses values'),
        ('version=~"v1|v2"', "", "bad: version=~"),
        ('version!="v1"', 'version!="v2"', 'bad: version!="v1" chooses values'),
        ('version!="v1"', 'version!="v1"', ""),
        ('version!=""', "", ""),
        ('version=~".+"', "", ""),
        ('code=~"5.."', "", ""),
        ("", 'version="v1"', ""),
    ],
)
def test_failures_are_those_of_the_groups_that_the_total_has(bad: str, total: str, shown: str) -> None:
    metric = ratio(
        *(f"sum by (version) (increase({name}{{{matcher}}}[{{{{.window}}}}]))" for name, matcher in (("e", bad), ("a", total)))
    )
    if not shown:
        check_grouping(metric, ("version",))
        return
    with pytest.raises(WrongGrouping) as caught:
        check_grouping(metric, ("version",))
    assert shown in str(caught.value)
