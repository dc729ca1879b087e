"""Groups, quantiles, sentences, and the ledger's record."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_slo_provider.freshness import Limits, Observation, Reason, assess
from airflow_slo_provider.results import Verdict

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def seen(**groups):
    return Observation(
        what="table f", source="here", groups={k: None if v is None else NOW - v * HOUR for k, v in groups.items()}
    )


def thousand(stale: int) -> Observation:
    ages = {f"e{n}": (2 + n if n < stale else 0.5) for n in range(1000)}
    return seen(**ages)


def test_message_has_subject_age_limit_and_source():
    found = assess(
        Observation(what="dag etl", source="Airflow API x", observed_at=NOW - 1.5 * HOUR, note="run r"), NOW, Limits(HOUR)
    )
    assert found.message == (
        "dag etl: 1 h 30 min old, since 2026-11-24T10:30:00+00:00 (run r), limit 1 h: stale; from Airflow API x"
    )


def test_message_of_unknown_age_has_reason():
    found = assess(Observation(what="dag etl", source="s", note="it never succeeded"), NOW, Limits(HOUR))
    assert found.message == "dag etl: age unknown, limit 1 h: it never succeeded; from s"
    assert found.freshness.verdict is Verdict.UNKNOWN


def test_stale_groups_are_named_worst_first():
    found = assess(thousand(13), NOW, Limits(HOUR, quantile=0.99))
    assert found.freshness.verdict is Verdict.FAIL
    assert found.counts == (987, 1000)
    assert [name for name, _ in found.worst] == [f"e{n}" for n in reversed(range(13))]
    for n in range(13):
        assert f"e{n} ({2 + n} h old)" in found.message
    assert found.freshness.age == 4 * HOUR  # rank 990 of 1000: 987 fresh ones, then 2, 3 and 4 h


@pytest.mark.parametrize(
    ("stale", "quantile", "verdict"),
    [
        (10, 0.99, "pass"),
        (11, 0.99, "fail"),
        (10, "0.990001", "fail"),
        (1, None, "fail"),
        (1, 1, "fail"),
        (0, 1, "pass"),
        (999, 0.001, "pass"),
        (1000, 0.001, "fail"),
        (300, 0.7, "pass"),
        (301, 0.7, "fail"),
    ],
)
def test_quantile_of_groups_is_exact(stale, quantile, verdict):
    # 0.7 * 1000 is 700 here, and not 699.9999...
    assert assess(thousand(stale), NOW, Limits(HOUR, quantile=quantile)).freshness.verdict == verdict


def test_age_of_groups_is_the_oldest_not_the_newest():
    assert assess(thousand(13), NOW, Limits(HOUR)).freshness.age == 14 * HOUR
    newest = max(moment for moment in thousand(13).groups.values())
    assert assess(Observation(what="x", source="s", observed_at=newest), NOW, Limits(HOUR)).freshness.fresh


def test_group_without_timestamp_is_not_fresh():
    found = assess(seen(a=0.1, b=None), NOW, Limits(HOUR))
    assert (found.freshness.verdict, found.counts, found.worst) == (Verdict.FAIL, (1, 2), (("b", None),))
    assert found.result("n").value is None
    assert "b (no timestamp)" in found.message
    assert assess(seen(a=0.1, b=None), NOW, Limits(HOUR, quantile=0.5)).freshness.verdict is Verdict.PASS


def test_groups_without_timestamps_and_no_groups_are_unknown():
    for groups in ({}, {"a": None}, {"a": None, "b": None}):
        found = assess(seen(**groups), NOW, Limits(HOUR, quantile=0.5))
        assert found.freshness.verdict is Verdict.UNKNOWN
        assert not found.freshness.fresh


def test_group_with_future_timestamp_is_not_fresh():
    found = assess(seen(a=0.1, b=-3), NOW, Limits(HOUR))
    assert (found.freshness.verdict, found.freshness.reason) == (Verdict.FAIL, Reason.CLOCK_SKEW)
    assert "b (3 h in the future)" in found.message
    assert found.result("n").value is None
    assert assess(seen(a=0.1, b=-3), NOW, Limits(HOUR, quantile=0.5)).freshness.fresh


def test_groups_above_warn_age_warn():
    found = assess(seen(a=0.1, b=0.8), NOW, Limits(HOUR, HOUR / 2))
    assert (found.freshness.verdict, found.freshness.reason) == (Verdict.WARN, Reason.AGEING)


@given(
    minutes=st.lists(st.none() | st.integers(-180, 300), max_size=30),
    quantile=st.fractions(Fraction(1, 100), 1, max_denominator=100),
)
def test_passing_quantile_has_enough_fresh_groups(minutes, quantile):
    moments = {str(n): None if age is None else NOW - timedelta(minutes=age) for n, age in enumerate(minutes)}
    found = assess(Observation(what="x", source="s", groups=moments), NOW, Limits(HOUR, quantile=quantile))
    good = sum(1 for age in minutes if age is not None and -1 <= age <= 60)
    assert found.counts == (good, len(minutes))
    assert found.freshness.fresh == bool(minutes and good >= quantile * len(minutes))
    assert len(found.worst) == len(minutes) - good


def test_check_result_of_an_assessment_is_complete():
    observation = Observation(
        what="model churn@champion", source="registry", observed_at=NOW - HOUR, model_version="7", evidence={"alias": "champion"}
    )
    result = assess(observation, NOW, Limits(2 * HOUR)).result("churn-age", {"first_try": 1})
    assert (result.kind, result.name, result.verdict, result.value, result.unit) == (
        "freshness",
        "churn-age",
        "pass",
        3600.0,
        "seconds",
    )
    assert (result.target, result.op, result.checked_at, result.model_version) == (7200.0, "lte", NOW, "7")
    assert result.evidence["reason"] == "fresh"
    assert (result.evidence["alias"], result.evidence["first_try"]) == ("champion", 1)
    json.dumps(result.to_dict())


def test_check_result_with_clock_skew_has_no_value():
    result = assess(Observation(what="x", source="s", observed_at=NOW + HOUR), NOW, Limits(HOUR)).result("n")
    assert (result.verdict, result.value, result.evidence["reason"]) == (Verdict.FAIL, None, "clock_skew")
    assert "1 h in the future" in result.message


def test_check_result_of_groups_has_counts_and_is_bounded():
    result = assess(thousand(500), NOW, Limits(HOUR, quantile=0.99)).result("n")
    assert (result.good, result.total) == (500, 1000)
    assert len(result.evidence["worst"]) == 50
    assert "and 450 more" in result.message
    assert len(json.dumps(result.to_dict())) < 10_000


@pytest.mark.parametrize("quantile", [0, -0.1, 1.1, "none", float("nan"), True, "inf"])
def test_invalid_quantile_is_rejected(quantile):
    with pytest.raises(ValueError, match="quantile"):
        Limits(HOUR, quantile=quantile)


def test_naive_observation_is_rejected():
    with pytest.raises(ValueError, match="no time zone"):
        Observation(what="x", source="s", observed_at=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="group a"):
        Observation(what="x", source="s", groups={"a": datetime(2026, 1, 1)})
