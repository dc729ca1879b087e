"""Trees that are written as PromQL are read as the same trees."""

from __future__ import annotations

import math

import pytest

from airflow_slo_provider.slo.promql.syntax_tree import Number, PromQLSyntaxError, parse, series_of
from airflow_slo_provider.slo.promql.tree_writer import write
from tests.unit.slo.promql_forms import FORMS

#: Queries with what the forms do not have.
OTHERS = [
    "a + on (x) group_left (y) b", "a * ignoring (x, y) group_right () b", "a and on () b", "a - fill_left(0) fill_right(-1) b",
    "a + fill(2) b", "-a ^ 2", "(-a) ^ 2", "a - (b - c)", "a - b - c", "2 ^ 3 ^ 2", "(2 ^ 3) ^ 2", "-(-1)", "a * -1", "1e300 * a",
    "0.1 + 0x1f", "Inf - a", '{"a b", "c d"="e"}', 'sum by ("a b") (x)', '{a="b"}', 'x{a=~`\\d"\n`,b!="\\t",c!~""}',
    "x offset -5m", "x[5m] @ 1700000000.123 offset 90s",
    "max_over_time(x[1h:]) or rate(x[1500ms:1m] @ start())", "topk by (a) (3, x)",
    'count_values without (a, b) ("v", x)', 'label_replace(x, "a", "$1\\\\", "b", "(.*)")', "a == bool b", "a > bool on (x) b",
    "rate(x{w=\"{{.window}}\"}[{{ .window }}]) # why", "x[1w2d3h]", "time()", "x:y{{.window}} unless y",
]  # fmt: skip


def is_promql(query: str) -> bool:
    try:
        return not any(series.has_alternatives for series in series_of(parse(query)))
    except PromQLSyntaxError:
        return False


WRITTEN = dict.fromkeys(query for _, queries, _, _ in FORMS for query in queries.values())


@pytest.mark.parametrize("query", [*filter(is_promql, WRITTEN), *OTHERS])
def test_written_tree_is_read_as_the_same_tree(query: str) -> None:
    tree = parse(query)
    assert parse(write(tree)) == tree
    assert "\n" not in write(tree)


def test_alternative_matchers_are_not_written() -> None:
    with pytest.raises(ValueError, match="joined by `or`"):
        write(parse('x{a="1" or b="2"}'))


def test_written_text_is_the_usual_one() -> None:
    query = 'sum by (a) (rate(x_total{code=~"5.."}[{{.window}}] offset 5m)) > 0'
    assert write(parse(query)) == query
    assert write(parse("(sum(a))+1.50")) == "sum(a) + 1.5"
    assert [write(Number(value)) for value in (math.nan, math.inf, -math.inf, 2.0, 0.25)] == ["NaN", "Inf", "-Inf", "2", "0.25"]
