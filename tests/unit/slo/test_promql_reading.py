"""What queries without a window become, what is refused with which reason, and what an empty or a made-up answer means."""

from __future__ import annotations

import pytest

from airflow_slo_provider.slo.promql.absence import (
    answers_alone,
    empty_means_none,
    is_optional,
    may_be_scalar,
    optional_series,
)
from airflow_slo_provider.slo.promql.query_roles import read_counts, read_ratio, with_window_of
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery
from airflow_slo_provider.slo.promql.syntax_tree import parse
from airflow_slo_provider.slo.promql.threshold_queries import refuse_made_up

W = "[{{.window}}]"
ALL = f"sum(increase(y_total{W}))"


@pytest.mark.parametrize(
    ("query", "per_second"),
    [
        ("requests_total", False),
        (f"sum(increase(x_total{W}))", False),
        (f"sum(changes(restarts{W}))", False),
        (f"sum(count_over_time(x{W}))", False),
        (f"sum(rate(x_total{W}))", True),
        (f'sum by (path) (rate(x_total{{code!="200"}}{W}))', True),
        (f"sum(rate(x_total{W})) or 0 * sum(rate(y_total{W}))", True),
        (f"histogram_count(sum(rate(h{W})))", True),
        (f"histogram_fraction(0.3, +Inf, sum(rate(h{W}))) * histogram_count(sum(rate(h{W})))", True),
        ("sum_over_time((sum(rate(x_total[5m])) > bool 0.5)[{{.window}}:1m])", False),
    ],
)
def test_reading_knows_counts_per_second(query: str, per_second: bool) -> None:
    found = read_counts(None, query, query, counter=True)
    assert found.counts and not found.declared
    assert [found.queries[role].per_second for role in ("bad", "total")] == [per_second, per_second]


@pytest.mark.parametrize(
    ("query", "counter", "expected"),
    [
        ("requests_total", True, "sum(increase(requests_total[{{.window}}]))"),
        (' requests_total{code=~"5..|}x"} ', True, 'sum(increase(requests_total{code=~"5..|}x"}[{{.window}}]))'),
        ('{__name__="requests_total"}', True, "sum(increase(requests_total[{{.window}}]))"),
        ('sum(requests_total{a="(["})', True, 'sum(increase(requests_total{a="(["}[{{.window}}]))'),
        ("sum by ( ) (requests_total)", True, "sum(increase(requests_total[{{.window}}]))"),
        ("sum(requests_per_scrape)", False, "sum(sum_over_time(requests_per_scrape[{{.window}}]))"),
        ("avg(increase(x[{{ .window }}]))", False, "avg(increase(x[{{ .window }}]))"),
    ],
)
def test_query_without_window_becomes_a_count(query: str, counter: bool, expected: str) -> None:
    assert with_window_of(query, "bad", counter=counter) == expected


@pytest.mark.parametrize("counter", [True, False])
@pytest.mark.parametrize(
    "query",
    ["sum(a_total) + sum(b_total)", "sum(rate(a_total[5m]))", "max(a)", "a offset 5m", "sum by (path) (a_total)", "a_total[5m]"],
)
def test_expression_without_window_is_refused(query: str, counter: bool) -> None:
    with pytest.raises(RefusedQuery, match=r"bad: no \{\{\.window\}\} in ") as caught:
        with_window_of(query, "bad", counter=counter)
    assert caught.value.reason == "window_missing"


