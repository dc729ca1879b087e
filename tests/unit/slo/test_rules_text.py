"""PromQL text, names, labels and YAML of the rule export."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airflow_slo_provider.slo.export.rule_file import (
    RuleGroup,
    RuleSection,
    camel_case,
    checked_labels,
    document_labels,
    escape_template,
    recording_rule,
    write_file,
)
from airflow_slo_provider.slo.promql.text import (
    counts_over,
    grid,
    has_window,
    number,
    quote,
    selector_of,
    window_text,
    with_window,
)


@pytest.mark.parametrize(
    ("query", "counter", "expected"),
    [
        ("requests_total", True, "sum(increase(requests_total[1h]))"),
        (' requests_total{code=~"5..|}x"} ', True, 'sum(increase(requests_total{code=~"5..|}x"}[1h]))'),
        ('{__name__="requests_total"}', True, 'sum(increase({__name__="requests_total"}[1h]))'),
        ('sum(requests_total{a="(["})', True, 'sum(increase(requests_total{a="(["}[1h]))'),
        ("sum( requests_total )", True, "sum(increase(requests_total[1h]))"),
        ("sum by ( ) (requests_total)", True, "sum(increase(requests_total[1h]))"),
        ("sum(requests_per_scrape)", False, "sum(sum_over_time(requests_per_scrape[1h]))"),
        ("sum(rate(x[{{.window}}]))", False, "sum(rate(x[1h]))"),
        ("sum(rate(x[{{ .window }}])) / rate(y[{{.window}}])", True, "sum(rate(x[1h])) / rate(y[1h])"),
    ],
)
def test_counts_over_writes_window(query: str, counter: bool, expected: str) -> None:
    assert counts_over(query, "1h", counter=counter) == expected


@pytest.mark.parametrize("counter", [True, False])
@pytest.mark.parametrize(
    "query",
    [
        "sum(a_total) + sum(b_total)",
        "sum(rate(a_total[5m]))",
        "max(a)",
        "a offset 5m",
        "sum by (path) (a_total)",
        "a_total[5m]",
        "",
    ],
)
def test_counts_over_without_window_raises_value_error(query: str, counter: bool) -> None:
    with pytest.raises(ValueError, match=r"\{\{\.window\}\}"):
        counts_over(query, "1h", counter=counter)


def test_grid_reads_each_point_once() -> None:
    assert grid("1h", "5m") == "[3599999ms:5m]"


@pytest.mark.parametrize("query", ["requests_total", 'sum(http_duration_seconds_bucket{le="1"})', "x_count{}"])
def test_counts_over_undeclared_counter_raises_value_error(query: str) -> None:
    with pytest.raises(ValueError, match="counter: true"):
        counts_over(query, "1h", counter=False)


def test_with_window_replaces_every_placeholder() -> None:
    assert has_window("x[{{ .window}}]")
    assert not has_window("x[5m]")
    assert with_window("x[{{.window}}] y[{{ .window }}]", r"1h\1") == r"x[1h\1] y[1h\1]"
    assert window_text("4w") == "28d"
    assert window_text(timedelta(minutes=90)) == "90m"
    with pytest.raises(ValueError, match="calendar"):
        window_text("1M")


def test_selector_of_returns_selector_or_none() -> None:
    assert selector_of("sum(x{a='b'})") == "x{a='b'}"
    assert selector_of("x[5m]") is None
    assert selector_of("rate(x[5m])") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(999, 1000), "0.999"),
        (1 - Fraction(999, 1000), "0.001"),
        (Fraction("14.4") * Fraction(1, 1000), "0.0144"),
        (Fraction(14, 15), "0.9333333333333333"),
        (Fraction(30), "30"),
        (Fraction(100), "100"),
        (Fraction(-5, 2), "-2.5"),
        (Fraction(0), "0"),
        (Fraction("0.99999999999999999999"), "0.99999999999999999999"),
        (Fraction("1e-9"), "0.000000001"),
    ],
)
def test_number_with_finite_decimals_is_exact(value: Fraction, text: str) -> None:
    assert number(value) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=9))
def test_number_round_trips_every_decimal(value: object) -> None:
    assert Fraction(number(Fraction(str(value)))) == Fraction(str(value))


def test_names_and_quotes_are_escaped() -> None:
    assert camel_case("Search-Slo") == "SearchSlo"
    assert camel_case("search-slo[2]") == "SearchSlo2"
    assert camel_case("HTTPErrors_of.web") == "HTTPErrorsOfWeb"
    assert camel_case("--") == "SLO"
    assert quote('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
    assert escape_template("a {{ .b }}\n c") == 'a {{ "{{" }} .b }} c'


def test_document_labels_are_valid_prometheus_labels() -> None:
    labels = {"team": ("b", "a"), "app/name": ("x",), "app.name": ("y",), "slo": ("z",), "__id": ("i",), "9": ("n",), "none": ()}
    assert document_labels(labels) == {
        "label_9": "n",
        "label___id": "i",
        "app_name": "y",
        "app_name_": "x",
        "label_slo": "z",
        "team": "b,a",
    }


@pytest.mark.parametrize("name", ["slo", "severity", "a-b", "__x", "1st", ""])
def test_invalid_extra_labels_raise_value_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"extra label"):
        checked_labels({name: "x"})


def test_write_file_gives_yaml_with_literal_expressions() -> None:
    rule = recording_rule("a:b:c", "x\n/\ny", {"tier": "2"})
    text = write_file(["Head\nline"], [RuleSection("t", ["no\nrules: x"]), RuleSection("u", (), [RuleGroup("g", [rule], "30s")])])
    assert text.startswith("# Head line\n\ngroups:\n")
    assert "  # no rules: x\n" in text
    assert "        expr: |\n          x\n          /\n          y\n" in text
    assert yaml.safe_load(text) == {
        "groups": [{"name": "g", "interval": "30s", "rules": [{"record": "a:b:c", "expr": "x\n/\ny\n", "labels": {"tier": "2"}}]}]
    }
    assert yaml.safe_load(write_file(["Head"], [RuleSection("t", ["n"])])) == {"groups": []}
