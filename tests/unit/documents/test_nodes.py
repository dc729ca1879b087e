"""YAML as a tree: lines, numbers as written, duplicate keys, and texts made to hurt."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_slo_provider.documents.nodes import (
    MAX_DEPTH,
    MAX_NODES,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    compose,
    plain_value,
)


def only(text: str) -> Node:
    nodes, faults = compose(text)
    assert faults == []
    (node,) = nodes
    return node


def refused(text: str) -> list[str]:
    _, faults = compose(text, file="slo.yaml")
    assert faults
    return [str(fault) for fault in faults]


def scalar(text: str) -> ScalarNode:
    node = only(f"x: {text}")
    assert isinstance(node, MappingNode)
    found = node.entries["x"].node
    assert isinstance(found, ScalarNode)
    return found


def test_compose_keeps_lines_of_keys_and_values() -> None:
    node = only("a: 1\nb:\n  - x\n  - y: |\n      two\n      lines\n    z: 3\n")
    assert isinstance(node, MappingNode)
    assert {key: entry.line for key, entry in node.entries.items()} == {"a": 1, "b": 2}
    items = node.entries["b"].node
    assert isinstance(items, SequenceNode)
    assert [item.line for item in items.items] == [3, 4]
    last = items.items[1]
    assert isinstance(last, MappingNode)
    assert last.entries["z"].line == 7
    assert plain_value(last.entries["y"].node) == "two\nlines\n"


def test_compose_keeps_lines_across_documents() -> None:
    nodes, faults = compose("# first\na: 1\n---\n\nb: 2\n---\n---\nc: 3\n")
    assert faults == []
    assert [node.line for node in nodes] == [2, 5, 8]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.999", Fraction(999, 1000)),
        ("0.9999999999999999999", 1 - Fraction(1, 10**19)),
        ("99.9", Fraction(999, 10)),
        ("1", Fraction(1)),
        ("-0.5", Fraction(-1, 2)),
        ("+3", Fraction(3)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("1e-3", Fraction(1, 1000)),
        ("1E3", Fraction(1000)),
        ("'0.999'", None),
        ('"1"', None),
        ("1_000", None),
        ("0o17", None),
        ("0x1f", None),
        ("010", None),
        ("1:30", None),
        (".nan", None),
        (".inf", None),
        ("-.inf", None),
        ("nan", None),
        ("1e9999999999", None),
        ("!!str 1", None),
        ("!!float 1", Fraction(1)),
        ("1" * 40, None),
        ("٣", None),
        ("1 2", None),
    ],
)
def test_number_is_exactly_as_written(text: str, number: Fraction | None) -> None:
    assert scalar(text).number == number


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("TRUE", True), ("yes", None), ("on", None), ("'true'", None), ("1", None), ("", None)],
)
def test_boolean_follows_yaml_1_2(text: str, value: bool | None) -> None:
    assert scalar(text).boolean is value


@pytest.mark.parametrize(
    ("text", "null"), [("", True), ("~", True), ("null", True), ("'null'", False), ("''", False), ("0", False)]
)
def test_null_spellings_are_null(text: str, null: bool) -> None:
    assert scalar(text).is_null is null


def test_plain_value_returns_python_values() -> None:
    text = "a: [1, 1.5, true, null, x, '1', 2022-01-01, 007]\nb: {c: {}}\n"
    assert plain_value(only(text)) == {"a": [1, 1.5, True, None, "x", "1", "2022-01-01", "007"], "b": {"c": {}}}


def test_compose_duplicate_key_is_an_error() -> None:
    assert refused("a: 1\nb: 2\na: 3\n") == ["slo.yaml:3: 'a' occurs twice in this mapping; the first is on line 1"]
    assert refused("x:\n  'y': 1\n  y: 2\n") == ["slo.yaml:3: 'y' occurs twice in this mapping; the first is on line 2"]


@pytest.mark.parametrize("text", ["? [a]\n: 1\n", "? {a: 1}\n: 1\n", "{[a]: 1}"])
def test_compose_key_not_scalar_is_an_error(text: str) -> None:
    assert "a key must be a single value, not a " in refused(text)[0]


def test_compose_aliases_share_one_node() -> None:
    assert plain_value(only("a: &x {b: 1}\nc: *x\nd: [*x, *x]\n")) == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}


def test_compose_merges_mappings() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\none: {<<: *base, b: 9}\ntwo: {<<: [*base, *more]}\n"
    found = plain_value(only(text))
    assert found["one"] == {"a": 1, "b": 9}
    assert found["two"] == {"a": 1, "b": 2, "c": 4}
    assert refused("a: {<<: 5}\n") == ["slo.yaml:1: << merges mappings, not a single value"]


def test_compose_anchor_of_other_document_is_an_error() -> None:
    nodes, faults = compose("a: &x 1\n---\nb: *x\n")
    assert len(nodes) <= 2
    assert "alias" in str(faults[0])
    assert faults[0].line == 3


def test_compose_alias_to_own_parent_is_an_error() -> None:
    assert "alias" in refused("a: &x [*x]\n")[0]


def test_compose_alias_bomb_is_an_error() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    before = time.process_time()
    found = refused("\n".join(lines))
    assert time.process_time() - before < 1
    assert found[0].endswith(f"more than {MAX_NODES} values after its aliases are expanded")


@pytest.mark.parametrize("piece", ["[", "{a: ", "- ", "? "])
def test_compose_too_deep_nesting_is_an_error(piece: str) -> None:
    text = piece * 5000
    before = time.process_time()
    assert refused(text)
    assert time.process_time() - before < 2


def test_compose_nesting_at_limit_is_read() -> None:
    only("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert refused("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == [f"slo.yaml:1: nested deeper than {MAX_DEPTH} levels"]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!Secret", "!!binary", "!!set", "!<tag:x>"])
def test_compose_unknown_tag_is_an_error(tag: str) -> None:
    assert "has no meaning here; remove it" in refused(f"a: {tag} x\n")[0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1, 2\n", 2),
        ("a: 'x\n", 2),
        ("a: b: c\n", 1),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\n b: 2\n", 2),
        ("%YAML 9.9\n---\na: 1\n", 1),
        ("a: *nothing\n", 1),
        ("a: 1\nb: \x07\n", 2),
        ("@x\n", 1),
    ],
)
def test_compose_syntax_error_names_line(text: str, line: int) -> None:
    _, faults = compose(text)
    assert faults[0].line == line
    assert faults[0].message


def test_compose_keeps_documents_before_syntax_error() -> None:
    nodes, faults = compose("a: 1\n---\nb: [\n")
    assert [plain_value(node) for node in nodes] == [{"a": 1}]
    assert "not YAML" in faults[0].message


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), json_values, min_size=1, max_size=4))
def test_compose_reads_json(value: dict[str, Any]) -> None:
    import json

    assert plain_value(only(json.dumps(value))) == value


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab:-?&*!|>'\"{}[],# \n\t%@`0.\x00\ufeff\ud800é"), max_size=60))
def test_compose_any_text_returns_nodes_or_errors(text: str) -> None:
    nodes, faults = compose(text)
    assert all(fault.line >= 1 for fault in faults)
    for node in nodes:
        plain_value(node)
