"""Read the PromQL queries of an indicator: find out whether they count events, or only their ratio is meaningful.

Validation, gates, freshness sensors and alerting rules all use this reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial

from airflow_slo_provider.slo.model import RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.reading import bucket_rules
from airflow_slo_provider.slo.promql.reading.quantities import (
    Kind,
    MadeUpNumber,
    MissingWindow,
    Quantity,
    RefusedQuery,
    UndeclaredCounter,
    UnreadableQuery,
    WrongWindow,
    check_share,
    share_of_unknown,
)
from airflow_slo_provider.slo.promql.reading.quantity_reader import read_quantity
from airflow_slo_provider.slo.promql.selectors import bare_selector
from airflow_slo_provider.slo.promql.syntax_tree import (
    WINDOW,
    Node,
    PromQLSyntaxError,
    Series,
    has_range,
    parse,
    series_of,
    walk,
)
from airflow_slo_provider.slo.promql.text import COUNTER_NAME, has_window, shorten

#: The window alone between brackets, or as the range of a subquery.
_RANGE = re.compile(r"\[\s*\{\{-?\s*\.window\s*-?\}\}\s*(?=[\]:])")
#: A variable of another tool, or another spelling of the window, as the range.
_OTHER_RANGE = re.compile(r"\[\s*(?:\$|\{\{(?!-?\s*\.window\s*-?\}\}))")
_EXAMPLE = "sum(increase(requests_total[{{.window}}]))"
_DECLARE = (
    "correct it, or, if the server accepts it (e.g. MetricsQL) and it counts events, declare that with the annotation "
    'airflow-slo/counts: "events"'
)


@dataclass(frozen=True)
class QueryReading:
    """What one query of an indicator returns.

    :param text: PromQL with {{.window}}
    :param quantity: what it returns; None if its author declares it
    """

    text: str
    quantity: Quantity | None = None

    @property
    def per_second(self) -> bool:
        """Whether it returns events per second."""
        return self.quantity is not None and self.quantity.per_second

    @property
    def may_hide_series(self) -> bool:
        """Whether it may return nothing, or 0, although its series exist, or 0 although they do not."""
        return self.quantity is not None and (self.quantity.is_filtered or self.quantity.zero_if_missing)


@dataclass(frozen=True)
class Reading:
    """What the queries of an indicator return.

    :param queries: by role: ``good`` or ``bad``, and ``total``; or ``raw``
    :param counts: whether they count events; otherwise only their ratio is meaningful
    :param declared: whether their author declares that, because they cannot be read
    """

    queries: Mapping[str, QueryReading]
    counts: bool
    declared: bool = False


def read_metric(metric: RatioMetric) -> Reading:
    """Read the queries of a ratio metric.

    :raises RefusedQuery: when its ratio is not proven to be a share of events
    """
    texts = {role: source.query for role, source in metric.by_role.items()}
    if "raw" in texts:
        return read_ratio(texts["raw"], failure=metric.raw_type == "failure")
    if "total" not in texts or len(texts) != 2:
        raise RefusedQuery("a ratio metric needs total with good or bad, or raw")
    good, bad, total = texts.get("good"), texts.get("bad"), texts["total"]
    return read_counts(good, bad, total, counter=metric.counter, declared=metric.declares_events)


def find_refusals(metric: RatioMetric) -> tuple[RefusedQuery, ...]:
    """Return why a metric is refused: one error for each query that is refused by itself, otherwise that of both together."""
    try:
        read_metric(metric)
        return ()
    except RefusedQuery as error:
        together = error
    alone = []
    for role, source in metric.by_role.items():
        try:
            text = source.query if role == "raw" else with_window_of(source.query, role, counter=metric.counter)
            _read(_parse(text, role), role)
        except RefusedQuery as error:
            if not isinstance(error, UnreadableQuery) or not metric.declares_events or role == "raw":
                alone.append(error)
    return tuple(alone) or (together,)


def counts_are_declared(metric: RatioMetric | ThresholdMetric) -> bool:
    """Return whether queries of a metric cannot be read, and their author declares that they count events."""
    if not isinstance(metric, RatioMetric) or not metric.declares_events:
        return False
    try:
        return read_metric(metric).declared
    except RefusedQuery:
        return False


@lru_cache(maxsize=4096)
def read_counts(good: str | None, bad: str | None, total: str, *, counter: bool, declared: bool = False) -> Reading:
    """Read the queries of ``good`` or ``bad``, and ``total``.

    :param counter: whether a query without a window reads monotonic counters
    :param declared: whether the author declares that queries that cannot be parsed count events
    :raises RefusedQuery: when their ratio is not proven to be a share of events
    """
    role, part_text = ("good", good) if good is not None else ("bad", bad or "")
    given = {role: part_text, "total": total}
    try:
        texts = {name: with_window_of(text, name, counter=counter) for name, text in given.items()}
        trees = {name: _parse(text, name) for name, text in texts.items()}
    except UnreadableQuery:
        if not declared:
            raise
        return _read_declared(given, counter=counter)
    found = {name: _read(tree, name) for name, tree in trees.items()}
    part, whole = found[role], found["total"]
    if part.has_minimum:
        raise RefusedQuery(f"{role}: a filter removes small counts")
    if part.chosen == ("min" if role == "bad" else "max"):
        raise RefusedQuery(f"{role}: {part.chosen}() shows the best series at each point; write the other one")
    if role == "good":
        _as_role(role, bucket_rules.check_good_events, trees[role], part)
    else:
        _as_role(role, bucket_rules.check_bad_events, trees[role])
    _as_role("total", bucket_rules.check_all_events, trees["total"])
    _check_unknown_points(
        share_of_unknown(part, whole, part_series=series_of(trees[role]), all_series=series_of(trees["total"])), role
    )
    if role == "good" and part.kind is Kind.EVENTS and part.weights[1] < whole.weights[1]:
        part = replace(part, weights=(part.weights[0], whole.weights[1]))  # fewer good events are never a better ratio
    good_series = series_of(trees["good"]) if role == "good" else ()  # a total that falls back to the bad events is no pass
    counts = check_share(part, whole, good_series=good_series, all_series=series_of(trees["total"]))
    return Reading({name: QueryReading(text, found[name]) for name, text in texts.items()}, counts=counts)


def _read_declared(given: Mapping[str, str], *, counter: bool) -> Reading:
    """Read queries of which at least one cannot be parsed, and is declared to count events; the other must prove it.

    :param given: the queries by role
    :raises RefusedQuery: for a query without {{.window}}, and for one that can be parsed and is not a plain count of events
    """
    queries = {}
    for name, text in given.items():
        try:
            written = with_window_of(text, name, counter=counter)
            quantity = _read(_parse(written, name), name)
        except UnreadableQuery:
            if not has_window(text):
                raise _missing_window(text, name) from None
            if has_window(_RANGE.sub("", text)):
                raise WrongWindow(f"{name}: {{{{.window}}}} must stand alone as the range, e.g. {_EXAMPLE}") from None
            queries[name] = QueryReading(text)
            continue
        if quantity.per_second:
            raise RefusedQuery(f"{name}: is per second, and the other query cannot be read; write increase() in both")
        is_plain = quantity.weights == (Fraction(1), Fraction(1)) and not (quantity.has_minimum or quantity.alternatives)
        if quantity.kind is not Kind.EVENTS or not is_plain:
            raise RefusedQuery(f"{name}: the other query is declared to count events, and this one must too: {_EXAMPLE}")
        queries[name] = QueryReading(written, quantity)
    return Reading(queries, counts=True, declared=True)


@lru_cache(maxsize=4096)
def read_ratio(query: str, *, failure: bool) -> Reading:
    """Read the query of a raw ratio.

    :param query: PromQL with {{.window}}
    :param failure: whether it returns the share of bad events
    :raises RefusedQuery: when it is not proven to return a share
    """
    if not has_window(query):
        raise MissingWindow(f"raw: no {{{{.window}}}} in {shorten(query)!r}; write it as the range")
    tree = _parse(query, "raw")
    found = _read(tree, "raw")
    if failure and found.answers_alone:
        raise MadeUpNumber("raw: the made-up zero means that nothing failed, also where no series exists")
    if found.chosen not in ("", "max" if failure else "min"):
        raise RefusedQuery(
            "raw: it shows the best series, or leaves some out, so that the share of all events may be worse; divide sums"
        )
    _as_role("raw", partial(bucket_rules.check_ratio, failure=failure), tree)
    _check_unknown_points(found.unknown_as, "bad" if failure else "good", name="raw")
    if found.kind is not Kind.SHARE and not _is_mean(found):
        raise RefusedQuery(f"raw: the query returns {found.kind}, not a ratio")
    return Reading({"raw": QueryReading(query, found)}, counts=False)


def _as_role(role: str, check: Callable[..., None], *arguments: object) -> None:
    """Run a check, whose message then begins with the role of the query."""
    try:
        check(*arguments)
    except RefusedQuery as error:
        raise type(error)(f"{role}: {error}") from None


def _check_unknown_points(unknown_as: str, role: str, *, name: str = "") -> None:
    """Refuse points without a value, e.g. a quantile without requests, that count as good."""
    if unknown_as == ("0" if role == "bad" else "1"):
        raise RefusedQuery(
            f"{name or role}: a point counts as good where its value is NaN or missing, e.g. a quantile without requests; count "
            "the good points of the same expression, e.g. sum_over_time((x <= bool 0.5)[{{.window}}:1m]), or write a "
            "thresholdMetric"
        )


def with_window_of(query: str, role: str, *, counter: bool) -> str:
    """Return a query with {{.window}}: as it is, or the count of a bare selector.

    ``S``, ``sum(S)`` and ``sum by () (S)`` become ``sum(increase(S[{{.window}}]))`` for counters, and
    ``sum(sum_over_time(S[{{.window}}]))`` for samples that are counts themselves.

    :raises RefusedQuery: for every other query without {{.window}}, and for a counter that is not declared as one
    """
    if has_window(query):
        return query
    selector = bare_selector(query)
    if selector is None:
        _parse(query, role)
        raise _missing_window(query, role)
    if not counter and COUNTER_NAME.match(selector.name):
        raise UndeclaredCounter(
            f"{role}: {selector.name} is named like a counter, whose samples must not be added up; set counter: true in "
            "the ratioMetric, or write {{.window}} as the range of increase()"
        )
    return f"sum({'increase' if counter else 'sum_over_time'}({selector}[{{{{.window}}}}]))"


def _missing_window(query: str, role: str) -> MissingWindow:
    return MissingWindow(f"{role}: no {{{{.window}}}} in {shorten(query)!r}; write it as the range, e.g. {_EXAMPLE}")


def _parse(query: str, role: str) -> Node:
    try:
        tree = parse(query)
    except PromQLSyntaxError as error:
        remedy = "correct it" if role == "raw" else _DECLARE
        if _OTHER_RANGE.search(query):
            remedy = "write [{{.window}}], exactly so, as the range"
        raise UnreadableQuery(f"{role}: the query cannot be read: {' '.join(str(error).split())}; {remedy}") from None
    if has_window(query) and not any(_reads_window(tree)):
        raise MissingWindow(f"{role}: {{{{.window}}}} is not a range: write it between square brackets, e.g. {_EXAMPLE}")
    return tree


def _reads_window(tree: Node) -> Iterator[bool]:
    yield has_range(tree, WINDOW)
    yield from (isinstance(node, Series) and node.names_window for node in walk(tree))


def _read(tree: Node, role: str) -> Quantity:
    try:
        return read_quantity(tree)
    except RefusedQuery as error:
        raise type(error)(f"{role}: {error}") from None


def _is_mean(found: Quantity) -> bool:
    """Return whether it is an average over time, which is a share if every value is 0 or 1."""
    unit = list(found.unit)
    if unit[:1] == ["1 -"]:
        unit = unit[1:]
    while unit and unit[0] in ("avg", "min", "max"):
        unit = unit[5:]
    return unit[:1] == ["avg_over_time"] and "times" not in unit and "points" not in unit
