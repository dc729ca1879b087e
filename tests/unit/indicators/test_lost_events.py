"""Measurements from which events are missing are refused, on a server that answers by a function."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.prometheus.answers import Sample, to_milliseconds
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from tests.unit.indicators.prometheus_requests import ratio

END = datetime(2026, 11, 1, tzinfo=UTC)
W = "[{{.window}}]"


class Server:
    """Answers instant queries with the samples that a function returns for them: values by their labels."""

    url = "http://server"
    connect = None

    def __init__(self, answer: Callable[[str], dict[str, str]]) -> None:
        self.answer = answer

    def instant(self, query: str, at: datetime) -> list[Sample]:
        found = self.answer(query)
        labels = {group: {"version": group} if group else {} for group in found}
        return [Sample(labels[group], Fraction(text), text, to_milliseconds(at)) for group, text in found.items()]


def source(answer: Callable[[str], dict[str, str]]) -> PrometheusSource:
    return PrometheusSource(Server(answer), parallel=1)  # type: ignore[arg-type]


RENAMED = ratio(bad=f"sum(increase(old{W})) or sum(increase(new{W}))", total=f"sum(increase(all{W}))")


@pytest.mark.parametrize(("both", "lost"), [({}, False), ({"": "1"}, True), ({"": "0"}, False)])
def test_both_sides_of_or_are_refused(both: dict[str, str], lost: bool) -> None:
    def answer(query: str) -> dict[str, str]:
        return both if " and " in query else {"": "9"} if "all" in query else {"": "1"}

    (found,) = source(answer).measure([MeasureRequest(RENAMED, END - timedelta(hours=1), END)])
    if not lost:
        assert isinstance(found, Measurement)
        return
    assert isinstance(found, QueryError)
    assert (found.reason, found.transient) == ("lost_events", False)
    assert "both sides of `or` have series" in found.message
    assert "count(sum(increase(new" in found.query


def test_unanswered_question_about_lost_events_is_an_error() -> None:
    def answer(query: str) -> dict[str, str]:
        if " and " in query:
            raise QueryError("no answer", reason="timeout", transient=True)
        return {"": "9"}

    (found,) = source(answer).measure([MeasureRequest(RENAMED, END - timedelta(hours=1), END)])
    assert isinstance(found, QueryError)
    assert (found.reason, found.transient) == ("timeout", True)


BY = ratio(bad=f"sum by (version) (increase(e{W}))", total=f"sum by (version) (increase(a{W}))")


@pytest.mark.parametrize("metric", ["e", "a"])
def test_events_without_the_label_make_every_group_unknown(metric: str) -> None:
    def answer(query: str) -> dict[str, str]:
        return {"v1": "5", "": "1"} if f"({metric}[" in query else {"v1": "5"}

    (found,) = source(answer).groups([MeasureRequest(BY, END - timedelta(hours=1), END)], ["version"])
    assert isinstance(found, QueryError)
    assert (found.reason, found.transient) == ("no_group", False)
    assert "events without a value of version" in found.message


def test_empty_counters_without_the_label_are_no_group() -> None:
    def answer(query: str) -> dict[str, str]:
        return {"v1": "5", "": "0"}

    (found,) = source(answer).groups([MeasureRequest(BY, END - timedelta(hours=1), END)], ["version"])
    assert found == [{"version": "v1"}]
