"""Ranking by group: ties are averaged over all their orders, silent queries count 0, pointless ones are left out and counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from airflow_slo_provider.evaluation import evaluate
from airflow_slo_provider.evaluation.metrics.ranking import _sort_within_groups
from airflow_slo_provider.exceptions import InvalidMeasurement


def over_all_orders(relevance: list[int], score: list[int], metric: Callable[[list[int]], float]) -> float:
    """The definition itself: the mean over every order that the scores allow."""
    values = []
    for order in itertools.permutations(range(len(relevance))):
        scores = [score[one] for one in order]
        if all(scores[one] >= scores[one + 1] for one in range(len(scores) - 1)):
            values.append(metric([relevance[one] for one in order]))
    return float(np.mean(values))


def reciprocal_rank(k: int) -> Callable[[list[int]], float]:
    return lambda ranked: next((1 / (place + 1) for place, one in enumerate(ranked) if one > 0 and place < k), 0.0)


def average_precision(k: int) -> Callable[[list[int]], float]:
    def metric(ranked: list[int]) -> float:
        hits, total = 0, 0.0
        for place, one in enumerate(ranked[:k]):
            if one > 0:
                hits += 1
                total += hits / (place + 1)
        return total / min(sum(one > 0 for one in ranked), k)

    return metric


def recall(k: int) -> Callable[[list[int]], float]:
    return lambda ranked: sum(one > 0 for one in ranked[:k]) / sum(one > 0 for one in ranked)


@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_ranking_metric_with_ties_is_average_over_orders(k: int) -> None:
    rng = np.random.default_rng(k)
    for _ in range(25):
        n = int(rng.integers(2, 7))
        relevance, score = rng.integers(0, 2, n).tolist(), rng.integers(0, 3, n).tolist()
        if not any(relevance):
            continue
        found = evaluate(relevance, score, [f"map@{k}", f"mrr@{k}", f"recall@{k}"], replicates=100)
        assert found[f"map@{k}"].value == pytest.approx(over_all_orders(relevance, score, average_precision(k)), abs=1e-12)
        assert found[f"mrr@{k}"].value == pytest.approx(over_all_orders(relevance, score, reciprocal_rank(k)), abs=1e-12)
        assert found[f"recall@{k}"].value == pytest.approx(over_all_orders(relevance, score, recall(k)), abs=1e-12)


@pytest.mark.parametrize("metric", ["ndcg@10", "map@10", "mrr", "recall@10", "ndcg_exp@10"])
def test_constant_scores_gain_nothing_from_row_order(metric: str) -> None:
    """The file lists the relevant rows first: whoever keeps its order for ties gives 1.0 here."""
    relevance = np.tile([3, 2, 1] + [0] * 27, 50)
    groups = np.repeat(np.arange(50), 30)
    constant = evaluate(relevance, np.zeros(1500), metric, groups, replicates=100)[metric]
    informed = evaluate(relevance, relevance + 0.1, metric, groups, replicates=100)[metric]
    reversed_file = evaluate(relevance[::-1], np.zeros(1500), metric, groups[::-1], replicates=100)[metric]
    assert constant.value == pytest.approx(reversed_file.value, abs=1e-12)
    assert constant.value < 0.5
    assert informed.value == 1.0


def test_query_without_relevant_row_is_excluded_and_counted() -> None:
    found = evaluate([1, 0, 0, 0], [2, 1, 2, 1], "ndcg@5", ["a", "a", "b", "b"])["ndcg@5"]
    assert (found.value, found.n, found.excluded) == (1.0, 1, 1)
    assert "1 of 2 groups have no relevant row" in found.reason
    none = evaluate([0, 0], [1, 2], "ndcg", ["a", "a"])["ndcg"]
    assert (none.value, none.status) == (None, "insufficient_data")


def test_query_without_predictions_counts_zero() -> None:
    found = evaluate([1, 0, 1, 0], [2, 1, np.nan, np.nan], ["ndcg@5", "mrr", "map@5", "recall@1"], ["a", "a", "b", "b"])
    assert {name: one.value for name, one in found.items()} == dict.fromkeys(found, 0.5)
    assert "1 groups have no prediction and count 0" in found["mrr"].reason


def test_query_with_some_predictions_is_invalid() -> None:
    found = evaluate([1, 0, 1, 0], [2, 1, 3, np.nan], "ndcg", ["a", "a", "b", "b"])["ndcg"]
    assert (found.value, found.status) == (None, "invalid")


def test_negative_relevance_is_rejected() -> None:
    with pytest.raises(InvalidMeasurement, match="1 relevances are negative"):
        evaluate([1, -1], [2, 1], "ndcg", ["a", "a"])


def test_ranking_interval_resamples_queries() -> None:
    rng = np.random.default_rng(5)
    groups, relevance = np.repeat(np.arange(80), 20), rng.integers(0, 2, 1600)
    score = rng.normal(size=1600) + relevance
    found = evaluate(relevance, score, "ndcg@10", groups)["ndcg@10"]
    one_by_one = [
        evaluate(relevance[groups == one], score[groups == one], "ndcg@10", replicates=100)["ndcg@10"].value for one in range(80)
    ]
    error = np.std(one_by_one, ddof=1) / 80**0.5
    assert found.n == 80
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize(("rows", "groups"), [(1, 1), (50, 7), (5000, 300), (5000, 4999)])
def test_sort_within_groups_equals_lexsort(rows: int, groups: int) -> None:
    rng = np.random.default_rng(rows)
    group, key = rng.integers(0, groups, rows), rng.integers(0, 5, rows).astype(float)
    assert np.array_equal(_sort_within_groups(group, key), np.lexsort((key, group)))
