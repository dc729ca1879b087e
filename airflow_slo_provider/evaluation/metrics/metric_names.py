"""Look up metrics by scikit-learn's names: the columns each reads, its direction, and its interval."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.text_lists import text_list

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.rows.predictions import JoinedPredictions
    from airflow_slo_provider.evaluation.rows.sample import EvaluationSample

LABEL, SCORE, NUMBER, RANKING, CUSTOM, LATENCY = "label", "score", "number", "ranking", "custom", "latency"

_RANKING = re.compile(r"(ndcg|ndcg_exp|map|mrr|recall)(?:@([1-9][0-9]*))?")


@dataclass(frozen=True)
class Metric:
    """One metric.

    :param name: as the user wrote it, e.g. ``ndcg@10``
    :param base: name without the cut-off, e.g. ``ndcg``
    :param reads: ``label`` (predicted classes), ``score`` (probabilities or scores), ``number`` (regression), ``ranking``
        (scores within groups), ``custom`` (a callable) or ``latency`` (of the predictor)
    :param higher_is_better: whether a greater value is better
    :param k: cut-off of a ranking metric, None for the whole list
    :param bounded: whether it lies in [0, 1]
    :param function: function of a custom metric: (y_true, y_pred) -> float
    :param directed: whether its direction is known; a metric without a known direction is never judged
    """

    name: str
    base: str
    reads: str
    higher_is_better: bool = True
    k: int | None = None
    bounded: bool = True
    function: Callable[[Any, Any], float] | None = None
    directed: bool = True

    def select_sample(self, joined: JoinedPredictions) -> EvaluationSample:
        """Return the rows that the metric reads; for ranking metrics these include rows without a prediction."""
        return joined.ranked if self.reads == RANKING else joined.sample


_KNOWN: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(Metric(name, name, LABEL) for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1")),
        *(Metric(name, name, SCORE) for name in ("roc_auc", "average_precision")),
        Metric("log_loss", "log_loss", SCORE, higher_is_better=False, bounded=False),
        *(Metric(name, name, SCORE, higher_is_better=False) for name in ("brier", "calibration_error")),
        *(Metric(name, name, NUMBER, higher_is_better=False, bounded=False) for name in ("rmse", "mse", "mae", "mape")),
        Metric("r2", "r2", NUMBER, bounded=False),
        *(
            Metric(name, name, LATENCY, higher_is_better=name == "throughput", bounded=False)
            for name in ("latency_p50", "latency_p95", "latency_p99", "throughput")
        ),
    )
}
#: Aliases of the metrics.
_ALIASES = {
    "auc": "roc_auc",
    "brier_score": "brier",
    "brier_score_loss": "brier",
    "ece": "calibration_error",
    "mean_absolute_error": "mae",
    "mean_absolute_percentage_error": "mape",
    "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse",
    **{f"{name}_score": name for name in ("accuracy", "average_precision", "balanced_accuracy", "f1", "precision")},
    **{f"{name}_score": name for name in ("r2", "recall", "roc_auc")},
}
#: Direction of a function, by the last word of its name, as is usual in scikit-learn.
_ENDINGS = {"score": True, "loss": False, "error": False, "deviance": False, "corrcoef": True}


def find_metric(
    metric: str | Callable[[Any, Any], float] | Metric, higher_is_better: bool | None = None, *, name: str | None = None
) -> Metric:
    """Return a metric by name, or make one from a callable.

    The direction of a callable is its attribute ``higher_is_better``, or follows from its name: the name of a known metric, or
    one that ends in ``_score``, ``_corrcoef``, ``_loss``, ``_error`` or ``_deviance``.

    :param metric: ``accuracy``, ``roc_auc``, ``ndcg@10`` ..., or a function (y_true, y_pred) -> float
    :param higher_is_better: direction of a callable without one of its own
    :param name: name of a callable; by default the function's name
    :raises ValueError: for an unknown name, with the closest known one
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        inner = getattr(metric, "func", metric)  # inner function of functools.partial
        own_name = getattr(inner, "__name__", type(inner).__name__)
        better = getattr(metric, "higher_is_better", getattr(inner, "higher_is_better", higher_is_better))
        directions = {bool(better)} if better is not None else {_direction(own_name), _direction(name or own_name)} - {None}
        return Metric(
            name or own_name, "custom", CUSTOM, higher_is_better=directions != {False}, bounded=False, function=metric,
            directed=len(directions) == 1,
        )  # fmt: skip
    if metric.startswith("neg_"):
        raise ValueError(f"metric {metric!r} is not known: scorers negate losses; write {metric[4:]!r}, where lower is better")
    name = _ALIASES.get(metric, metric)
    if name in _KNOWN:
        return replace(_KNOWN[name], name=metric)
    ranked = _RANKING.fullmatch(name)
    if ranked and (ranked[2] or ranked[1] != "recall"):
        return Metric(name, ranked[1], RANKING, k=int(ranked[2]) if ranked[2] else None)
    from difflib import get_close_matches

    names = [*_KNOWN, "ndcg@10", "map@10", "mrr", "recall@10"]
    near = get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}, or a function (y_true, y_pred) -> float"
    raise ValueError(f"metric {metric!r} is not known{hint}")


