"""Compute ranking metrics, one value per group (query), for all groups at once.

Rows with the same score have no order among themselves: a cut-off metric is the mean over all orders of the tied rows
[McSherry and Najork 2008], so that a model with constant scores cannot profit from the order of the file.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.metrics.metric_names import Metric
from airflow_slo_provider.evaluation.rows.sample import EvaluationSample, UndefinedMetric, require_finite
from airflow_slo_provider.exceptions import InvalidMeasurement


def rank_units(metric: Metric, sample: EvaluationSample) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, int, str]:
    """Return one value per group, the groups' weights, the number of groups left out, and the reason.

    A group without a relevant row cannot be ranked well or badly: it is left out and counted. A group without any prediction
    (all scores NaN) has the value 0.

    :raises InvalidMeasurement: for a negative relevance, or a group with scores for only some of its rows
    :raises UndefinedMetric: when no group has a relevant row
    """
    relevance = require_finite(sample.truth, "relevances")
    if (relevance < 0).any():
        raise InvalidMeasurement(f"{metric.name}: {int((relevance < 0).sum())} relevances are negative; they must be 0 or more")
    score = np.asarray(sample.prediction if sample.score is None else sample.score, dtype=np.float64)
    if score.ndim != 1:
        raise UndefinedMetric("ranking needs one score per row", "invalid")
    group = np.zeros(sample.n, dtype=np.intp) if sample.units is None else sample.units
    count = int(group.max()) + 1
    unscored = _find_unscored_groups(group, score, count)
    score = np.where(unscored[group], 0.0, score)
    lists = _RankedLists(relevance, score, group, count)
    relevant = np.bincount(group, weights=relevance > 0, minlength=count)
    values = _METRICS[metric.base](lists, metric.k)
    values[unscored] = 0.0
    kept = relevant > 0
    if not kept.any():
        raise UndefinedMetric(f"none of {count} groups has a relevant row")
    excluded = int(count - kept.sum())
    reasons = [f"{excluded} of {count} groups have no relevant row and are left out"] if excluded else []
    if unscored[kept].any():
        reasons.append(f"{int(unscored[kept].sum())} groups have no prediction and count 0")
    weight = None
    if sample.weight is not None:
        weight = (np.bincount(group, weights=sample.weight, minlength=count) / lists.sizes)[kept]
    return values[kept], weight, excluded, "; ".join(reasons)


def _find_unscored_groups(group: NDArray[np.intp], score: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Return a mask of the groups without any score."""
    if np.isinf(score).any():
        raise UndefinedMetric("a score is infinite", "invalid")
    missing = np.bincount(group, weights=np.isnan(score), minlength=count)
    incomplete = int(((missing > 0) & (missing < np.bincount(group, minlength=count))).sum())
    if incomplete:
        raise UndefinedMetric(f"{incomplete} groups have scores for some of their rows only", "invalid")
    return missing > 0


class _RankedLists:
    """All groups in one list, sorted by group and descending score, with ranks that start at 1 in each group."""

    def __init__(self, relevance: Any, score: Any, group: Any, count: int) -> None:
        order = _sort_within_groups(group, -score)
        self.group, self.count = group[order], count
        self.relevance, score = relevance[order], score[order]
        self.sizes = np.bincount(group, minlength=count)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.rank = np.arange(len(order)) - self.starts[self.group] + 1
        new_tie = np.append(True, (self.group[1:] != self.group[:-1]) | (score[1:] != score[:-1]))
        self.tie = np.cumsum(new_tie) - 1
        self.tie_starts = np.flatnonzero(new_tie)
        self.tie_sizes = np.diff(np.append(self.tie_starts, len(order)))

    def in_first(self, k: int | None) -> Any:
        """Return which rows have a rank of at most k; all of them if k is None."""
        return self.rank <= (self.rank.max() if k is None else k)

    def average_ties(self, values: Any) -> Any:
        """Replace each value by its mean over the rows tied with it."""
        return (np.add.reduceat(values, self.tie_starts) / self.tie_sizes)[self.tie]

    def total(self, values: Any) -> Any:
        """Return the sum per group."""
        return np.bincount(self.group, weights=values, minlength=self.count)

    def ideal(self, gain: Any) -> Any:
        """Return the gains in descending order within each group."""
        return gain[_sort_within_groups(self.group, -gain)]


