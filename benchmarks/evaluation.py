"""Measure intervals for a million rows and 100,000 ranking groups, compared with a scikit-learn loop and MLflow's evaluate.

    python -m benchmarks.evaluation [--rows N] [--groups N] [--replicates N] [--loop-replicates N] [--mlflow PYTHON]

Every case runs in a process of its own, so that its peak memory is its own. The loop over rows is timed for ``--loop-replicates``
replicates, and its time for one is what the ratio uses. ``--mlflow`` is the Python of an environment with mlflow and
scikit-learn; MLflow computes no intervals, so it is timed for one evaluation.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

LIST = 20  # rows per ranking group


def rows(n: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    return y, 1 / (1 + np.exp(-(rng.normal(size=n) + y)))


def lists(groups: int) -> tuple[Any, Any, Any]:
    import numpy as np

    rng = np.random.default_rng(1)
    relevance = rng.integers(0, 4, groups * LIST)
    return relevance, rng.normal(relevance), np.repeat(np.arange(groups), LIST)


def ours_rows(n: int, replicates: int) -> dict[str, Any]:
    from airflow_slo_provider.evaluation import evaluate

    y, share = rows(n)
    started = time.perf_counter()
    found = evaluate(y, share, ["roc_auc", "log_loss", "accuracy"], replicates=replicates, method="bootstrap")
    return {"seconds": time.perf_counter() - started, "found": {name: (one.low, one.high) for name, one in found.items()}}


def closed_rows(n: int, replicates: int) -> dict[str, Any]:
    """Compute the default intervals: DeLong and Wilson where they exist, the bootstrap for log-loss."""
    from airflow_slo_provider.evaluation import evaluate

    y, share = rows(n)
    started = time.perf_counter()
    found = evaluate(y, share, ["roc_auc", "log_loss", "accuracy"], replicates=replicates)
    return {"seconds": time.perf_counter() - started, "found": {name: (one.low, one.high) for name, one in found.items()}}


def loop_rows(n: int, replicates: int) -> dict[str, Any]:
    import numpy as np
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    y, share = rows(n)
    label = (share >= 0.5).astype(int)
    rng = np.random.default_rng(2)
    started = time.perf_counter()
    values = []
    for _ in range(replicates):
        chosen = rng.integers(0, n, n)
        values.append(
            (
                roc_auc_score(y[chosen], share[chosen]),
                log_loss(y[chosen], share[chosen]),
                accuracy_score(y[chosen], label[chosen]),
            )
        )
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    names = ["roc_auc", "log_loss", "accuracy"]
    return {
        "seconds": time.perf_counter() - started,
        "found": {name: (float(low[place]), float(high[place])) for place, name in enumerate(names)},
    }


def ours_lists(groups: int, replicates: int) -> dict[str, Any]:
    from airflow_slo_provider.evaluation import evaluate

    relevance, score, group = lists(groups)
    started = time.perf_counter()
    found = evaluate(relevance, score, "ndcg@10", group, replicates=replicates)["ndcg@10"]
    return {"seconds": time.perf_counter() - started, "found": {"value": found.value, "ndcg@10": (found.low, found.high)}}


def loop_lists(groups: int, replicates: int) -> dict[str, Any]:
    import numpy as np
    from sklearn.metrics import ndcg_score

    relevance, score, _ = lists(groups)
    started = time.perf_counter()
    values = np.array(
        [
            ndcg_score(relevance[at : at + LIST][None], score[at : at + LIST][None], k=10)
            for at in range(0, groups * LIST, LIST)
            if relevance[at : at + LIST].any()
        ]
    )
    rng = np.random.default_rng(2)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(replicates)]
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "seconds": time.perf_counter() - started,
        "found": {"value": float(values.mean()), "ndcg@10": (float(low), float(high))},
    }


#: Runs in the environment that has MLflow.
MLFLOW = """
import json, resource, sys, tempfile, time
import numpy as np, pandas as pd, mlflow
n = int(sys.argv[1])
rng = np.random.default_rng(0)
y = rng.integers(0, 2, n)
share = 1 / (1 + np.exp(-(rng.normal(size=n) + y)))
frame = pd.DataFrame({"y": y, "prediction": (share >= 0.5).astype(int)})
mlflow.set_tracking_uri("sqlite:///" + tempfile.mkdtemp() + "/mlflow.db")
started = time.perf_counter()
with mlflow.start_run():
    found = mlflow.models.evaluate(
        data=frame, targets="y", predictions="prediction", model_type="classifier", evaluators="default",
        evaluator_config={"log_explainer": False},
    )
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "peak": peak, "found": {"accuracy_score": found.metrics["accuracy_score"]}}))
"""

CASES = {function.__name__: function for function in (ours_rows, closed_rows, loop_rows, ours_lists, loop_lists)}


def run(case: str, size: int, replicates: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.evaluation",
        "--case",
        case,
        "--rows",
        str(size),
        "--replicates",
        str(replicates),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=100_000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--loop-replicates", type=int, default=20)
    parser.add_argument("--mlflow")
    parser.add_argument("--case", choices=CASES)
    options = parser.parse_args()
    if options.case:
        found = CASES[options.case](options.rows, options.replicates)
        print(json.dumps({**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    table = [("case", "replicates", "seconds", "ms a replicate", "peak MB", "interval of the first metric")]

    def add(name: str, replicates: int, found: dict[str, Any]) -> float:
        first = next(value for value in found["found"].values() if isinstance(value, list)) if replicates else ""
        each = 1000 * found["seconds"] / replicates if replicates else float("nan")
        span = f"{first[0]:.6f} .. {first[1]:.6f}" if first else "none"
        table.append((name, str(replicates), f"{found['seconds']:.2f}", f"{each:.2f}", f"{found['peak']:.0f}", span))
        return each

    ours = add("rows, ours, bootstrap for all", options.replicates, run("ours_rows", options.rows, options.replicates))
    add("rows, ours, as by default", options.replicates, run("closed_rows", options.rows, options.replicates))
    loop = add("rows, scikit-learn loop", options.loop_replicates, run("loop_rows", options.rows, options.loop_replicates))
    lists_ours = run("ours_lists", options.groups, options.replicates)
    add("ndcg@10, ours", options.replicates, lists_ours)
    lists_loop = run("loop_lists", options.groups, options.replicates)
    add("ndcg@10, scikit-learn loop", options.replicates, lists_loop)
    if options.mlflow:
        done = subprocess.run([options.mlflow, "-c", MLFLOW, str(options.rows)], capture_output=True, text=True, check=True)
        add("rows, MLflow evaluate, accuracy and friends", 0, json.loads(done.stdout.splitlines()[-1]))
    for row in table:
        print("| " + " | ".join(row) + " |")
    print(f"rows: the loop takes {loop / ours:.1f} times as long for a replicate")
    print(f"ndcg@10: the loop takes {lists_loop['seconds'] / lists_ours['seconds']:.1f} times as long")
    apart = abs(lists_loop["found"]["value"] - lists_ours["found"]["value"])
    print(f"ndcg@10: the values differ by {apart:.1e}")


if __name__ == "__main__":
    main()