def _direction(name: str) -> bool | None:
    """Return the direction that a name implies, or None: ``neg_mean_squared_error``, for example, is ambiguous."""
    if name.startswith("neg_"):
        return None
    try:
        return find_metric(name).higher_is_better
    except ValueError:
        return _ENDINGS.get(name.rpartition("_")[2])


def find_metrics(metrics: Any) -> list[Metric]:
    """Return metrics for one name, a list of names and callables, or a mapping name -> callable.

    :raises ValueError: for an empty list, an unknown name or the same name twice
    """
    if isinstance(metrics, (str, Metric)) or callable(metrics):
        metrics = [metrics]
    if isinstance(metrics, Mapping):
        found = [replace(find_metric(function, name=name), name=name) for name, function in metrics.items()]
    else:
        found = [find_metric(metric) for metric in metrics]
    if not found:
        raise ValueError("metrics is empty: name at least one")
    names = [metric.name for metric in found]
    if len(set(names)) < len(names):
        raise ValueError(f"metrics contains a name twice: {', '.join(names)}")
    return found


def check_direction(metric: Metric) -> None:
    """Reject a metric whose direction is not known, because it cannot be judged.

    :raises ValueError: with what to write
    """
    if not metric.directed:
        raise ValueError(f"metric {metric.name} has no direction; set higher_is_better = True (or False) on the function")


def check_comparison(metric: Metric, margin: float) -> None:
    """Reject a comparison that cannot be made, or a margin that no candidate could exceed.

    :raises ValueError: with what to write instead
    """
    check_direction(metric)
    if metric.reads == LATENCY:
        raise ValueError(f"{metric.name} is not compared with a champion's: it is measured, not computed; give it a threshold")
    if not 0 <= margin < float("inf"):
        raise ValueError(f"margin of {metric.name} is {margin}; it is what the candidate may lose: 0 or more")
    if metric.bounded and margin >= 1:
        raise ValueError(f"margin of {metric.name} is {margin:g}; nothing can lose that much: write less than 1, e.g. 0.01")


def select_compared_metrics(
    metrics: Sequence[Metric], *, thresholds: Iterable[str], compare_on: Iterable[str] | None, champion: bool
) -> tuple[str, ...]:
    """Return the metrics to compare with the champion: those of ``compare_on``, else those with thresholds, else the first.

    :param champion: whether there may be a champion
    :raises ValueError: for a name that is not in ``metrics``, for a metric that cannot be judged, and for a champion without any
        metric to compare
    """
    by_name, judged, compared = {metric.name: metric for metric in metrics}, tuple(thresholds), text_list(compare_on)
    for parameter, names in (("thresholds", judged), ("compare_on", compared)):
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ValueError(f"{parameter} names {', '.join(map(repr, unknown))}, which metrics does not: {', '.join(by_name)}")
    if compared and not champion:
        raise ValueError("compare_on is set without a champion to compare with")
    measured = [name for name, metric in by_name.items() if metric.reads != LATENCY]
    compared = compared or tuple(name for name in judged if name in measured) or tuple(measured[:1])
    if champion and not compared:
        raise ValueError("there is a champion, and metrics names only latencies, which are not compared; add another metric")
    for name in judged:
        check_direction(by_name[name])
    for name in compared if champion else ():
        check_comparison(by_name[name], 0.0)
    return compared