def _sort_within_groups(group: NDArray[np.intp], key: Any) -> Any:
    """Return lexsort's order by group and, within a group, by ``key``; many short sorts are faster than one long one."""
    rows = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    by_size = np.argsort(sizes, kind="stable")
    order = np.empty_like(rows)
    for same_size in np.split(by_size, np.flatnonzero(np.diff(sizes[by_size])) + 1):
        positions = starts[same_size][:, None] + np.arange(sizes[same_size[0]])
        within = np.argsort(key[rows[positions]], axis=1, kind="stable")
        order[positions] = np.take_along_axis(rows[positions], within, axis=1)
    return order


def _ndcg(lists: _RankedLists, k: int | None, *, exponential: bool = False) -> Any:
    """Compute NDCG with gain rel [Järvelin and Kekäläinen 2002] or 2^rel - 1 [Burges et al. 2005], discount log2(rank + 1)."""
    gain = np.exp2(lists.relevance) - 1 if exponential else lists.relevance
    discount = 1 / np.log2(lists.rank + 1.0) * lists.in_first(k)
    # Mean over all orders of tied rows: each row gets the mean discount of the tied ranks.
    reached = lists.total(gain * lists.average_ties(discount))
    best = lists.total(lists.ideal(gain) * discount)
    return np.divide(reached, best, out=np.zeros(lists.count), where=best > 0)


def _recall(lists: _RankedLists, k: int | None) -> Any:
    """Compute recall@k, the share of relevant rows in the first k; a tie across the cut counts by its chance to be above it."""
    relevant = lists.relevance > 0
    inside = lists.average_ties(lists.in_first(k).astype(float))
    total = lists.total(relevant)
    return np.divide(lists.total(relevant * inside), total, out=np.zeros(lists.count), where=total > 0)


def _mrr(lists: _RankedLists, k: int | None) -> Any:
    """Compute the reciprocal rank of the first relevant row, as the mean over the orders of the rows tied with it.

    With r relevant rows among t tied rows after s others, the first relevant row is at rank s + j with probability
    C(t - j, r - 1) / C(t, r).
    """
    relevant = np.add.reduceat((lists.relevance > 0).astype(float), lists.tie_starts)
    values = np.zeros(lists.count)
    ties = np.flatnonzero(relevant > 0)
    group = lists.group[lists.tie_starts[ties]]
    first = ties[np.diff(group, prepend=-1) != 0]  # the first tie of each group that holds a relevant row
    single, several = first[lists.tie_sizes[first] == 1], first[lists.tie_sizes[first] > 1]
    rank = lists.rank[lists.tie_starts[single]]
    values[lists.group[lists.tie_starts[single]]] = 1 / rank if k is None else np.where(rank <= k, 1 / rank, 0.0)
    for tie in several:
        before = lists.rank[lists.tie_starts[tie]] - 1
        size, good = int(lists.tie_sizes[tie]), int(relevant[tie])
        chance, total = good / size, 0.0  # probability that the first tied rank holds a relevant row
        for position in range(1, size - good + 2):
            if k is None or before + position <= k:
                total += chance / (before + position)
            if position < size:
                chance *= max(size - position - good + 1, 0) / (size - position)
        values[lists.group[lists.tie_starts[tie]]] = total
    return values


def _map(lists: _RankedLists, k: int | None) -> Any:
    """Compute mean average precision: precision at each relevant row of the first k, over min(relevant rows, k).

    Ties: the expected value over all orders. For a relevant row at place j of a tie with t rows, r of them relevant, after s
    rows, S of them relevant, the expected precision there is (S + 1 + (j - 1)(r - 1)/(t - 1)) / (s + j).
    """
    relevant = (lists.relevance > 0).astype(float)
    in_tie = np.add.reduceat(relevant, lists.tie_starts)
    running = np.cumsum(relevant) - relevant
    before_group = running[lists.starts[lists.group]] if len(running) else running
    before = running[lists.tie_starts][lists.tie] - before_group
    position = np.arange(len(relevant)) - lists.tie_starts[lists.tie]  # 0-based within the tie
    size, good = lists.tie_sizes[lists.tie], in_tie[lists.tie]
    others = np.divide(position * (good - 1), size - 1, out=np.zeros(len(relevant)), where=size > 1)
    # Each rank of the tie holds a relevant row with probability good / size.
    precision = good / size * (before + 1 + others) / lists.rank * lists.in_first(k)
    total = lists.total(relevant)
    most = total if k is None else np.minimum(total, k)
    return np.divide(lists.total(np.where(good > 0, precision, 0.0)), most, out=np.zeros(lists.count), where=most > 0)


_METRICS: dict[str, Any] = {
    "ndcg": _ndcg,
    "ndcg_exp": partial(_ndcg, exponential=True),
    "map": _map,
    "mrr": _mrr,
    "recall": _recall,
}