@pytest.mark.parametrize("query", ["requests_total", 'sum(http_duration_seconds_bucket{le="1"})', "x_count{}"])
def test_undeclared_counter_is_refused(query: str) -> None:
    with pytest.raises(RefusedQuery, match="counter: true") as caught:
        with_window_of(query, "total", counter=False)
    assert caught.value.reason == "counter_not_declared"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (f"avg(increase(x_total{W}))", "mixed_units"),
        (f"sum(increase(x_total{W})) or vector(1)", "hidden_absence"),
        (f"sum(increase(x_total{W} @ 1700000000))", "wrong_window"),
        ("sum(increase(x_total[5m])) + sum(increase(z_total[{{.window}}]))", "wrong_window"),
        ("sum(increase(x_total[5m])) # over {{.window}}", "window_missing"),
        ('label_replace(sum(increase(x_total[5m])), "a", "{{.window}}", "", "")', "window_missing"),
        ("x_total offset {{.window}}", "window_missing"),
        ("sum(increase(x_total[5m]))", "window_missing"),
        (f"sum(increase(x_total{W})", "not_understood"),
        (f"increase_pure(x_total{W})", "not_understood"),
        ("x $ y", "not_understood"),
        ("(" * 30_000 + f"sum(increase(x_total{W}))" + ")" * 30_000, "not_understood"),
        ("-".join([f"sum(increase(x_total{W}))"] * 30_000), "not_understood"),
    ],
    ids=lambda value: value[:40],
)
def test_refusal_has_a_reason(bad: str, reason: str) -> None:
    with pytest.raises(RefusedQuery, match=r"^bad: |does not count the events") as caught:
        read_counts(None, bad, ALL, counter=True)
    assert caught.value.reason == reason


@pytest.mark.parametrize("bad", ["sum(increase_pure(x_total[{{.window}}]))", "sum(increase(x_total[{{.window}}])) default 0"])
def test_declared_counts_are_accepted_only_if_they_cannot_be_read(bad: str) -> None:
    found = read_counts(None, bad, ALL, counter=True, declared=True)
    assert found.counts and found.declared
    with pytest.raises(RefusedQuery, match="does not count the events"):
        read_counts(None, f"avg(increase(x_total{W}))", ALL, counter=True, declared=True)
    with pytest.raises(RefusedQuery, match=r"no \{\{\.window\}\}"):
        read_counts(None, "sum(increase(x_total[5m]))", bad, counter=True, declared=True)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"sum(rate(x_total{W})) / {{{{.window}}}}", "{{.window}} is not a range here"),
        ("sum(increase(x_total[{{.window}}])) and on () max_over_time(up[0]) > 0", "must be longer than 0"),
        (f"sum(increase(x_total{{code=~'5)..(.'}}{W}))", "the brackets of the regular expression '5)..(.' are not balanced"),
        (f"sum(increase(x_total{{code=~'5..)'}}{W}))", "the query cannot be read"),
        ("sum_over_time(max(up)[{{.window}}:1m{{.window}}])", "{{.window}} must be the whole duration"),
        ("sum(increase( + x_total[{{.window}}]))", "a unary + is not supported"),
    ],
)
def test_query_that_only_the_parser_accepts_is_unreadable(query: str, message: str) -> None:
    with pytest.raises(RefusedQuery) as caught:
        read_counts(None, query, ALL, counter=True)
    assert message in str(caught.value)
    assert caught.value.reason == "not_understood"


def test_plus_in_a_text_or_between_operands_is_not_unary() -> None:
    query = f'sum(increase(x_total{{code!="( + 5"}}{W})) # ( + \n + sum(increase(y_total{W}))'
    assert read_counts(None, query, ALL, counter=True).counts


@pytest.mark.parametrize("regex", ["(5|4)..", "[()]", "[])]", "[^])]x", "[[:alpha:])]", r"a\\)", r"a\\((b)"])
def test_brackets_of_regular_expressions_are_recognised(regex: str) -> None:
    assert read_counts(None, f'sum(increase(x_total{{code=~"{regex}"}}{W}))', ALL, counter=True).counts


def test_made_up_value_is_not_looked_for_in_an_unreadable_query() -> None:
    with pytest.raises(RefusedQuery, match="the query cannot be read") as caught:
        refuse_made_up("max(x")
    assert caught.value.reason == "not_understood"


def test_made_up_zero_of_a_failure_ratio_is_refused() -> None:
    query = "avg_over_time((max(down) or vector(0))[{{.window}}:1m])"
    assert not read_ratio(query, failure=False).counts
    with pytest.raises(RefusedQuery, match="made-up zero") as caught:
        read_ratio(query, failure=True)
    assert caught.value.reason == "hidden_absence"


