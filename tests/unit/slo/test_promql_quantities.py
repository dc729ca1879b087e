"""What single expressions return: numbers and filters over the window, and values at the points of a subquery."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from airflow_slo_provider.slo.promql.query_roles import read_ratio
from airflow_slo_provider.slo.promql.reading.quantities import Kind, Quantity, RefusedQuery
from airflow_slo_provider.slo.promql.reading.quantity_reader import read_quantity
from airflow_slo_provider.slo.promql.syntax_tree import parse

X = "sum(increase(x_total[{{.window}}]))"
EACH = "rate(a_total[{{.window}}]) / rate(b_total[{{.window}}])"
FRACTION = "histogram_fraction(0, 0.3, sum(rate(h[{{.window}}])))"
ZERO = "(max(up) or vector(0))"
SHARE = "sum(rate(a_total[5m])) / sum(rate(b_total[5m]))"


def over_window(query: str) -> Quantity:
    return read_quantity(parse(query))


def at_points(expression: str, function: str = "avg_over_time") -> Quantity:
    return read_quantity(parse(f"{function}(({expression})[{{{{.window}}}}:1m])"))


@pytest.mark.parametrize(
    ("number", "weight"),
    [
        ("1 + 3", "4"), ("3 - 1", "2"), ("2 * 4", "8"), ("1 / 2", "1/2"), ("2 ^ 3", "8"), ("-(-2)", "2"), ("1 - 1", "0"),
        ("1", "1"), ("2 * 3 - 5", "1"),
    ],
)  # fmt: skip
def test_weight_of_events_is_calculated(number: str, weight: str) -> None:
    assert over_window(f"{X} * ({number})").weights == (Fraction(weight), Fraction(weight))
    assert over_window(f"({number}) * {X}").weights == (Fraction(weight), Fraction(weight))
    if weight != "0":
        assert over_window(f"{X} / ({number})").weights == (1 / Fraction(weight),) * 2


def test_weight_of_subtracted_events_is_scaled_with_the_rest() -> None:
    found = over_window(f"({X} - sum(increase(y_total[{{{{.window}}}}]))) * 0.5")
    assert (found.weights, found.subtracted) == ((Fraction(1, 2), Fraction(1, 2)), Fraction(1, 2))


@pytest.mark.parametrize(
    "number", ["1 / 0", "0 / 0", "5 % 2", "(-1) ^ 0.5", "9 ^ 999", "-1", "1 - 2", "Inf", "vector(0)", "vector(2)"]
)
def test_factor_that_is_no_positive_number_is_refused(number: str) -> None:
    with pytest.raises(RefusedQuery, match=r"multiplied|made-up|where no series exists"):
        over_window(f"{X} * ({number})")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (f"{X} / 0", "divided by 0"),
        (f"1 / {X}", "a number is divided by a count"),
        (f"{X} * {X}", "a product of two counts"),
        (f"{X} ^ 2", "`^` does not return a count"),
        (f"{X} + 1", "a number is added to a count"),
        (f"1 - {X}", "a number is added to a count"),
        (f"-{X}", "a negative count"),
        (f"{X} - 0 * {X}", "0 is subtracted"),
        ("1 > bool 0", "where no series exists"),
        (f"{X} > {X}", "compared with another expression"),
        (f"{X} > vector(0)", "compared with another expression"),
        (f"({X} or vector(0)) > 0", "a made-up zero is filtered"),
        ("histogram_count(avg_over_time(h[{{.window}}]))", "histogram_count() needs rate() or increase() of a native histogram"),
        (f"{X} + fill(0) {X}", "fill modifiers return numbers"),
        ("rate(x[{{.window}}]) > bool rate(y[{{.window}}])", "bool compares two expressions"),
        (f"2 * ({X} / {X})", "a share is multiplied or divided by a number"),
        (f"({X} > 5) / {X}", "a filter removes small counts"),
        (f"max({EACH}) * ({X} / {X})", "a product of the best shares"),
        ("max_over_time(max(x)[{{.window}}:1m] @ 1700000000)", "fixes the query to one time"),
        (f"{FRACTION} * histogram_count(sum(rate(h[{{{{.window}}}}] offset 5m)))", "read different ranges"),
        ("max(x)[{{.window}}:1m]", "a subquery stands outside of a function"),
        ("x_total[{{.window}}]", "a range stands outside of a function"),
        ("'x'", "a text is not a number"),
        (f"{X} or {X} * (1 - 1)", "the number behind `or`"),
        (f"increase(x_total[{{{{.window}}}}]) + {X}", "drops the series that one side does not have"),
        (f"{X} + sum(changes(x[{{{{.window}}}}] offset 1d))", "other functions, windows or offsets"),
    ],
)
def test_operation_that_keeps_no_count_is_refused(query: str, words: str) -> None:
    with pytest.raises(RefusedQuery, match=re.escape(words)):
        over_window(query)


@pytest.mark.parametrize(
    ("condition", "filtered", "minimum"),
    [
        ("> 0", True, False), ("!= 0", True, False), (">= 0", True, False), (">= -1", True, False), ("> 5", True, True),
        (">= 5", True, True), ("< 5", None, None), ("<= 5", None, None), ("== 0", None, None), ("!= 5", None, None),
        ("< 0", None, None),
    ],
)  # fmt: skip
def test_filter_may_remove_small_counts_only(condition: str, filtered: bool | None, minimum: bool | None) -> None:
    operator, number = condition.split()
    mirrored = operator.translate(str.maketrans("<>", "><"))
    for query in (f"{X} {operator} {number}", f"{number} {mirrored} {X}"):
        if filtered is None:
            with pytest.raises(RefusedQuery, match="a filter that removes large counts"):
                over_window(query)
        else:
            found = over_window(query)
            assert (found.is_filtered, found.has_minimum) == (filtered, minimum)


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ("> bool 0", False), ("> bool -1", True), (">= bool 0", True), (">= bool 0.5", False), ("< bool 0", False),
        ("< bool 0.5", True), ("<= bool -1", False), ("<= bool 0", True), ("== bool 0", True), ("== bool 1", False),
        ("!= bool 0", False), ("!= bool 1", True), ("> bool NaN", True), ("> bool max(limit)", True),
    ],
)  # fmt: skip
def test_made_up_zero_must_not_fulfil_a_comparison(condition: str, passes: bool) -> None:
    operator, _, right = condition.partition(" bool ")
    mirrored = operator.translate(str.maketrans("<>", "><"))
    forms = [f"{ZERO} {operator} {{}}{right}"] + ([] if "(" in right else [f"{right} {mirrored} {{}}{ZERO}"])
    for form in forms:
        for word, message in (("bool ", "the made-up zero fulfils the comparison"), ("", "the made-up zero passes the filter")):
            if passes:
                with pytest.raises(RefusedQuery, match=message):
                    at_points(form.format(word), "sum_over_time")
            else:
                at_points(form.format(word), "sum_over_time")


@pytest.mark.parametrize(
    "expression",
    [
        "up", "max(up)", "1 - (up > bool 0)", "up > bool 0", SHARE, f"1 - {SHARE}", f"({SHARE}) * ({SHARE})", "clamp_max(up, 1)",
        "clamp_min(up, 0)", "clamp(up, 0, 1)", "sort(up)", "sort_desc(up)", "sort_by_label(up, 'a')", "up >= 0",
        "sort_by_label_desc(up, 'a')", "label_join(up, 'a', '-', 'b')", "label_replace(up, 'a', '', '', '')", "up or vector(0)",
        "sum(up) / count(up)", "avg(up)", "sum(up > bool 0) / count(up)",
    ],
)  # fmt: skip
def test_points_may_be_shares(expression: str) -> None:
    found = at_points(expression)
    assert found.kind is Kind.SHARE
    assert read_ratio(f"avg_over_time(({expression})[{{{{.window}}}}:1m])", failure=False).counts is False


@pytest.mark.parametrize(
    "expression",
    [
        "abs(x)", "ceil(x)", "floor(x)", "round(x)", "timestamp(x)", "histogram_avg(h)", "histogram_sum(h)", "time() - max(x)",
        "histogram_quantile(0.9, sum by (le) (rate(h_bucket[5m])))", "deriv(x[5m])", "idelta(x[5m])", "irate(x[5m])",
        "quantile_over_time(0.9, x[5m])", "stddev_over_time(x[5m])", "deriv(max(x)[5m:1m])", "quantile(0.9, x)", "stddev(x)",
        "stdvar(x)", "up * up", "2 - up", "up - 1", "1 - up", "up + up", "sum(rate(x_total[5m]))", "max_over_time(up[5m])",
    ],
)  # fmt: skip
def test_points_may_be_values_that_are_no_shares(expression: str) -> None:
    """They may be compared with a limit, and the points that exceed it are counted."""
    counted = at_points(f"({expression}) > bool 0.5", "sum_over_time")
    assert counted.kind is Kind.EVENTS
    if "up + up" not in expression:
        assert at_points(expression).kind in (Kind.VALUE, Kind.SHARE)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("clamp_min(up, 0.5)", "clamp_min() with a lowest value of 0.5 hides an outage"),
        ("clamp(up, 0.5, 1)", "clamp() with a lowest value of 0.5 hides an outage"),
        ("abs(max(x) or vector(0))", "abs() is not supported"),
        ("quantile(0.9, x or vector(0))", "quantile() does not return a count"),
        ("sqrt(x)", "sqrt() is not supported"),
        ("topk(1, x)", "topk() does not return a count"),
        ("rate(x_total[{{.window}}])", "{{.window}} stands inside of a subquery"),
        ("x @ 1700000000", "fixes the query to one time"),
        ("max_over_time(x[5m] @ 1700000000)", "fixes the query to one time"),
        ("deriv(x[5m] @ 1700000000)", "fixes the query to one time"),
        ("deriv((x @ 1700000000)[5m:1m])", "fixes the query to one time"),
        ("vector(0)", "the points of a number"),
        ("up > 0", "an average leaves out the points that a filter removes"),
        ("group(up)", "an average leaves out the points that a filter removes"),
        ("up and max(x)", "an average leaves out the points that a filter removes"),
        ("up + (max(x) > 0)", "an average leaves out the points that a filter removes"),
        ("1 - ((max(up) or vector(0)) > bool 0)", "1 minus a made-up zero is 1"),
        ("count(up or vector(0))", "count() counts a made-up zero"),
        ("sum(vector(0))", "a number has no series to aggregate"),
        ("up or abs(max(up))", "both sides of `or` must measure the same"),
        ("up or vector(0) + 1", "the number behind `or`"),
        ("vector(0) or up", "a made-up zero stands on the left of `or`"),
    ],
)
def test_points_that_hide_an_outage_are_refused(expression: str, words: str) -> None:
    with pytest.raises(RefusedQuery, match=re.escape(words)):
        at_points(expression)


def test_values_are_scaled_alike_on_both_sides() -> None:
    half, whole, twice = (over_window(f"avg_over_time(x[{{{{.window}}}}]) * {factor}") for factor in ("0.5", "1", "2"))
    assert (half.kind, twice.kind) == (Kind.VALUE, Kind.VALUE)
    assert len({half.unit, whole.unit, twice.unit}) == 3


def test_product_of_shares_is_at_most_that_of_all_events() -> None:
    found = over_window(f"({X} / {X}) * ({X} / {X})")
    assert (found.kind, found.chosen) == (Kind.SHARE, "min")


@pytest.mark.parametrize("function", ["increase", "avg_over_time"])
def test_series_of_another_name_may_stand_behind_or(function: str) -> None:
    """What both sides measure counts, and not how they are written."""
    one, other = (f"{function}({name}[{{{{.window}}}}])" for name in ("x_seconds", "y_seconds"))
    found = over_window(f"{one} or sort({other})")
    assert {series.name for series in found.alternatives} == {"x_seconds", "y_seconds"}
    assert at_points("sum(rate(x_total[5m])) or rate(y_total[5m])").kind is Kind.VALUE


@pytest.mark.parametrize(
    "call",
    [
        "absent(x)", "absent_over_time(x[5m])", "day_of_month()", "day_of_week()", "day_of_year()", "days_in_month()", "hour()",
        "minute()", "month()", "vector(1)", "year()",
    ],
)  # fmt: skip
def test_function_that_answers_without_series_has_that_reason(call: str) -> None:
    for read in (over_window, at_points):
        with pytest.raises(RefusedQuery, match="returns a number where no series exists") as caught:
            read(call)
        assert caught.value.reason == "hidden_absence"


@pytest.mark.parametrize(("call", "over"), [("pi()", True), ("scalar(max(x))", True), ("time()", True), ("time()", False)])
def test_number_of_the_server_is_no_factor(call: str, over: bool) -> None:
    with pytest.raises(RefusedQuery):
        (over_window if over else at_points)(f"{X if over else 'up'} * {call}")


@pytest.mark.parametrize(
    ("good", "total", "kind"),
    [
        ("sum(up > bool 0)", "count(up)", Kind.EVENTS),
        ("group(up > 0)", "max(up > bool 0)", Kind.EVENTS),
        ("sum(rate(a_total[5m]))", "sum(rate(b_total[5m]))", Kind.VALUE),
    ],
)
def test_points_of_both_sides_have_one_unit(good: str, total: str, kind: Kind) -> None:
    found = [at_points(expression, "sum_over_time") for expression in (good, total)]
    assert [one.kind for one in found] == [kind, kind]
    assert found[0].unit == found[1].unit


def test_product_with_a_made_up_share_is_no_share() -> None:
    assert at_points(f"({SHARE} or vector(0)) * ({SHARE})").kind is Kind.VALUE


def test_points_of_a_made_up_zero_are_not_counted() -> None:
    with pytest.raises(RefusedQuery, match="a made-up zero is a point too"):
        at_points(ZERO, "count_over_time")
    assert at_points("max(up) > 0", "count_over_time").is_filtered
