"""Answers marked as partial or faulty, at any depth, are refused; labels may have any name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.answer_checks import read_answer, read_envelope

MARKS: dict[str, Any] = {
    "isPartial": True,
    "partial": True,
    "incomplete": True,
    "truncated": True,
    "is_partial_response": 1,
    "resultsLimited": True,
    "warning": "store down",
    "warnings": ["store down"],
    "error": "store down",
    "errors": [{"store": "a"}],
    "errorType": "timeout",
    "lastError": "store down",
    "isComplete": False,
    "complete": False,
    "exhaustive": False,
    "nonExhaustive": True,
}
INNOCENT: dict[str, Any] = {
    "isPartial": False,
    "partialResponses": [],
    "warning": None,
    "error": "",
    "errors": [],
    "complete": True,
    "unlimited": True,
    "stats": {"seriesFetched": "2"},
}


def answer(place: str, more: dict[str, Any], kind: str = "vector") -> bytes:
    numbers = {"value": [1, "2"]} if kind == "vector" else {"values": [[1, "2"], [2, "3"]]}
    series: dict[str, Any] = {"metric": {"error": "yes", "partial": "true", "complete": "false"}, **numbers}
    data: dict[str, Any] = {"resultType": kind, "result": [dict(series), series]}
    whole: dict[str, Any] = {"status": "success", "data": data}
    where = {
        "answer": whole,
        "data": data,
        "stats": data.setdefault("stats", {}),
        "deep": data.setdefault("trace", {"children": [[{}]]})["children"][0][0],
        "series": series,
        "in a series": series.setdefault("more", {}),
    }
    where[place].update(more)
    return json.dumps(whole).encode()


@pytest.mark.parametrize("key", MARKS)
@pytest.mark.parametrize("kind", ["vector", "matrix"])
@pytest.mark.parametrize("place", ["answer", "data", "stats", "deep", "series", "in a series"])
def test_answer_with_a_partial_mark_at_any_depth_is_refused(place: str, kind: str, key: str) -> None:
    with pytest.raises(QueryError) as caught:
        read_answer(read_envelope(200, answer(place, {key: MARKS[key]}, kind), query="q", source="s"), query="q", source="s")
    assert caught.value.reason in ("partial_answer", "contradictory_answer")
    assert "incomplete" in caught.value.message or "names an error" in caught.value.message


@pytest.mark.parametrize("kind", ["vector", "matrix"])
@pytest.mark.parametrize("place", ["answer", "data", "deep", "series"])
def test_answer_marked_complete_is_read(place: str, kind: str) -> None:
    assert read_envelope(200, answer(place, INNOCENT, kind), query="q", source="s")["status"] == "success"


@pytest.mark.parametrize("data", [["partial", "error"], [{"__name__": "a", "error": "yes"}]])
def test_names_and_labels_are_not_read_as_marks(data: Any) -> None:
    assert read_envelope(200, json.dumps({"status": "success", "data": data}).encode(), query=None, source="s")["data"] == data
