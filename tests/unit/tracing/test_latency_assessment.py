"""Latency budgets, symptoms and the report; missing data is never a pass."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest

from airflow_slo_provider import tracing
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.tracing.analysis.assessment import DEFAULT_BUDGETS, LatencyRules, assess, read_budgets, summary
from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown
from airflow_slo_provider.tracing.analysis.symptoms import diagnose, spearman
from airflow_slo_provider.tracing.report.html import to_html
from airflow_slo_provider.tracing.spans import Span
from tests.support import acceptance
from tests.unit.tracing.builders import MS, T0, span
from tests.unit.tracing.simulated import requests


@pytest.fixture(scope="module")
def recorded() -> LatencyBreakdown:
    return tracing.breakdown(json.loads(acceptance("traces", "otlp.json").read_text()))


def verdicts(found: LatencyBreakdown, **rules: object) -> dict[str, str]:
    assessment = assess(found, LatencyRules(**{"fewest": 30, **rules}), service="s")
    return {check.name.removeprefix("s/"): check.verdict.value for check in assessment.checks}


def test_assess_without_budgets_uses_the_defaults(recorded):
    assert verdicts(recorded) == {
        "ml_prediction_request/p50": "fail",
        "ml_prediction_request/p99": "fail",
        "feature_fetch/p99": "fail",
        "cache_lookup/p99": "warn",
        "model_inference/p99": "fail",
        "post_process/p99": "warn",
    }
    assert set(DEFAULT_BUDGETS["ml_prediction_request"]) == {"p50", "p99"}


def test_assess_creates_one_check_per_tier(recorded):
    interval = (datetime(2026, 11, 23, 21, tzinfo=UTC), datetime(2026, 11, 23, 22, tzinfo=UTC))
    compared = tracing.compare(recorded)
    assessment = assess(recorded, LatencyRules(fewest=30), service="s", comparison=compared, interval=interval)
    assert (assessment.verdict, assessment.version) == (Verdict.FAIL, "v2")
    p50, p99 = assessment.checks[:2]
    assert (p50.kind, p50.name, p50.unit, p50.op, p50.target) == (
        "latency",
        "s/ml_prediction_request/p50",
        "seconds",
        "lte",
        0.05,
    )
    assert p99.value == recorded.row("ml_prediction_request", "v2").p99
    assert (p50.good, p50.total) == (7, 80), "a history of these is itself an indicator"
    assert (p50.model_version, p50.interval_start, p50.interval_end) == ("v2", *interval)
    version = assessment.checks[-1]
    assert (version.name, version.verdict) == ("s/version", Verdict.WARN)
    assert version.evidence["span"] == "model_inference"
    assert len({check.name for check in assessment.checks}) == len(assessment.checks)
    for check in assessment.checks:
        assert CheckResult.from_dict(json.loads(json.dumps(check.to_dict()))) == check
    small = summary(assessment, service="s", report="/r.html")
    assert len(json.dumps(small)) < 3000
    assert (small["verdict"], small["slower"], small["span"], small["traces"]) == ("fail", "v2", "model_inference", 240)


def test_assess_span_in_several_services_is_checked_in_each():
    spans = []
    for number in range(100):
        trace, at = f"t{number}", number * 1000.0
        spans += [
            span("ml_prediction_request", at, at + 90, trace=trace, version="8"),
            span("feature_fetch", at, at + 15, "ml_prediction_request", trace=trace),
            span("model_inference", at + 15, at + 85, "ml_prediction_request", trace=trace),
            span("feature_fetch", at, at + 80, "ml_prediction_request", trace=trace, key="cache", service="cache"),
        ]
    found = tracing.breakdown(spans)
    assert verdicts(found, budgets={"feature_fetch": {"p99": 0.02}, "model_inference": {"p99": 0.1}}) == {
        "feature_fetch/server/p99": "pass",
        "feature_fetch/cache/p99": "fail",
        "model_inference/p99": "pass",
    }
    assert assess(found, LatencyRules(budgets={"feature_fetch": {"p99": 0.02}}), service="s").verdict is Verdict.FAIL


def test_assess_within_near_and_over_budget(recorded):
    p99 = recorded.row("model_inference", "v2").p99
    budgets = {"model_inference": {"p99": p99}}
    assert verdicts(recorded, budgets=budgets, warn_at=1.0) == {"model_inference/p99": "warn"}
    assert verdicts(recorded, budgets={"model_inference": {"p99": p99 / 0.89}}) == {"model_inference/p99": "pass"}
    assert verdicts(recorded, budgets={"model_inference": {"p99": p99 * 0.9999}}) == {"model_inference/p99": "fail"}


def test_assess_missing_data_is_unknown(recorded):
    generous = {"model_inference": {"p99": 10.0}}
    assert verdicts(recorded, budgets=generous) == {"model_inference/p99": "pass"}
    assert verdicts(recorded, budgets=generous, fewest=81) == {"model_inference/p99": "unknown"}
    assert verdicts(replace(recorded, truncated=True), budgets=generous) == {"model_inference/p99": "unknown"}
    assert verdicts(replace(recorded, truncated=True), budgets=generous, allow_truncated=True) == {"model_inference/p99": "pass"}
    assert verdicts(recorded, budgets={**generous, "gone": {"p99": 1.0}})["gone/p99"] == "unknown"
    assert verdicts(tracing.breakdown([])) == {"traces": "unknown"}
    assert verdicts(tracing.breakdown([span("other", 0, 1)])) == {"budgets": "unknown"}
    nothing = assess(tracing.breakdown([]), LatencyRules(), service="s")
    assert nothing.verdict is Verdict.UNKNOWN
    assert "no traces" in nothing.why


def test_assess_only_kept_traces_is_unknown():
    slow = [span("request", n, n + 300, trace=f"k{n}", attributes={"sampling.kept": "slow"}) for n in range(120)]
    usual = [span("request", n, n + 20, trace=f"t{n}") for n in range(120)]
    for allowed in (False, True):
        rules = LatencyRules(budgets={"request": {"p50": 0.1, "p99": 0.1}}, allow_truncated=allowed)
        assessment = assess(tracing.breakdown(slow), rules, service="s")
        assert {check.verdict for check in assessment.checks} == {Verdict.UNKNOWN}
        assert "p50 is 300 ms" in assessment.why
        assert "every trace was kept by a rule" in assessment.why
        assert assess(tracing.breakdown(slow + usual), rules, service="s").verdict is Verdict.PASS


@pytest.mark.parametrize(("slower", "verdict"), [("warn", "warn"), ("fail", "fail")])
def test_assess_slower_version_follows_the_rule(recorded, slower, verdict):
    compared = tracing.compare(recorded)
    rules = LatencyRules(fewest=30, slower=slower, budgets={"model_inference": {"p99": 10.0}})
    assert assess(recorded, rules, service="s", comparison=compared).verdict.value == verdict
    doubtful = assess(replace(recorded, truncated=True), rules, service="s", comparison=compared)
    assert {check.verdict for check in doubtful.checks} == {Verdict.UNKNOWN}
    ignored = assess(recorded, replace(rules, slower="ignore"), service="s", comparison=compared)
    assert ignored.verdict is Verdict.PASS
    assert len(ignored.checks) == 1


# --- which version is assessed


def serve_in_turn(*versions: str | None, slow: str | None = "8") -> LatencyBreakdown:
    """One request a second of these versions; those of one take 90 ms, all others 30 ms."""
    return tracing.breakdown(
        span("ml_prediction_request", at * 1000, at * 1000 + (90 if version == slow else 30), trace=f"t{at}", version=version)
        for at, version in enumerate(versions)
    )


IN_TIME = {"ml_prediction_request": {"p99": 0.05}}


@pytest.mark.parametrize(
    ("versions", "assessed", "verdict"),
    [
        # A rolling release, with and without an overlap, from names that tell their order and from hashes.
        (["7"] * 300 + ["8"] * 200, "8", "fail"),
        (["7"] * 300 + ["7", "8"] * 20 + ["8"] * 200, "8", "fail"),
        (["f00"] * 300 + ["a11"] * 200, "a11", "pass"),
        ([None] * 300 + ["7"] * 200, "7", "pass"),
        # A canary whose number is higher; a few that carry no version.
        (["7", "7", "8"] * 150, "8", "fail"),
        (["7"] * 300 + ["7", *["8"] * 49] * 4, "8", "fail"),
        (["7", None, *["7"] * 38] * 10, "7", "pass"),
        # The release lost its version; it was rolled back; two hashes, and one that is none of a pair.
        (["7"] * 100 + [None] * 400, "7", "unknown"),
        (["7"] * 1000 + [None] * 20, "7", "unknown"),
        (["7", None] * 200, "7", "unknown"),
        (["7"] * 300 + ["8"] * 200 + ["7"] * 300, "8", "unknown"),
        (["a11", "f00"] * 200, "f00", "unknown"),
        (["7", "7-hotfix"] * 200, "7-hotfix", "unknown"),
    ],
)
def test_assess_ambiguous_newest_version_is_unknown(versions, assessed, verdict):
    found = serve_in_turn(*versions)
    assessment = assess(found, LatencyRules(budgets=IN_TIME), service="s")
    assert (assessment.version, assessment.verdict.value) == (assessed, verdict)
    assert ("set model_version" in assessment.why) == (verdict == "unknown")
    named = assess(found, LatencyRules(budgets=IN_TIME), service="s", version=assessed)
    assert named.verdict is (Verdict.FAIL if assessed == "8" else Verdict.PASS), "a version that was named is assessed"


def test_assess_named_baseline_may_serve_at_any_time():
    for versions in (["7"] * 300 + ["8"] * 200 + ["7"] * 300, ["7", "8"] * 200):
        assessment = assess(serve_in_turn(*versions), LatencyRules(budgets=IN_TIME), service="s", baseline="7")
        assert (assessment.version, assessment.verdict) == ("8", Verdict.FAIL)
    hashes = serve_in_turn(*["a11", "f00"] * 200, slow="a11")
    assert assess(hashes, LatencyRules(budgets=IN_TIME), service="s", baseline="f00").version == "a11"
    lost = serve_in_turn(*["7", "8", None] * 200, slow=None)
    assert assess(lost, LatencyRules(budgets=IN_TIME), service="s", baseline="7").verdict is Verdict.UNKNOWN


def test_assess_budgets_and_comparison_use_one_version():
    found = serve_in_turn(*["7", "8"] * 200, slow="7")
    compared = tracing.compare(found, "8")
    assessment = assess(found, LatencyRules(budgets=IN_TIME), service="s", comparison=compared, baseline="8")
    assert {check.model_version for check in assessment.checks} == {"7"} == {assessment.version}
    assert assessment.verdict is Verdict.FAIL


def test_read_budgets_accepts_numbers_timedeltas_and_text():
    given = {"a": 0.02, "b": "20ms", "c": {"p50": "1.5 s", "p95": timedelta(milliseconds=3)}, "d": "250us"}
    assert read_budgets(given) == {"a": {"p99": 0.02}, "b": {"p99": 0.02}, "c": {"p50": 1.5, "p95": 0.003}, "d": {"p99": 0.00025}}
    for wrong in ({"a": "20"}, {"a": -1}, {"a": True}, {"a": None}, {"a": {"p90": 1}}, {"a": {}}, {"a": float("nan")}):
        with pytest.raises(ValueError, match="budget of a"):
            read_budgets(wrong)


# --- symptoms


def served(latencies: np.ndarray, gaps: np.ndarray | float = 100.0, *, name: str = "ml_prediction_request") -> LatencyBreakdown:
    """Requests of these latencies (ms), one after another."""
    starts = np.cumsum(np.broadcast_to(gaps, latencies.shape))
    return tracing.breakdown(
        Span(f"{n + 1:032x}", f"{n + 1:016x}", None, name, "s", T0 + int(at * MS), int(took * MS), False, {"model_version": "v1"})
        for n, (at, took) in enumerate(zip(starts, latencies, strict=True))
    )


def names(found: LatencyBreakdown) -> list[str]:
    return [one.name for one in diagnose(found)]


def noise(count: int = 4000, seed: int = 1, spread: float = 0.25) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(np.log(50), spread, count)


def test_diagnose_usual_requests_have_no_symptom():
    for seed in range(20):
        assert names(served(noise(seed=seed))) == []
    assert names(tracing.breakdown(requests(1, count=500, version="v1"))) == []


def test_diagnose_cold_keys_are_a_long_tail():
    generator = np.random.default_rng(2)
    cold = generator.random(2000) < 0.03
    spans = []
    for number, miss in enumerate(cold):
        at, took, trace = number * 100.0, (120 if miss else 8) * generator.lognormal(0, 0.1), f"t{number}"
        spans += [
            span("ml_prediction_request", at, at + took + 30, trace=trace, version="v1"),
            span("feature_fetch", at, at + took, "ml_prediction_request", trace=trace, attributes={"cache.hit": str(not miss)}),
            span("model_inference", at + took, at + took + 28, "ml_prediction_request", trace=trace),
        ]
    found = tracing.breakdown(spans)
    (symptom,) = diagnose(found)
    assert (symptom.name, symptom.span) == ("high p99, low p50", "feature_fetch")
    assert "97." in symptom.cause
    assert "cache misses" in symptom.cause
    assert "percentiles" in symptom.check


def test_diagnose_slow_deploy(recorded):
    (symptom,) = diagnose(recorded, tracing.compare(recorded))
    assert (symptom.name, symptom.span) == ("latency spike after a deploy", "model_inference")
    assert "roll back v2" in symptom.check
    assert diagnose(recorded, tracing.compare(recorded, "v2", "v1")) == []


def test_diagnose_intermittent_spikes():
    latencies = noise()
    for at in (700, 2100, 3000):
        latencies[at : at + 40] *= 8
    assert "intermittent spikes" in names(served(latencies))


def test_diagnose_gradual_increase():
    assert names(served(noise() * np.linspace(1, 1.6, 4000))) == ["gradual increase"]


def test_diagnose_spike_at_the_peak():
    gaps = np.full(4000, 100.0)
    load = 1 + 3 * np.exp(-(((np.arange(4000) - 2000) / 700) ** 2))
    assert "spike during the peak" in names(served(noise() * load**0.8, gaps / load))


def test_spearman_is_scipys_and_zero_for_constant_series():
    from scipy.stats import spearmanr

    generator = np.random.default_rng(4)
    for _ in range(20):
        one, other = (list(map(float, generator.integers(0, 8, 25))) for _ in range(2))
        assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert spearman([1, 1, 1], [1, 2, 3]) == 0


# --- report


class Checker(HTMLParser):
    """Knows whether every tag is closed, and collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    return checker


def test_latency_report_is_one_complete_file(recorded):
    assessment = assess(recorded, LatencyRules(fewest=30), service="s", comparison=tracing.compare(recorded))
    html = to_html(assessment, "Latency of <b>model-server</b>")
    found = parsed(html)
    assert "<b>model-server" not in html
    for text in (
        "Latency of <b>model-server</b>",
        "model_inference is slower since v2",
        "roll back v2",
        "1db5299604f69660231db7edce046ec4",
    ):
        assert text in found.text
    assert found.tags.count("svg") == 3 + 4, "two bars in one picture, a waterfall for each version, a legend"
    assert "http://" not in html
    assert "https://" not in html
    assert "<script" not in html


def test_latency_report_of_little_data():
    for spans in ([], [span("r", 0, 0)], [span("r", 0, 5, whole=False)], [span("<i>", 0, 5, "gone", error=True, version="<v>")]):
        found = tracing.breakdown(spans)
        html = to_html(assess(found, LatencyRules(), service="s"), "little")
        parsed(html)
        assert "<i>" not in html
    assert "Incomplete data" in to_html(
        assess(tracing.breakdown([span("r", 0, 5, whole=False)]), LatencyRules(), service="s"), "t"
    )
