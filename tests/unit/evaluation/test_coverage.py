"""Simulated golden sets: how often the interval holds the truth, and how often a gate opens wrongly.

A small form of ``benchmarks/evaluation_coverage.py``; the bounds are wide enough for a thousand or two of simulations
(two standard errors of a 95 % coverage are 1.4 points at 1,000, plus the method's own error). Where no formula gives the true
value, scikit-learn computes it from hundreds of thousands of rows: it has no interval to spend time on.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, ndtr, ndtri
from sklearn.metrics import average_precision_score, ndcg_score

from airflow_slo_provider.evaluation import compare, evaluate

SETS = 600


def within(simulated: int, covered: int) -> None:
    share = covered / simulated
    assert 0.925 <= share <= 0.975, f"the interval held the truth in {share:.1%} of {simulated} sets"


def test_interval_of_accuracy_covers_truth() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(SETS):
        right = rng.random(200) < 0.9
        found = evaluate(np.ones(200, dtype=int), right.astype(int), "accuracy")["accuracy"]
        held += found.low <= 0.9 <= found.high
    within(SETS, held)


def test_interval_of_area_covers_truth() -> None:
    rng, held, truth = np.random.default_rng(2), 0, float(ndtr(1.2 / np.sqrt(2)))
    for _ in range(SETS):
        y = rng.integers(0, 2, 200)
        found = evaluate(y, rng.normal(1.2 * y), "roc_auc")["roc_auc"]
        held += found.low <= truth <= found.high
    within(SETS, held)


def test_interval_of_area_near_one_covers_truth() -> None:
    """Where the symmetric interval's lower end lies above the truth in 9 sets of 100."""
    rng, held, above, truth, sets = np.random.default_rng(7), 0, 0, 0.97, 1000
    shift = np.sqrt(2) * ndtri(truth)
    for _ in range(sets):
        y = rng.integers(0, 2, 200)
        found = evaluate(y, rng.normal(shift * y), "roc_auc")["roc_auc"]
        held += found.low <= truth <= found.high
        above += found.low > truth
    within(sets, held)
    assert above / sets <= 0.045


def test_interval_of_average_precision_covers_truth() -> None:
    rng, held, sets = np.random.default_rng(8), 0, 200

    def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(0, 2, n)
        return y, rng.normal(1.5 * y)

    truth = average_precision_score(*rows(400_000))
    for _ in range(sets):
        found = evaluate(*rows(200), "average_precision", replicates=500)["average_precision"]
        held += found.low <= truth <= found.high
    within(sets, held)


def test_interval_of_rmse_covers_truth() -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(SETS):
        found = evaluate(rng.normal(size=200), np.zeros(200), "rmse", replicates=500)["rmse"]
        held += found.low <= 1.0 <= found.high
    within(SETS, held)


def test_interval_of_ndcg_covers_truth() -> None:
    rng = np.random.default_rng(4)

    def queries(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        relevance = (rng.random(count * 12) < 0.25).astype(int)
        return relevance, rng.normal(relevance), np.repeat(np.arange(count), 12)

    relevance, score = (column.reshape(-1, 12) for column in queries(200_000)[:2])
    defined, held = relevance.any(axis=1), 0
    truth = ndcg_score(relevance[defined], score[defined], k=10, ignore_ties=True)
    for _ in range(SETS):
        relevance, score, groups = queries(200)
        found = evaluate(relevance, score, "ndcg@10", groups, replicates=500)["ndcg@10"]
        held += found.low <= truth <= found.high
    within(SETS, held)


@pytest.mark.parametrize("metric", ["mae", "accuracy", "roc_auc", "average_precision"])
def test_interval_of_grouped_rows_covers_truth(metric: str) -> None:
    """Ten rows a query that err together: as single rows they made an interval that held the truth in 40 % of the sets."""
    rng, held, sets = np.random.default_rng(9), 0, 200

    def rows(queries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        easy = np.repeat(rng.normal(size=queries), 10)
        y = np.tile([0, 1], queries * 5)
        if metric == "mae":
            return np.zeros(queries * 10), easy, np.repeat(np.arange(queries), 10)
        score = expit(np.where(y, 1, -1) * (1 + 2 * easy) + rng.normal(size=queries * 10))
        return y, score, np.repeat(np.arange(queries), 10)

    truth = evaluate(*rows(40_000)[:2], metric, replicates=100)[metric].value
    for _ in range(sets):
        found = evaluate(*rows(120)[:2], metric, np.repeat(np.arange(120), 10), replicates=400)[metric]
        held += found.low <= truth <= found.high
    assert found.n == 120
    assert 0.90 <= held / sets <= 0.98


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "brier"])
def test_equally_good_candidate_rarely_passes(metric: str) -> None:
    rng, promoted, sets = np.random.default_rng(5), 0, 400
    for _ in range(sets):
        shared = rng.normal(size=300)
        y = (rng.random(300) < expit(1.5 * shared)).astype(int)
        models = [expit(1.5 * shared + rng.normal(scale=0.7, size=300)) for _ in range(2)]
        promoted += compare(y, *models, metric, replicates=400).verdict == "pass"
    assert promoted / sets <= 0.06


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc"])
def test_candidate_worse_by_twice_the_margin_rarely_passes(metric: str) -> None:
    rng, replaced, sets, margin = np.random.default_rng(6), 0, 400, 0.02
    for _ in range(sets):
        y = rng.integers(0, 2, 2000)
        if metric == "accuracy":
            champion, candidate = (np.where(rng.random(2000) < share, y, 1 - y) for share in (0.90, 0.86))
        else:
            # Areas 0.80 and 0.76: d' = sqrt(2) times the normal quantile.
            champion, candidate = rng.normal(1.1902 * y), rng.normal(0.9989 * y)
        replaced += compare(y, champion, candidate, metric, margin).verdict == "pass"
    assert replaced / sets < 0.01
