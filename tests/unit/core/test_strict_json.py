"""Ambiguous JSON is refused by every reader of external texts."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import airflow_slo_provider
from airflow_slo_provider.core import strict_json

PACKAGE = Path(airflow_slo_provider.__file__).parent
#: What these read was written by the same function, or by this package into a database.
OWN_TEXT = {
    "incidents/timeline.py",
    "ledger/corrections.py",
    "ledger/observations.py",
    "ledger/pruning.py",
    "ledger/records.py",
    "ledger/row_writer.py",
    "core/strict_json.py",
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_strict_json_unambiguous_text_equals_json_loads(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value).encode()):
        assert strict_json.loads(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"status": "error", "status": "success"}',
        '{"data": {"result": [{"a": 1, "b": 2, "a": 1}]}}',
        '[{"": 0, "": 0}]',
        '{"a": 1, "\\u0061": 2}',
    ],
)
def test_strict_json_repeated_key_is_refused(text: str) -> None:
    with pytest.raises(strict_json.JSONContradiction, match="occurs twice in one object") as caught:
        strict_json.loads(text)
    assert caught.value.reason == "repeated_key"
    with pytest.raises(strict_json.JSONContradiction):
        strict_json.loads(text, constants=True)
    with pytest.raises(strict_json.JSONContradiction):
        strict_json.raw_decode(text, 0)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_strict_json_nan_or_infinity_is_refused(literal: str) -> None:
    for text in (literal, f'{{"value": [1, {literal}]}}'):
        with pytest.raises(strict_json.JSONContradiction, match="is not JSON") as caught:
            strict_json.loads(text)
        assert caught.value.reason == "not_a_number"
        strict_json.loads(text, constants=True)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "nothing", b"\xff\xfe\x00", '{"a": 1}}', "1" * 5000])
def test_strict_json_invalid_text_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        strict_json.loads(text)


def test_package_parses_json_only_with_strict_json() -> None:
    """``json.loads``, ``response.json()`` and their like keep the last of two equal keys."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            reads = node.func.attr in ("loads", "load", "JSONDecoder") and owner == "json"
            if (reads or (node.func.attr == "json" and not node.args and not node.keywords)) and name not in OWN_TEXT:
                found.append(f"{name}:{node.lineno}")
    assert found == []
