"""Determine what PromQL functions return."""

from __future__ import annotations

import re
from dataclasses import replace

from airflow_slo_provider.slo.promql.reading.quantities import ZERO, Kind, MadeUpNumber, Quantity, RefusedQuery, WrongWindow
from airflow_slo_provider.slo.promql.reading.reading_level import Level, check_selector, recorded_operation
from airflow_slo_provider.slo.promql.syntax_tree import WINDOW, Call, Node, Series, Subquery, is_aggregated

#: Functions that return the growth of a counter or gauge over a range.
_GROWTH = frozenset({"increase", "rate", "delta", "changes"})
#: Functions that add the samples of a range up, or count them.
_SAMPLES = frozenset({"sum_over_time", "count_over_time"})
#: Other functions of a range; the ratio of two of them is meaningful if both sides use the same one.
_OVER_TIME = frozenset({"avg_over_time", "min_over_time", "max_over_time", "last_over_time"})
#: Functions that return the values of their first argument with other labels or in another order.
_SAME_VALUES = frozenset({"label_replace", "label_join", "sort", "sort_desc", "sort_by_label", "sort_by_label_desc"})
#: Functions that return a number where no series exists.
_WITHOUT_SERIES = frozenset(
    {
        "absent", "absent_over_time", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month",
        "pi", "scalar", "time", "vector", "year",
    }
)  # fmt: skip
#: Functions of the values at one time that may be used inside a subquery.
_AT_POINTS = frozenset(
    {
        "abs", "ceil", "floor", "histogram_avg", "histogram_quantile", "histogram_sum", "round", "timestamp",
    }
)  # fmt: skip
#: Functions whose value is NaN where there were no events.
_NAN_WITHOUT_EVENTS = frozenset({"histogram_avg", "histogram_quantile"})
#: Functions of a range that may be used inside a subquery.
_RANGES_AT_POINTS = frozenset({"deriv", "idelta", "irate", "quantile_over_time", "stddev_over_time"})
_REMEDIES = {
    "histogram_quantile": '; count the fast ones: good x_bucket{le="..."}, total x_count',
    "irate": "; write increase()",
    "idelta": "; write increase()",
}
#: Names that Prometheus reserves for counters. A recorded series has a colon in its name, and may be anything.
_COUNTER = re.compile(r"[a-zA-Z0-9_]+_(total|bucket)")


def read_call(level: Level, node: Call) -> Quantity:
    """Determine what a function call returns.

    :raises RefusedQuery: when the function is not known to keep a count or a share
    """
    name, arguments = node.function, node.arguments
    if name == "vector":
        value = level.read(arguments[0])
        if value.kind is Kind.NUMBER and value.number == 0:
            return ZERO
    if name == "time" and level.at_points:
        return Quantity(Kind.NUMBER)  # with a vector it returns values only where the vector has some
    if name in _WITHOUT_SERIES:
        raise MadeUpNumber(f"{name}() returns a number where no series exists")
    if name in _SAME_VALUES:
        return level.read(arguments[0])
    if name in _GROWTH:
        return _growth(level, name, arguments[0])
    if name in _SAMPLES | _OVER_TIME:
        return _over_time(level, name, arguments[0])
    if name in ("histogram_count", "histogram_fraction"):
        return _histogram(level, name, arguments[-1])
    if level.at_points:
        return _function_at_points(level, name, arguments)
    raise RefusedQuery(f"{name}() does not return a count of events{_REMEDIES.get(name, '')}")


def _growth(level: Level, name: str, source: Node) -> Quantity:
    series = source.inner if isinstance(source, Subquery) else source
    if not isinstance(series, Series):
        raise RefusedQuery(
            f"{name}() of a subquery reads a sum of counters, which jumps when one of them restarts; write sum({name}())"
        )
    check_selector(series)
    assert isinstance(source, Series | Subquery)
    if recorded_operation(series.name):
        raise RefusedQuery(f"{series.name} is named like a recorded rate, which is not a counter; query its counter")
    if (
        not level.at_points
        and series.name.endswith("_bucket")
        and not any(label == "le" and _is_one_bound(operator, value) for label, operator, value in series.matchers)
    ):
        raise RefusedQuery(f"every event is in several buckets of {series.name}; select one with le")
    if name in ("changes", "delta") and _COUNTER.fullmatch(series.name):
        raise RefusedQuery(f"{name}() of the counter {series.name} does not count its events; write increase()")
    what = "sums of values" if series.name.endswith("_sum") else "events"
    return Quantity(Kind.EVENTS, (what, *_time(level, source)), per_second=name == "rate")


def _is_one_bound(operator: str, value: str) -> bool:
    """Return whether a matcher of ``le`` selects one bucket, possibly in several spellings of its bound.

    A dot that is not escaped is any character, so that ``1.0`` also selects ``100``; behind a leading 0 there is no such number.
    """
    if operator == "=":
        return True
    spellings = [spelling.replace("\\.", ",").replace("[.]", ",").strip("()") for spelling in value.split("|")]
    if any("." in spelling.removeprefix("0.") for spelling in spellings):
        return False
    spellings = [spelling.replace(",", ".") for spelling in spellings]
    try:
        return operator == "=~" and len({float(spelling) for spelling in spellings}) == 1
    except ValueError:
        return False


