from __future__ import annotations

import pytest

from airflow_slo_provider.indicators.prometheus.merged_queries import mergeable
from airflow_slo_provider.slo.promql import selectors as promql
from airflow_slo_provider.slo.promql.selectors import Count, Matcher, Selector
from airflow_slo_provider.slo.promql.syntax_tree import is_readable, parse, series_of
from airflow_slo_provider.slo.promql.text import quote

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
    assert promql.recognise(query) == Count("increase", A)


@pytest.mark.parametrize("query", ['x_total{service="a"}', 'sum(x_total{service="a"})', 'sum by () (x_total{service="a"})'])
def test_bare_selector_is_read_without_window(query: str) -> None:
    assert promql.bare_selector(query) == A
    assert promql.recognise(query) is None


@pytest.mark.parametrize(
    "query", ["sum without () (x_total)", "sum by (a) (x_total)", "avg(x_total)", "sum(x_total[5m])", "sum(sum(x))"]
)
def test_other_sums_are_no_bare_selector(query: str) -> None:
    assert promql.bare_selector(query) is None


def test_selector_narrows_itself_and_those_with_fewer_matchers() -> None:
    narrow = Selector("x_total", (Matcher("code", "=", "5"), *A.matchers))
    assert [narrow.narrows(A), A.narrows(A), A.narrows(narrow), A.narrows(Selector("y_total"))] == [True, True, False, False]


def test_recognise_count_of_each_label_value_is_never_merged() -> None:
    count = promql.recognise('sum by (code) (rate(x_total{service="a"}[{{.window}}]))')
    assert count == Count("increase", A, ("code",))
    assert not mergeable(count)


def test_recognise_sum_of_samples_is_a_count() -> None:
    query = 'sum(sum_over_time(x_total{service="a"}[{{.window}}]))'
    assert promql.recognise(query) == Count("sum_over_time", A)
    assert promql.bare_selector(query) is None


@pytest.mark.parametrize(
    "query",
    [
        'sum(increase(x_total{service="a"}[5m]))',  # a range of its own
        'sum without (code) (increase(x_total{service="a"}[{{.window}}]))',
        "sum(increase(x_total[{{.window}}] offset 5m))",
        "sum(increase(x_total[{{.window}}])) or vector(0)",
        "sum(irate(x_total[{{.window}}]))",
        "avg(x_total)",
        "rate(x_total[{{.window}}])",
        'sum(increase(x_total{__name__=~"x.*"}[{{.window}}]))',
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
    assert promql.recognise(query) is None


@pytest.mark.parametrize("text", ["plain", 'quo"te', "back\\slash", "5\\..", "new\nline", "tab\t", "ü"])
def test_quoted_text_is_read_back(text: str) -> None:
    assert promql.bare_selector(f"x{{a={quote(text)}}}") == Selector("x", (Matcher("a", "=", text),))


def test_other_quotes_and_escapes_are_read() -> None:
    for quoted, text in (("`a\\.b`", "a\\.b"), ("'it\\'s'", "it's"), ('"\\u0041\\x42"', "AB")):
        assert promql.bare_selector(f"x{{a={quoted}}}") == Selector("x", (Matcher("a", "=", text),))


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
        'sum by (service, x_total) (rate(errors_total{code=~"5..", service="a"}[{{.window}}])) '
        "/ on (service) group_left (zone) sum(rate(requests_total[{{.window}}:1m])) without (le) > bool Inf or vector(0) # x{y}"
    )
    assert promql.selectors(series_of(parse(query))) == (
        Selector("errors_total", (Matcher("code", "=~", "5.."), Matcher("service", "=", "a"))),
        Selector("requests_total"),
    )
    assert promql.selectors(series_of(parse('SUM BY (a) ({__name__="x_total"})'))) == (Selector("x_total"),)


@pytest.mark.parametrize("query", ['{a="b"}', '{__name__=~"x.*"}', "x offset 5m", "x @ 1", 'job:x:rate{{.window}}{a="b"}'])
def test_selectors_of_other_series_are_none(query: str) -> None:
    assert promql.selectors(series_of(parse(query))) is None


def test_readable_query_ignores_strings_and_comments() -> None:
    assert is_readable('sum(x{a=")"}[5m]) # )') is False, "a range has no sum"
    assert is_readable('sum(x{a=")"}) # )')
    for query in ("sum(x)) or (sum(y)", "sum(x", "sum(x]", ""):
        assert not is_readable(query)
