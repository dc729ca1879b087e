"""Find out which labels the result of a PromQL expression has."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_slo_provider.slo.model import RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.promql.absence import is_scalar
from airflow_slo_provider.slo.promql.reading.quantities import WrongGrouping
from airflow_slo_provider.slo.promql.syntax_tree import (
    Aggregation,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    PromQLSyntaxError,
    Series,
    String,
    Subquery,
    parse,
    series_of,
)
from airflow_slo_provider.slo.promql.text import quote

#: Functions whose result has no labels.
_WITHOUT_LABELS = frozenset({"pi", "scalar", "time", "vector"})
#: Functions that choose or write labels themselves.
_OTHER_LABELS = frozenset({"absent", "absent_over_time", "count_values", "info", "label_join", "label_replace"})
#: Aggregations that return whole series.
_CHOOSING = frozenset({"bottomk", "limitk", "limit_ratio", "topk"})


def result_labels(node: Node) -> frozenset[str] | None:
    """Return the names of the labels that the result may have; None if the expression does not determine them.

    :param node: the expression
    """
    match node:
        case Number() | String():
            return frozenset()
        case Series():
            return None
        case Negation() | Subquery():
            return result_labels(node.inner)
        case Call():
            return _of_call(node)
        case Aggregation():
            return _of_aggregation(node)
        case Binary():
            return _of_operator(node)


def dividing_labels(query: str) -> frozenset[str] | None:
    """Return the labels by which the result of a query is divided into series; None if that is not known.

    A label that every selector fixes to the same value does not divide it.

    :param query: PromQL
    """
    try:
        tree = parse(query)
    except PromQLSyntaxError:
        return None
    labels = result_labels(tree)
    if not labels:
        return labels
    fixed = [{label: value for label, operator, value in series.matchers if operator == "="} for series in series_of(tree)]
    return frozenset(label for label in labels if len({values.get(label) for values in fixed}) != 1 or not fixed[0].get(label))


def _labels(query: str) -> frozenset[str] | None:
    try:
        return result_labels(parse(query))
    except PromQLSyntaxError:
        return None


def common_labels(metric: RatioMetric | ThresholdMetric) -> tuple[str, ...]:
    """Return the labels by which all queries of an indicator are divided, sorted; empty if they differ or are not known.

    :param metric: the metric
    """
    found = {dividing_labels(source.query) for source in metric.sources}
    return tuple(sorted(next(iter(found)) or ())) if len(found) == 1 else ()


def check_grouping(metric: RatioMetric | ThresholdMetric, labels: Sequence[str]) -> None:
    """Check that the queries of an indicator have a series for each value of labels.

    :param metric: the metric
    :param labels: the labels that the SLO is evaluated by
    :raises WrongGrouping: for a query with one series, and for one that is divided by other labels
    """
    roles = metric.by_role if isinstance(metric, RatioMetric) else {"query": metric.source}
    for role, source in roles.items():
        found = dividing_labels(source.query)
        if found is not None and not found <= set(labels) <= (_labels(source.query) or set()):
            shown = f"is divided by {', '.join(sorted(found))}" if found else "has one series"
            by = ", ".join(labels)
            raise WrongGrouping(f"{role}: the result {shown}, and the SLO is evaluated by {by}; write sum by ({by}) (...)")
    if isinstance(metric, RatioMetric) and "total" in roles:
        _check_same_values(metric, labels)


def _check_same_values(metric: RatioMetric, labels: Sequence[str]) -> None:
    """Check that good or bad events are those of the same values of the labels as all events.

    :raises WrongGrouping: where a selector chooses values that the total does not choose: the others would have no failures
    """
    try:
        chosen = {role: _chosen_values(parse(source.query), labels) for role, source in metric.by_role.items()}
    except PromQLSyntaxError:
        return  # which is an error of the query
    whole = chosen.pop("total")
    for role, found in chosen.items():
        for label, operator, value in sorted(found - whole):
            raise WrongGrouping(
                f"{role}: {label}{operator}{quote(value)} chooses values of a label that the SLO is evaluated by, and the total "
                "does not; write it in both queries or in none"
            )


def _chosen_values(tree: Node, labels: Sequence[str]) -> frozenset[tuple[str, str, str]]:
    matchers = (matcher for series in series_of(tree) for matcher in series.matchers)
    every = {("!=", ""), ("=~", ".+"), ("=~", ".*")}
    return frozenset(matcher for matcher in matchers if matcher[0] in labels and matcher[1:] not in every)


def _of_call(node: Call) -> frozenset[str] | None:
    if node.function in _WITHOUT_LABELS:
        return frozenset()
    vectors = [argument for argument in node.arguments if not is_scalar(argument) and not isinstance(argument, String)]
    if node.function in _OTHER_LABELS or len(vectors) != 1:
        return None
    inner = result_labels(vectors[0])
    return inner - {"le"} if inner is not None and node.function == "histogram_quantile" else inner


def _of_aggregation(node: Aggregation) -> frozenset[str] | None:
    if node.operator in _OTHER_LABELS or node.grouping == "without":
        return None
    return result_labels(node.inner) if node.operator in _CHOOSING else frozenset(node.labels)


def _of_operator(node: Binary) -> frozenset[str] | None:
    left, right = result_labels(node.left), result_labels(node.right)
    if is_scalar(node.left) or is_scalar(node.right):
        return right if is_scalar(node.left) else left
    if node.operator in ("and", "unless") or (node.operator == "or" and right == frozenset()):
        return left
    return left if left == right and not node.matching else None
