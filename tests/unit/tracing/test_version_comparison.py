"""Comparison of model versions: a slower span is found, and no change is reported where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import false_discovery_control, mannwhitneyu

from airflow_slo_provider import tracing
from airflow_slo_provider.core.holm import holm
from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.tracing.analysis.comparison import p99_draws
from tests.support import acceptance
from tests.unit.tracing.simulated import own_times, requests

SPANS = ("feature_fetch", "cache_lookup", "model_inference", "post_process")


def test_compare_recorded_traces_v2_is_slower_in_model_inference():
    found = tracing.breakdown(json.loads(acceptance("traces", "otlp.json").read_text()))
    compared = tracing.compare(found)
    assert (compared.baseline, compared.candidate, compared.slower, compared.span) == ("v1", "v2", "v2", "model_inference")
    assert [change.changed for change in compared.changes] == ["slower", "", "", "", ""]
    guilty = compared.changes[0]
    assert guilty.p99_low < guilty.p99_delta < guilty.p99_high
    assert guilty.p99_low > 0
    assert "model_inference is slower since v2: p50 +12.3 ms, p99 +26 ms [" in compared.message
    back = tracing.compare(found, "v2", "v1")
    assert (back.slower, back.span, back.changes[0].changed) == ("v2", "model_inference", "faster")
    assert tracing.compare(found) == compared, "the same spans give the same interval"


@pytest.mark.parametrize("guilty", SPANS)
def test_compare_ten_percent_slower_span_is_found(guilty):
    spans = [*requests(0, count=2000, version="v1"), *requests(0, count=2000, version="v2", slower={guilty: 1.1})]
    compared = tracing.compare(tracing.breakdown(spans))
    assert (compared.slower, compared.span) == ("v2", guilty), compared


def test_compare_ten_percent_slower_is_found_200_times_of_200():
    for seed in range(200):
        guilty = SPANS[seed % len(SPANS)]
        compared = tracing.compare(own_times(seed, count=2000, slower={guilty: 1.1}))
        assert (compared.slower, compared.span) == ("v2", guilty), (seed, compared)


def test_compare_equal_versions_have_few_false_positives():
    accused = [tracing.compare(own_times(5000 + seed, count=2000)).slower is not None for seed in range(200)]
    # At 1 % of accusations, 10 of 200 would be a chance of 1 in 10,000.
    assert sum(accused) < 10


def test_compare_slower_tail_alone_is_found():
    rng = np.random.default_rng(1)
    found = own_times(3, count=5000)
    for key, samples in found.samples.items():
        if (key.span, key.version) == ("feature_fetch", "v2"):
            times = np.frombuffer(samples.selves, dtype=np.int64)
            times[rng.random(len(times)) < 0.02] *= 6  # 2 % of lookups miss the cache
    compared = tracing.compare(found)
    assert (compared.slower, compared.span, compared.changes[0].changed) == ("v2", "feature_fetch", "slower tail")
    assert "in its tail" in compared.message


def test_compare_change_below_the_minimum_is_ignored():
    compared = tracing.compare(own_times(1, count=200_000, slower={"model_inference": 1.005}))
    (change,) = (one for one in compared.changes if one.span == "model_inference")
    assert change.pvalue < 0.01
    assert (compared.slower, change.changed) == (None, "")


def test_compare_slow_child_does_not_affect_its_parent():
    spans = [*requests(1, count=500, version="v1"), *requests(1, count=500, version="v2", slower={"model_inference": 2.0})]
    compared = tracing.compare(tracing.breakdown(spans))
    assert {change.span: change.changed for change in compared.changes}["ml_prediction_request"] == ""


def test_compare_without_two_versions_raises_no_data():
    one = tracing.breakdown(requests(1, count=100, version="v1"))
    with pytest.raises(NoData, match="two versions are needed"):
        tracing.compare(one)
    few = tracing.breakdown([*requests(1, count=100, version="v1"), *requests(1, count=10, version="v2")])
    with pytest.raises(NoData, match="share no span with at least 30 values each"):
        tracing.compare(few)
    with pytest.raises(NoData, match="no spans of version v7; versions: v1, v2"):
        tracing.compare(few, "v7")


def test_compare_default_baseline_is_the_version_before():
    spans = [
        *requests(1, count=50, version="v1"),
        *requests(1, count=50, version="v2", begin=10_000),
        *requests(1, count=50, version="v3", begin=20_000),
    ]
    found = tracing.breakdown(spans)
    for asked, expected in (((None, None), ("v2", "v3")), ((None, "v2"), ("v1", "v2")), (("v1", None), ("v1", "v3"))):
        compared = tracing.compare(found, *asked)
        assert (compared.baseline, compared.candidate) == expected


def test_p99_draws_equal_a_plain_bootstrap():
    times = np.sort(np.random.default_rng(3).lognormal(0, 0.5, 800) * 1e6).astype(np.int64)
    quick = p99_draws(times, np.random.default_rng(1))
    drawn = np.random.default_rng(2).choice(times, (4000, len(times)))
    plain = np.quantile(drawn, 0.99, axis=1)
    for share in (0.025, 0.25, 0.5, 0.75, 0.975):
        assert np.quantile(quick, share) == pytest.approx(np.quantile(plain, share), rel=0.02)


def test_holm_follows_its_definition():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    many = list(np.random.default_rng(1).random(9))
    assert all(one >= other for one, other in zip(holm(many), false_discovery_control(many), strict=True))


def test_compare_p_value_is_scipys():
    found = own_times(9, count=300, slower={"post_process": 1.03})
    (old, new) = (
        found.samples[next(key for key in found.samples if (key.span, key.version) == ("post_process", version))].selves
        for version in ("v1", "v2")
    )
    expected = mannwhitneyu(list(new), list(old), alternative="two-sided", method="asymptotic")
    (change,) = (one for one in tracing.compare(found).changes if one.span == "post_process")
    assert change.probability == pytest.approx(expected.statistic / (300 * 300))
    assert change.pvalue >= expected.pvalue
