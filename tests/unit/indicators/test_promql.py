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
def test_recognise_sum_of_increase_or_rate_is_a_count(query: str) -> None:
    assert promql.recognise(query, counter=False) == Count("increase", A)


@pytest.mark.parametrize("query", ['x_total{service="a"}', 'sum(x_total{service="a"})', 'sum by () (x_total{service="a"})'])
def test_recognise_query_without_window_depends_on_counter(query: str) -> None:
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
def test_recognise_other_queries_is_none(query: str) -> None:
    assert promql.recognise(query, counter=True) is None


def test_quote_and_unquote_follow_promql() -> None:
    for text in ("plain", 'quo"te', "back\\slash", "5\\..", "new\nline", "tab\t", "ü"):
        assert promql.unquote(quote(text)) == text
    assert promql.unquote("`a\\.b`") == "a\\.b"
    assert promql.unquote("'it\\'s'") == "it's"
    assert promql.unquote('"\\u0041"') is None


@pytest.mark.parametrize(
    "regex", ["5..", "a|b", "/api/.*", "4(04|29)", "(?:x|y)?", "\\.json", "[0-9]+", "[^a-c_]x*", "a-b c", ""]
)
def test_safe_regex_accepts_plain_expressions(regex: str) -> None:
    assert promql.safe_regex(regex)


@pytest.mark.parametrize(
    "regex",
    [
        "(?i)abc", "(?=a)b", "(?!a)", "(?P<n>a)", "(?#c)",
        "\\d+", "\\pL", "a{2}", "(a*)*", "(a|b)+", "a+?", "a*+", "^a$", "(a", "*", "é",
        "[[:alpha:]]", "\\b",
    ],
)  # fmt: skip
def test_safe_regex_refuses_expressions_that_go_and_python_read_differently(regex: str) -> None:
    assert not promql.safe_regex(regex)


def test_matcher_is_anchored_and_reads_a_missing_label_as_empty() -> None:
    assert Matcher("code", "=~", "5..").matches("503")
    assert not Matcher("code", "=~", "5..").matches("1503")
    assert not Matcher("code", "!~", "a|b").matches("b")
    assert Matcher("code", "!~", "a|b").matches("bc")
    assert Matcher("code", "=", "").matches("")
    assert Matcher("code", "!=", "x").matches("")


def test_selectors_finds_all_selectors_of_a_query() -> None:
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
def test_selectors_of_unreadable_query_are_empty(query: str) -> None:
    assert not promql.selectors(query)


def test_is_balanced_ignores_strings_and_comments() -> None:
    assert is_balanced('sum(x{a=")"}[5m]) # )')
    for query in ("sum(x)) or (sum(y)", "sum(x", "sum(x]", ""):
        assert not is_balanced(query)