def _over_time(level: Level, name: str, source: Node) -> Quantity:
    if isinstance(source, Subquery):
        return _points(level, name, source)
    assert isinstance(source, Series)
    check_selector(source)
    if not level.at_points and name != "count_over_time" and _COUNTER.fullmatch(source.name):
        raise RefusedQuery(f"{name}() reads the samples of a counter, each of which is a running total; write increase()")
    recorded = recorded_operation(source.name)
    if name in _SAMPLES and not recorded:
        return Quantity(Kind.EVENTS, ("samples", *_time(level, source)))
    return Quantity(Kind.VALUE, (name, *recorded, *_time(level, source)))


def _points(level: Level, name: str, source: Subquery) -> Quantity:
    time = _time(level, source)
    inner = level.read_points(source.inner)
    # The points of one series are not added to those of each.
    aggregated = is_aggregated(source.inner)
    if inner.kind is Kind.NUMBER:
        raise MadeUpNumber("the points of a number are there although no series exists")
    if name == "count_over_time":
        if inner.answers_alone:
            raise MadeUpNumber("a made-up zero is a point too: points are counted although no series exists")
        unit = ("points", source.step, *time, aggregated)
        counted = Quantity(Kind.EVENTS, unit, is_filtered=inner.is_filtered, conditions=inner.conditions, chosen=inner.chosen)
        return replace(counted, unknown_as="1" if inner.unknown_as == "nan" else inner.unknown_as)
    if name == "avg_over_time" and inner.is_filtered:
        raise RefusedQuery(
            "an average leaves out the points that a filter removes, so that an outage does not count; write `bool`, or add "
            "`or vector(0)`"
        )
    if name == "sum_over_time" and (inner.kind is Kind.FLAG or inner.unit == ("series",)):
        extra = () if inner.kind is Kind.FLAG else ("series",)
        unit = ("points", source.step, *time, aggregated, *extra)
        counted = Quantity(Kind.EVENTS, unit, is_filtered=inner.is_filtered, conditions=inner.conditions, chosen=inner.chosen)
        return replace(counted, unknown_as=inner.unknown_as).with_zero_of(inner)
    # The values of a gauge may be shares; whether they are, the measurement shows.
    shares = (Kind.SHARE, Kind.FLAG, Kind.INSTANT)
    kind = Kind.SHARE if name == "avg_over_time" and inner.kind in shares else Kind.VALUE
    unit = (name, "points", source.step, *time, inner.kind, inner.per_second, inner.weights, *inner.unit)
    # max(up) is 1 while at least one instance is there, which is a usual meaning of being up.
    chosen = "" if inner.kind is Kind.INSTANT and inner.chosen == "max" else inner.chosen
    return Quantity(kind, unit, chosen=chosen, unknown_as=inner.unknown_as).with_zero_of(inner)


def _histogram(level: Level, name: str, source: Node) -> Quantity:
    counted = level.read(source)
    if counted.kind is not Kind.EVENTS:
        raise RefusedQuery(f"{name}() needs rate() or increase() of a native histogram")
    return counted if name == "histogram_count" else Quantity(Kind.SHARE, (name, *counted.unit), histogram=counted)


def _function_at_points(level: Level, name: str, arguments: tuple[Node, ...]) -> Quantity:
    source = arguments[-1]
    if name in _RANGES_AT_POINTS and isinstance(source, Series | Subquery):
        if isinstance(source, Subquery):
            level.read_points(source.inner)
        else:
            check_selector(source)
        return Quantity(Kind.VALUE, (name, *_time(level, source)))
    inner = level.read(source if name == "histogram_quantile" else arguments[0])
    if name in ("clamp", "clamp_max", "clamp_min"):
        lowest = 0.0 if name == "clamp_max" else level.read(arguments[1]).number
        if lowest == 0:
            return inner
        raise MadeUpNumber(f"{name}() with a lowest value of {lowest:g} hides an outage")
    if name in _AT_POINTS and not inner.answers_alone:
        found = Quantity(Kind.VALUE, (name, *inner.unit), is_filtered=inner.is_filtered, chosen=inner.chosen)
        return replace(found, unknown_as="nan" if name in _NAN_WITHOUT_EVENTS else inner.unknown_as)
    raise RefusedQuery(f"{name}() is not supported in an SLI")


def _time(level: Level, source: Series | Subquery) -> tuple[object, ...]:
    """Return the range and the offset of a selector or subquery, as parts of a unit."""
    if source.at:
        raise WrongWindow(f"@ {source.at} fixes the query to one time; remove it")
    if level.at_points:
        if source.range == WINDOW:
            raise WrongWindow("{{.window}} stands inside of a subquery over {{.window}}")
        return source.range, source.offset
    if source.range != WINDOW:
        raise WrongWindow("a fixed range stands where {{.window}} belongs")
    return (source.offset,)
