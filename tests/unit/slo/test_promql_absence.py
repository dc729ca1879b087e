"""Which series must exist before a number counts, what has a value without traffic, and how a window is filled in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_slo_provider.slo.promql.absence import (
    conditions,
    denominator,
    same_shape,
    subtracted_optional_series,
    without_filters,
)
from airflow_slo_provider.slo.promql.query_roles import read_counts, read_ratio
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery
from airflow_slo_provider.slo.promql.syntax_tree import parse
from airflow_slo_provider.slo.promql.text import duration_text
from airflow_slo_provider.slo.promql.threshold_queries import refuse_made_up
from airflow_slo_provider.slo.promql.tree_writer import write
from airflow_slo_provider.slo.promql.window_ranges import fill_window
from airflow_slo_provider.slo.promql.witnesses import witnesses_of_bad, witnesses_of_counts, witnesses_of_raw

W = "[{{.window}}]"
E, R, OK = (f"sum(rate({name}_total{W}))" for name in ("errors", "requests", "ok"))


@pytest.mark.parametrize(
    ("query", "plain"),
    [
        (f"{R} > 0", R),
        (f"0 < {R}", R),
        (f"{R} or vector(0)", R),
        (f"({R} or 0 * {OK}) != 0", R),
        (f"{R} unless on () maintenance", R),
        (f"({R} > 5) and on () (up == 1)", R),
        (f"sum(rate(requests_total{W}) > 0)", R),
        (f"({OK} or vector(0)) + ({E} > 0)", f"{OK} + {E}"),
        ("count_over_time((p99 > 0.5)[{{.window}}:1m])", "count_over_time(p99[{{.window}}:1m])"),
        ("count_over_time((p99 > on () limit)[{{.window}}:1m])", "count_over_time((p99 > on () limit)[{{.window}}:1m])"),
        (f"{R} > bool 0", f"{R} > bool 0"),
        (f"{R} or {OK}", f"{R} or {OK}"),
    ],
)
def test_expression_without_filters_has_a_value_where_its_series_exist(query: str, plain: str) -> None:
    assert write(without_filters(parse(query))) == plain


@pytest.mark.parametrize(
    ("query", "whole"),
    [
        (f"{OK} / {R}", R),
        (f"1 - {E} / ({R} > 0)", f"{R} > 0"),
        (f"avg({OK} / {R})", R),
        (f"({OK} / {R}) * ({E} / {OK})", R),
        (f"histogram_fraction(0, 1, sum(rate(h{W})))", f"histogram_count(sum(rate(h{W})))"),
        (f"{OK} / 2", None),
        (f"{R} - {E} / {OK}", None),
        (f"avg_over_time(up{W})", None),
        ("avg_over_time((a / b)[{{.window}}:1m])", None),
    ],
)
def test_denominator_of_a_ratio_is_found(query: str, whole: str | None) -> None:
    found = denominator(parse(query))
    assert (None if found is None else write(found)) == whole


def test_conditions_are_found_with_their_operator() -> None:
    found = conditions(parse("(a unless on () b) + (c and d)"))
    assert found == {("unless", parse("b")), ("and", parse("d"))}


@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        ("max(a)", 'max(b{c="d"})', True),
        ("time() - max(a)", "time() - max(b)", True),
        ('label_replace(a, "x", "1", "", "")', 'label_replace(b, "x", "2", "", "")', True),
        ("max_over_time(a[5m:1m])", "max_over_time(b[5m:1m])", True),
        ("-a", "-b", True),
        ("max(a)", "sum(up)", False),
        ("max(a)", "max by (b) (c)", False),
        ("a + 1", "b + 2", False),
        ("rate(a[5m])", "rate(b[1m])", False),
        ("a", "a offset 1d", False),
    ],
)
def test_expressions_are_alike_apart_from_their_metrics(left: str, right: str, alike: bool) -> None:
    assert same_shape(parse(left), parse(right)) is alike
    if alike:
        refuse_made_up(f"({left}) or ({right})")
    else:
        with pytest.raises(RefusedQuery, match="both sides of `or`") as caught:
            refuse_made_up(f"({left}) or ({right})")
        assert caught.value.reason == "hidden_absence"


def test_zero_in_what_is_subtracted_is_found() -> None:
    tree = parse("a - (b or vector(0)) - c + (d or vector(0))")
    assert [series.name for series in subtracted_optional_series(tree)] == ["b"]


def shown(found: frozenset[object] | None) -> list[str] | None:
    return None if found is None else sorted(map(str, found))


@pytest.mark.parametrize(
    ("bad", "total", "empty", "zero", "failures"),
    [
        (E, R, ["errors_total"], [], []),
        (f"{E} or vector(0)", R, ["errors_total"], ["errors_total"], []),
        (f"{E} or 0 * {R}", R, ["errors_total"], ["errors_total"], []),
        (f"({E} or vector(0)) + {OK}", R, None, ["errors_total"], ["errors_total"]),
        (f"{E} + {OK}", R, None, [], []),
        (f"{E} unless on () m", R, None, [], []),
        (f"{E} unless on () m", f"{R} unless on () m", ["errors_total"], [], []),
        (f"{E} and on () m", f"{R} unless on () m", None, [], []),
        (f"sum(rate(errors_total{W} offset 5m)) or vector(0)", f"sum(rate(r_total{W} offset 5m))", None, None, []),
        (f'sum(rate(r_total{{a="1",c="5"}}{W}))', f'sum(rate(r_total{{a="1"}}{W}))', ['r_total{a="1",c!=""}'], [], []),
        (f'sum(rate(r_total{{a="2"}}{W}))', f'sum(rate(r_total{{a="1"}}{W}))', None, [], []),
        (f'sum(rate(e_total{{a=~"1|2"}}{W}))', f'sum(rate(r_total{{a="1"}}{W}))', ['e_total{a!=""}'], [], []),
        (f'sum(rate(e_total{{a=~"2|3"}}{W}))', f'sum(rate(r_total{{a="1"}}{W}))', None, [], []),
        (f'sum(rate(e_total{{a=~"(?i)1"}}{W}))', f'sum(rate(r_total{{a="1"}}{W}))', None, [], []),
        (f'sum(rate(e_total{{a!="1"}}{W}))', f'sum(rate(r_total{{a="1"}}{W}))', None, [], []),
        (f'sum(rate(e_total{{a!="2"}}{W}))', f'sum(rate(r_total{{a="1"}}{W}))', ["e_total"], [], []),
        (f'sum(rate(e_total{{a=~".*"}}{W}))', f"sum(rate(r_total{W}))", ["e_total"], [], []),
        (f'sum(rate(e_total{{a=~"(?i)1"}}{W}))', f"sum(rate(r_total{W}))", ['e_total{a!=""}'], [], []),
        (
            f'sum(rate(r_total{{a=~"1.",b!=""}}{W}))',
            f'sum(rate(r_total{{a=~"1."}}{W}))',
            ['r_total{a!="",a=~"1.",b!=""}'],
            [],
            [],
        ),
    ],
)
def test_witnesses_of_bad_by_answer(
    bad: str, total: str, empty: list[str] | None, zero: list[str] | None, failures: list[str] | None
) -> None:
    found = read_counts(None, bad, total, counter=True)
    assert shown(witnesses_of_bad(found, has_failures=False, is_empty=True)) == empty
    assert shown(witnesses_of_bad(found, has_failures=False, is_empty=False)) == zero
    assert shown(witnesses_of_bad(found, has_failures=True, is_empty=False)) == failures


@pytest.mark.parametrize(
    ("queries", "needed"),
    [
        ({"good": OK, "total": R}, []),
        ({"good": f"{OK} or vector(0)", "total": f"{R} or vector(0)"}, []),
        ({"good": f"{R} - ({E} or vector(0))", "total": R}, ["errors_total"]),
        ({"good": OK, "total": f"{OK} + ({E} or vector(0))"}, ["errors_total"]),
        ({"bad": E, "total": f"{OK} + ({E} or vector(0))"}, ["errors_total"]),
        ({"good": f"{R} - (sum(rate(e_total{W})) or 0 * {R})", "total": R}, ["e_total"]),
    ],
)
def test_witnesses_of_counts_are_zeros_that_would_improve_the_ratio(queries: dict[str, str], needed: list[str]) -> None:
    found = read_counts(queries.get("good"), queries.get("bad"), queries["total"], counter=True)
    assert shown(witnesses_of_counts(found)) == needed


def test_witnesses_of_declared_counts_are_unknown_only_if_bad_is_empty() -> None:
    found = read_counts(None, f"sum(increase_pure(a{W}))", f"sum(increase(b{W}))", counter=True, declared=True)
    assert shown(witnesses_of_counts(found)) == []
    assert shown(witnesses_of_bad(found, has_failures=False, is_empty=False)) == []
    assert witnesses_of_bad(found, has_failures=False, is_empty=True) is None


@pytest.mark.parametrize(
    ("query", "needed"),
    [
        (f"1 - {E} / {R}", []),
        (f"1 - ({E} or vector(0)) / {R}", ["errors_total"]),
        ("avg_over_time((max(up) or vector(0))[{{.window}}:1m])", ["up"]),
    ],
)
def test_witnesses_of_a_raw_ratio_are_its_zeros(query: str, needed: list[str]) -> None:
    assert shown(witnesses_of_raw(read_ratio(query, failure=False))) == needed


@pytest.mark.parametrize(
    ("query", "filled"),
    [
        (f"sum(increase(x{W})) # why", "sum(increase(x[1h])) # why"),
        (f"avg_over_time(x{W})", "avg_over_time(x[3599999ms])"),
        ("sum_over_time((a > bool 1)[{{.window}}:1m])", "sum_over_time((a > bool 1)[3599999ms:1m])"),
        (f"-sum(count_over_time(x{W})) / sum(rate(y{W}))", "(-sum(count_over_time(x[3599999ms]))) / sum(rate(y[1h]))"),
        ("sum_over_time(increase(x[5m])[{{.window}}:5m])", "sum_over_time(increase(x[5m])[3599999ms:5m])"),
        ("max_over_time(x[5m]) + y:rate{{.window}}", "max_over_time(x[5m]) + y:rate1h"),
        ("increase_pure(avg_over_time(x[{{ .window }}]))", "increase_pure(avg_over_time(x[1h]))"),
    ],
)
def test_window_without_its_start_is_filled_in_for_samples(query: str, filled: str) -> None:
    assert fill_window(query, timedelta(hours=1)) == filled


def test_duration_is_written_in_its_largest_whole_unit() -> None:
    assert [duration_text(timedelta(milliseconds=value)) for value in (1, 1000, 90_000, 86_400_000)] == ["1ms", "1s", "90s", "1d"]
