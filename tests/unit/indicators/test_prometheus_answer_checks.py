"""Incomplete, stale or contradictory answers are refused; no server is needed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus import answer_checks, answers

AT = 1793491200000
VECTOR = {"resultType": "vector", "result": [{"metric": {}, "value": [AT / 1000, "1"]}]}


def envelope(**beside: Any) -> bytes:
    return json.dumps({"status": "success", "data": VECTOR, **beside}).encode()


def read(body: bytes) -> Any:
    whole = answer_checks.read_envelope(200, body, query="q", source="s")
    return answers.samples(answer_checks.read_answer(whole, query="q", source="s"), query="q", source="s", at=AT)


@pytest.mark.parametrize(
    "beside",
    [
        {},
        {"isPartial": False},
        {"stats": {"seriesFetched": "1"}, "trace": {"message": "partial"}},
        {"infos": ["PromQL info: metric might not be a counter"]},
        {"warnings": [], "infos": None, "errorType": "", "error": ""},
        {"partialErrors": [], "somethingNew": 1},
    ],
)
def test_complete_answer_with_other_keys_is_read(beside: dict[str, Any]) -> None:
    assert len(read(envelope(**beside))) == 1


@pytest.mark.parametrize(
    "beside",
    [
        {"isPartial": True},
        {"isPartial": "false"},
        {"isPartial": 1},
        {"isPartial": 0},
        {"isPartial": None},
        {"partialResponse": True},
        {"partial_response": {"reason": "store down"}},
        {"incomplete": "yes"},
        {"data": {**VECTOR, "isPartial": True}},
        {"warnings": ["x"]},
    ],
)
def test_answer_marked_partial_is_refused(beside: dict[str, Any]) -> None:
    with pytest.raises(QueryError, match="may be incomplete") as caught:
        read(envelope(**beside))
    assert (caught.value.reason, caught.value.transient) == ("partial_answer", True)


@pytest.mark.parametrize(
    ("beside", "transient"),
    [({"errorType": "bad_data"}, False), ({"error": "oops"}, False), ({"errorType": "timeout", "error": "late"}, True)],
)
def test_success_with_an_error_is_a_contradiction(beside: dict[str, Any], transient: bool) -> None:
    with pytest.raises(QueryError, match="reports success and names an error") as caught:
        read(envelope(**beside))
    assert (caught.value.reason, caught.value.transient) == ("contradictory_answer", transient)


def test_repeated_json_key_is_refused() -> None:
    twice = (
        b'{"status": "error", "status": "success", "data": {"resultType": "vector", "result": []}}',
        b'{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"a":"1","a":"2"}, "value": [1, "1"]}]}}',
    )
    for body in twice:
        with pytest.raises(QueryError, match="occurs twice") as caught:
            read(body)
        assert caught.value.reason == "repeated_key"


@pytest.mark.parametrize("off", [-1, 0, 1])
def test_sample_of_the_requested_time_is_read(off: int) -> None:
    """A server that cuts a float64 to milliseconds is one off."""
    row = {"metric": {}, "value": [(AT + off) / 1000, "1"]}
    assert len(answers.samples(answer_checks.VerifiedAnswer("vector", [row]), query="q", source="s", at=AT)) == 1


@pytest.mark.parametrize("off", [-300_000, -1000, -2, 2, 1000, 86_400_000])
@pytest.mark.parametrize("kind", ["vector", "scalar"])
def test_sample_of_another_time_is_refused(kind: str, off: int) -> None:
    value = [(AT + off) / 1000, "1"]
    result = value if kind == "scalar" else [{"metric": {}, "value": [AT / 1000, "1"]}, {"metric": {"a": "b"}, "value": value}]
    with pytest.raises(QueryError, match="for another time than requested") as caught:
        answers.samples(answer_checks.VerifiedAnswer(kind, result), query="scalar(q)", source="s", at=AT)
    assert (caught.value.reason, caught.value.transient) == ("stale_answer", True)


GRID = range(AT, AT + 60_000 * 100 + 1, 60_000)


def series(moments: list[int]) -> answer_checks.VerifiedAnswer:
    return answer_checks.VerifiedAnswer("matrix", [{"metric": {}, "values": [[moment / 1000, "1"] for moment in moments]}])


def test_points_within_a_millisecond_are_moved_to_the_grid() -> None:
    moments = list(GRID)
    moments[3] -= 1
    moments[7] += 1
    del moments[50]
    (found,) = answers.matrix(series(moments), query="q", source="s", grid=GRID)
    assert [moment for moment, _ in found.points] == [moment for moment in GRID if moment != GRID[50]]


@pytest.mark.parametrize("moment", [GRID[0] - 60_000, GRID[-1] + 60_000, GRID[5] + 30_000, GRID[5] - 2])
def test_point_off_the_grid_is_refused(moment: int) -> None:
    """VictoriaMetrics moves a range of 50 or more points to multiples of its step: no slice would be found again."""
    with pytest.raises(QueryError, match="nocache") as caught:
        answers.matrix(series([moment]), query="q", source="s", grid=GRID)
    assert caught.value.reason == "stale_answer"


@pytest.mark.parametrize("moments", [[GRID[1], GRID[0]], [GRID[0], GRID[0]]])
def test_repeated_or_unordered_points_are_a_contradiction(moments: list[int]) -> None:
    with pytest.raises(QueryError, match="in the order of time") as caught:
        answers.matrix(series(moments), query="q", source="s", grid=GRID)
    assert caught.value.reason == "contradictory_answer"


def test_repeated_series_is_a_contradiction() -> None:
    rows = [{"metric": {"code": "200"}, "value": [AT / 1000, text]} for text in ("99", "1")]
    with pytest.raises(QueryError, match="the same series twice"):
        answers.samples(answer_checks.VerifiedAnswer("vector", rows), query="q", source="s", at=AT)
    rows = [{"metric": {"code": "200"}, "values": [[AT / 1000, text]]} for text in ("99", "1")]
    with pytest.raises(QueryError, match="the same series twice"):
        answers.matrix(answer_checks.VerifiedAnswer("matrix", rows), query="q", source="s")


def test_cache_and_limit_headers_are_checked_before_the_clock() -> None:
    old = (datetime.now(UTC) - timedelta(days=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    with pytest.raises(QueryError, match="comes from a cache") as caught:
        answer_checks.check_headers({"Age": "86400", "Date": old}, query="q", source="s")
    assert caught.value.reason == "cached_answer"
    with pytest.raises(QueryError) as caught:
        answer_checks.check_headers({"M3-Results-Limited": "max_fetch_series_limit_applied"}, query="q", source="s")
    assert caught.value.reason == "partial_answer"
    with pytest.raises(QueryError) as caught:
        answer_checks.check_headers({"Date": old}, query="q", source="s")
    assert caught.value.reason == "clock_skew"
    answer_checks.check_headers({"Age": "0"}, query="q", source="s")
