"""The metrics by name, scikit-learn's names: what each reads, which way is better, and how its interval is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

LABEL, SCORE, NUMBER, RANKING, CUSTOM, LATENCY = "label", "score", "number", "ranking", "custom", "latency"

_RANKING = re.compile(r"(ndcg|ndcg_exp|map|mrr|recall)(?:@([1-9][0-9]*))?")


@dataclass(frozen=True)
class Metric:
    """One metric.

    :param name: as the user wrote it, e.g. ``ndcg@10``
    :param base: without the cut-off, e.g. ``ndcg``
    :param reads: ``label`` (predicted classes), ``score`` (probabilities or scores), ``number`` (regression), ``ranking``
        (scores within groups), ``custom`` (a callable) or ``latency`` (of the predictor)
    :param higher_is_better: which way is better
    :param k: cut-off of a ranking metric, None for the whole list
    :param bounded: whether it lies in [0, 1]
    :param function: of a custom metric: (y_true, y_pred) -> float
    """

    name: str
    base: str
    reads: str
    higher_is_better: bool = True
    k: int | None = None
    bounded: bool = True
    function: Callable[[Any, Any], float] | None = None


_KNOWN: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", LABEL),
        Metric("balanced_accuracy", "balanced_accuracy", LABEL),
        Metric("precision", "precision", LABEL),
        Metric("recall", "recall", LABEL),
        Metric("f1", "f1", LABEL),
        Metric("roc_auc", "roc_auc", SCORE),
        Metric("average_precision", "average_precision", SCORE),
        Metric("log_loss", "log_loss", SCORE, higher_is_better=False, bounded=False),
        Metric("brier", "brier", SCORE, higher_is_better=False),
        Metric("calibration_error", "calibration_error", SCORE, higher_is_better=False),
        Metric("rmse", "rmse", NUMBER, higher_is_better=False, bounded=False),
        Metric("mse", "mse", NUMBER, higher_is_better=False, bounded=False),
        Metric("mae", "mae", NUMBER, higher_is_better=False, bounded=False),
        Metric("mape", "mape", NUMBER, higher_is_better=False, bounded=False),
        Metric("r2", "r2", NUMBER, bounded=False),
        *(
            Metric(name, name, LATENCY, higher_is_better=name == "throughput", bounded=False)
            for name in ("latency_p50", "latency_p95", "latency_p99", "throughput")
        ),
    )
}
#: Other names of the same metrics.
_ALIASES = {"auc": "roc_auc", "brier_score": "brier", "ece": "calibration_error", "neg_log_loss": "log_loss"}


def find(metric: str | Callable[[Any, Any], float] | Metric, higher_is_better: bool = True) -> Metric:
    """Return a metric by name, or make one of a callable.

    :param metric: ``accuracy``, ``roc_auc``, ``ndcg@10`` ..., or a function (y_true, y_pred) -> float
    :param higher_is_better: of a callable; an attribute ``higher_is_better`` on it wins
    :raises ValueError: for a name that is not known, with the nearest one
    """
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        name = getattr(metric, "__name__", type(metric).__name__)
        better = bool(getattr(metric, "higher_is_better", higher_is_better))
        return Metric(name, "custom", CUSTOM, higher_is_better=better, bounded=False, function=metric)
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


def find_all(metrics: Any) -> list[Metric]:
    """Return metrics of one name, a list of names and callables, or a mapping name -> callable.

    :raises ValueError: for an empty list, an unknown name or the same name twice
    """
    if isinstance(metrics, (str, Metric)) or callable(metrics):
        metrics = [metrics]
    if isinstance(metrics, Mapping):
        found = []
        for name, function in metrics.items():
            found.append(replace(find(function), name=name))
    else:
        found = [find(metric) for metric in metrics]
    if not found:
        raise ValueError("metrics is empty: name at least one")
    names = [metric.name for metric in found]
    if len(set(names)) < len(names):
        raise ValueError(f"metrics names one twice: {', '.join(names)}")
    return found
