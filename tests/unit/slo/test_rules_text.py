"""PromQL text, names, labels and YAML of the rule export."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
import yaml
from hypothesis import example, given
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
from airflow_slo_provider.slo.export.yaml_text import Expression, format_item
from airflow_slo_provider.slo.promql.text import (
    grid,
    has_window,
    number,
    quote,
    window_text,
    with_window,
)


def test_grid_reads_each_point_once() -> None:
    assert grid("1h", "5m") == "[3599999ms:5m]"


def test_with_window_replaces_every_placeholder() -> None:
    assert has_window("x[{{ .window}}]")
    assert not has_window("x[5m]")
    assert with_window("x[{{.window}}] y[{{ .window }}]", r"1h\1") == r"x[1h\1] y[1h\1]"
    assert window_text("4w") == "28d"
    assert window_text(timedelta(minutes=90)) == "90m"
    with pytest.raises(ValueError, match="calendar"):
        window_text("1M")


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


_TRICKY = [
    "false", "nullify", "on", "0.999", "a: bcdef", "a #bcdef", "abcdef:", "abcdef ", "- abcdef", "abc\ndef", "abc \ndef", "",
    "\tabcdef", "abcdef\x00", "\u2028abcdef", "abcdef\n", "{{abcdef}}", "abcdef, {x}", "\U0001f600bcdef", "x" * 200,
]  # fmt: skip
_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,9}", fullmatch=True)
_SPECIAL = st.text(alphabet="abcdef:#-'\"{}[],&*?|> \n\t0.", max_size=30)
_TEXTS = st.one_of(st.text(max_size=30), _SPECIAL, st.sampled_from(_TRICKY))


@given(name=_TEXTS, expression=_TEXTS, labels=st.dictionaries(_NAMES, _TEXTS, min_size=1, max_size=4))
@example(name="false", expression="abc", labels={"abc": "abc"})
@example(name="abc\x85def", expression="\u20280", labels={"abc": "\u2029"})
@example(name="abcdef", expression="a\n\n  b", labels={"true": "n", "x" * 200: "abcdef"})
def test_written_rules_load_as_they_were(name: str, expression: str, labels: dict[str, str]) -> None:
    rule = {"record": name, "expr": Expression(expression), "labels": labels}
    text = "\n".join(format_item({"name": name, "rules": [rule, rule]}, "  "))
    assert yaml.safe_load(text) == [{"name": name, "rules": [{**rule, "expr": f"{expression}\n"}] * 2}]