@pytest.mark.parametrize(
    ("query", "alone"),
    [
        ("time() - max(x)", False),
        ("vector(1) * x", False),
        ("x", False),
        ("x unless vector(1)", False),
        ("vector(1) unless x", True),
        ("vector(1) and x", False),
        ("x > bool 0", False),
        ("histogram_quantile(0.9, sum by (le) (rate(x[5m])))", False),
        ("quantile(0.9, x)", False),
        ("-x", False),
        ("hour(x)", False),
        ("x + fill (0) y", False),
        ("vector(0)", True),
        ("x or vector(0)", True),
        ("max(x) > 0 or on() vector(1)", True),
        ("absent(x)", True),
        ("absent_over_time(x[5m])", True),
        ("minute()", True),
        ("time()", True),
        ("scalar(x)", True),
        ("vector(scalar(x))", True),
        ("1 > bool 0", True),
        ("max_over_time((x or vector(0))[5m:1m])", True),
        ('label_replace(vector(0), "a", "b", "c", "d")', True),
        ("- vector(1)", True),
    ],
)
def test_query_that_answers_without_series_is_known(query: str, alone: bool) -> None:
    assert answers_alone(parse(query)) is alone
    if alone:
        with pytest.raises(RefusedQuery, match="no series") as caught:
            refuse_made_up(query)
        assert caught.value.reason == "hidden_absence"
    else:
        refuse_made_up(query)


@pytest.mark.parametrize(
    ("query", "means_none"),
    [
        (f"sum(increase(x{W}))", True),
        (f'sum by (a) (increase(x{{b=~"c.*"}}{W}))', True),
        (f"sum(increase(x{W})) or sum(increase(y{W}))", True),
        (f"sum(increase(x{W})) unless on () maintenance", True),
        (f"sum(increase(x{W})) + sum(increase(y{W}))", False),
        (f"sum(increase(x{W})) - sum(increase(x{{a='b'}}{W}))", False),
        (f"sum(increase(x{W})) AND on () y", False),
        (f'sum(increase({{__name__="x"}}{W})) - sum(increase({{__name__="y"}}{W}))', False),
    ],
)
def test_empty_means_none_by_query_form(query: str, means_none: bool) -> None:
    assert empty_means_none(parse(query)) is means_none


@pytest.mark.parametrize(
    ("query", "names", "whole"),
    [
        ("sum(x) or vector(0)", ["x"], True),
        ("sum(x) or 0 * sum(y)", ["x"], True),
        ("sum(x) or sum(y) * 0", ["x"], True),
        ("(sum(x) or vector(0)) + sum(y)", ["x"], False),
        ("(sum(x) or vector(0)) + (sum(y) or vector(0))", ["x", "y"], False),
        ("sum(x) or sum(y)", [], False),
        ("sum(x)", [], False),
    ],
)
def test_optional_series_are_those_that_a_zero_replaces(query: str, names: list[str], whole: bool) -> None:
    tree = parse(query)
    assert [series.name for series in optional_series(tree)] == names
    assert is_optional(tree) is whole


@pytest.mark.parametrize(
    ("query", "scalar"),
    [
        ("1.5e6", True),
        ("scalar(sum by (a) (b)) / 2", True),
        ("-time()", True),
        ("vector(1)", False),
        ("x * 2", False),
        ("§", False),
    ],
)
def test_scalar_queries_are_known(query: str, scalar: bool) -> None:
    assert may_be_scalar(query) is scalar


@pytest.mark.parametrize(
    ("query", "failure"),
    [
        ("1 - max({bad} / {all})", False),
        ("max({bad} / {all})", True),
        ("min(1 - {bad} / {all})", False),
        ("avg({bad} / {all})", True),
        ("1 - avg({bad} / {all})", False),
    ],
)
def test_share_of_the_worst_series_is_read_one_way_round(query: str, failure: bool) -> None:
    """A quotient of single series has no value where there were no failures, and is therefore no smaller than their share."""
    text = query.format(bad="increase(bad_total[{{.window}}])", all="increase(all_total[{{.window}}])")
    assert not read_ratio(text, failure=failure).counts
    with pytest.raises(RefusedQuery, match="best series"):
        read_ratio(text, failure=not failure)


@pytest.mark.parametrize("window", ["[1{{.window}}]", "[1d{{.window}}]", "[{{.window}}5m]", "[5m] + {{.window}}"])
def test_window_of_declared_counts_stands_alone(window: str) -> None:
    with pytest.raises(RefusedQuery, match="must stand alone as the range"):
        read_counts(None, f"sum(increase(x_total{W}))", f"sum(increase_pure(y_total{window}))", counter=True, declared=True)
