"""Measure how often intervals contain the true value and how often a gate opens wrongly, on simulated golden sets.

    python -m benchmarks.evaluation_coverage [--sets 2000] [--sizes 200,2000,20000] [--replicates 1000] [--seed 1]

Prints one line for each metric and size: the share of sets whose 95 % interval holds the true value, with the standard error of
that share. Then the gates: how often an equally good candidate is promoted, and how often a champion that is better by twice the
margin is replaced. n is rows, or groups of 12 rows for ndcg@10.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from airflow_slo_provider.evaluation import compare, evaluate

SHIFT = 1.2


def accuracy(rng: np.random.Generator, n: int) -> dict[str, Any]:
    return {"y_true": np.ones(n, dtype=int), "y_pred": (rng.random(n) < 0.9).astype(int)}


def area(rng: np.random.Generator, n: int) -> dict[str, Any]:
    y = rng.integers(0, 2, n)
    return {"y_true": y, "y_pred": rng.normal(SHIFT * y)}


def rmse(rng: np.random.Generator, n: int) -> dict[str, Any]:
    return {"y_true": rng.normal(size=n), "y_pred": np.zeros(n)}


def ranked(rng: np.random.Generator, n: int) -> dict[str, Any]:
    relevance = (rng.random(n * 12) < 0.25).astype(int)
    return {"y_true": relevance, "y_pred": rng.normal(relevance), "groups": np.repeat(np.arange(n), 12)}


def truth_of_ndcg() -> float:
    rng = np.random.default_rng(99)
    parts = [evaluate(**ranked(rng, 200_000), metrics="ndcg@10", replicates=100)["ndcg@10"].value for _ in range(5)]
    return float(np.mean(parts))


def coverage(
    make: Callable[..., dict[str, Any]], metric: str, truth: float, n: int, sets: int, replicates: int, seed: int
) -> float:
    rng, held = np.random.default_rng([seed, n]), 0
    for _ in range(sets):
        found = evaluate(**make(rng, n), metrics=metric, replicates=replicates)[metric]
        held += found.low <= truth <= found.high
    return held / sets


def equal_models(rng: np.random.Generator, n: int) -> tuple[Any, Any, Any]:
    """Simulate two equal models with independent noise."""
    shared = rng.normal(size=n)
    y = (rng.random(n) < expit(1.5 * shared)).astype(int)
    one, two = (expit(1.5 * shared + rng.normal(scale=0.7, size=n)) for _ in range(2))
    return y, one, two


def unequal_models(rng: np.random.Generator, n: int, metric: str) -> tuple[Any, Any, Any]:
    """Simulate a champion that is better by 0.04: accuracy 0.90 and 0.86, areas 0.80 and 0.76."""
    y = rng.integers(0, 2, n)
    if metric == "accuracy":
        champion, candidate = (np.where(rng.random(n) < share, y, 1 - y) for share in (0.90, 0.86))
        return y, champion, candidate
    return y, rng.normal(1.1902 * y), rng.normal(0.9989 * y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--sizes", default="200,2000,20000")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    cases = [
        ("accuracy", accuracy, 0.9),
        ("roc_auc", area, float(ndtr(SHIFT / np.sqrt(2)))),
        ("rmse", rmse, 1.0),
        ("ndcg@10", ranked, truth_of_ndcg()),
    ]
    print("| metric | n | sets | interval holds the truth | standard error |", "|---|---|---|---|---|", sep="\n")
    for metric, make, truth in cases:
        for n in sizes:
            share = coverage(make, metric, truth, n, options.sets, options.replicates, options.seed)
            error = (share * (1 - share) / options.sets) ** 0.5
            print(f"| {metric} | {n} | {options.sets} | {share:.2%} | {error:.2%} |", flush=True)
    print("\n| gate | metric | n | sets | opened |", "|---|---|---|---|---|", sep="\n")
    rng = np.random.default_rng(options.seed)
    for metric in ("accuracy", "roc_auc", "brier"):
        for n in sizes[:2]:
            opened = sum(
                compare(*equal_models(rng, n), metric, replicates=options.replicates).verdict == "pass"
                for _ in range(options.sets)
            )
            print(f"| superiority, equally good | {metric} | {n} | {options.sets} | {opened / options.sets:.2%} |", flush=True)
    for metric in ("accuracy", "roc_auc"):
        for n in sizes[:2]:
            opened = sum(compare(*unequal_models(rng, n, metric), metric, 0.02).verdict == "pass" for _ in range(options.sets))
            print(f"| margin 0.02, worse by 0.04 | {metric} | {n} | {options.sets} | {opened / options.sets:.2%} |", flush=True)


if __name__ == "__main__":
    main()
