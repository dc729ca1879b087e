from __future__ import annotations

import pytest

from airflow_slo_provider.slo.promql import selectors as promql
from airflow_slo_provider.slo.promql.selectors import Count, Matcher, Selector
from airflow_slo_provider.slo.promql.text import quote
from airflow_slo_provider.slo.promql.tokens import is_balanced

A = Selector("x_total", (Matcher("service", "=", "a"),))


@pytest.mark.parametrize(
    "query",
    [
        'sum(increase(x_total{service="a"}[{{.window}}]))',
        'sum(rate(x_total{service="a"}[{{.window}}]))',
        "sum by () (increase(x_total{service='a',}[{{ .window }}]))",
        'sum(increase(x_total{service="a"}[{{- .window -}}]))',  # as rules read it
        "\n sum ( increase ( x_total { service = `a` } [ {{  .window}} ] ) ) # all of them\n",
    ],
)
def test_sums_of_increases_and_rates_are_counts_whatever_counter_says(query: str) -> None:
    assert promql.recognise(query, counter=False) == Count("increase", A)


@pytest.mark.parametrize("query", ['x_total{service="a"}', 'sum(x_total{service="a"})', 'sum by () (x_total{service="a"})'])
def test_a_query_without_a_window_is_read_by_what_it_counts(query: str) -> None:
    assert promql.recognise(query, counter=True) == Count("increase", A)
    assert promql.recognise(query, counter=False) == Count("sum_over_time", A)


@pytest.mark.parametrize(
    "query",
    [
        'sum(increase(x_total{service="a"}[5m]))',  # a range of its own
        'sum by (code) (increase(x_total{service="a"}[{{.window}}]))',
        "sum(increase(x_total[{{.window}}] offset 5m))",
        "sum(increase(x_total[{{.window}}])) or vector(0)",
        "sum(irate(x_total[{{.window}}]))",
        "avg(x_total)",
        "rate(x_total[{{.window}}])",
        'sum(increase({__name__="x_total"}[{{.window}}]))',
        'sum(increase(x_total{__name__=~"x.*"}[{{.window}}]))',
        'sum(increase(x_total{a="\\x41"}[{{.window}}]))',
        'sum(increase(x_total{a="b" c="d"}[{{.window}}]))',
        "sum(increase(x_total[{{.window}}]",
        'sum(increase(x_total{a="b"',
        "x_total offset 5m",
        "x_total + y_total",
        "",
        "§",
    ],
)
def test_everything_else_is_left_to_the_server(query: str) -> None:
    assert promql.recognise(query, counter=True) is None


def test_strings_are_read_and_written_as_promql_does() -> None:
    for text in ("plain", 'quo"te', "back\\slash", "5\\..", "new\nline", "tab\t", "ü"):
        assert promql.unquote(quote(text)) == text
    assert promql.unquote("`a\\.b`") == "a\\.b"
    assert promql.unquote("'it\\'s'") == "it's"
    assert promql.unquote('"\\u0041"') is None


@pytest.mark.parametrize(
    "regex", ["5..", "a|b", "/api/.*", "4(04|29)", "(?:x|y)?", "\\.json", "[0-9]+", "[^a-c_]x*", "a-b c", ""]
)
def test_plain_regular_expressions_are_safe(regex: str) -> None:
    assert promql.safe_regex(regex)


@pytest.mark.parametrize(
    "regex",
    [
        "(?i)abc", "(?=a)b", "(?!a)", "(?P<n>a)", "(?#c)",
        "\\d+", "\\pL", "a{2}", "(a*)*", "(a|b)+", "a+?", "a*+", "^a$", "(a", "*", "é",
        "[[:alpha:]]", "\\b",
    ],
)  # fmt: skip
def test_regular_expressions_that_may_differ_are_not_safe(regex: str) -> None:
    assert not promql.safe_regex(regex)


def test_matchers_are_anchored_and_see_a_missing_label_as_empty() -> None:
    assert Matcher("code", "=~", "5..").matches("503")
    assert not Matcher("code", "=~", "5..").matches("1503")
    assert not Matcher("code", "!~", "a|b").matches("b")
    assert Matcher("code", "!~", "a|b").matches("bc")
    assert Matcher("code", "=", "").matches("")
    assert Matcher("code", "!=", "x").matches("")


def test_the_selectors_of_any_query() -> None:
    query = (
        'sum by (service, x_total) (rate(errors_total{code=~"5..", service="a"}[{{.window}}] offset 5m)) '
        "/ on (service) group_left (zone) sum(rate(requests_total[{{.window}}:1m])) without (le) > bool Inf or vector(0) # x{y}"
    )
    found = promql.selectors(query)
    assert found == (
        Selector("errors_total", (Matcher("code", "=~", "5.."), Matcher("service", "=", "a"))),
        Selector("requests_total"),
    )
    assert promql.selectors("SUM BY (a) (x_total)") == (Selector("x_total"),)


@pytest.mark.parametrize("query", ['{__name__="x"}', 'x{a="\\x41"}', 'x{__name__="y"}', "x{a}", "sum by (a", "", "§"])
def test_selectors_that_cannot_be_read_for_sure(query: str) -> None:
    assert not promql.selectors(query)


def test_brackets() -> None:
    assert is_balanced('sum(x{a=")"}[5m]) # )')
    for query in ("sum(x)) or (sum(y)", "sum(x", "sum(x]", ""):
        assert not is_balanced(query)
