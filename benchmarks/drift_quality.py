"""Measure false alarms and detected drift on simulated days of 25 columns.

    python benchmarks/drift_quality.py --rows 500,2000,20000 --days 2000
    python benchmarks/drift_quality.py --rows 2000 --days 50 --peer evidently=/tmp/evidently/bin/python --peer
    nannyml=/tmp/nannyml/bin/python

Every day has a fresh reference and fresh current rows. Twenty columns are numbers (normal, log-normal, heavy tails,
zero-inflated, counts, ties), five are texts. ``none``: no column drifts. ``mean``: one normal column's mean moves by 0.3
standard deviations. ``psi``: one normal column moves so far that its population index is 0.2. ``texts``: the shares of one
text column change so that its index is 0.2. A dataset alarm is the tool's own verdict with its defaults; intervals are
Wilson's at 95 %.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve()
SHIFTS = {"none": 0.0, "mean": 0.3, "psi": 0.4585, "texts": 0.0}
#: Shares of a text column before, and after a change whose population index is 0.2.
SHARES = (0.4, 0.3, 0.2, 0.1)


def changed_shares():
    """Move weight from the first text to the last until the index is 0.2."""

    def index(moved):
        after = (SHARES[0] - moved, SHARES[1], SHARES[2], SHARES[3] + moved)
        return sum((q - p) * math.log(q / p) for p, q in zip(SHARES, after, strict=True))

    low, high = 0.0, 0.39
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if index(middle) < 0.2 else (low, middle)
    return (SHARES[0] - low, SHARES[1], SHARES[2], SHARES[3] + low)


def side(rng, rows, scenario):
    import numpy as np

    columns = {"target": rng.normal(SHIFTS[scenario], 1, rows)}
    for i in range(7):
        columns[f"normal_{i}"] = rng.normal(i, 1 + i, rows)
    for i in range(3):
        columns[f"lognormal_{i}"] = rng.lognormal(3, 1 + i / 2, rows)
    columns["cauchy"] = rng.standard_cauchy(rows)
    columns["uniform"] = rng.random(rows)
    columns["far"] = 1e6 + rng.normal(size=rows)
    for i in range(2):
        columns[f"zeros_{i}"] = np.where(rng.random(rows) < 0.5 + 0.3 * i, 0.0, rng.gamma(2, 10, rows))
    for i in range(2):
        columns[f"count_{i}"] = rng.poisson(3 + 20 * i, rows)
    for i in range(2):
        columns[f"ties_{i}"] = np.round(rng.normal(size=rows), 1 + i)
    shares = changed_shares() if scenario == "texts" else SHARES
    columns["text_target"] = rng.choice(np.array(["a", "b", "c", "d"]), rows, p=np.array(shares) / sum(shares))
    for i, distinct in enumerate((2, 8, 30, 200)):
        weights = 1 / np.arange(1, distinct + 1)
        columns[f"text_{i}"] = np.array([f"v{k}" for k in range(distinct)])[rng.choice(distinct, rows, p=weights / weights.sum())]
    return columns


def days(rows, scenario, count, seed):
    import numpy as np
    import pandas as pd

    for day in range(count):
        rng = np.random.default_rng([seed, rows, day, list(SHIFTS).index(scenario)])
        yield tuple(pd.DataFrame(side(rng, rows, which)) for which in ("none", scenario))


TARGETS = {"mean": "target", "psi": "target", "texts": "text_target", "none": None}


def ours(before, after):
    from airflow_slo_provider import drift

    report = drift.compare(before, after)
    return report.verdict == "drift", report.drifted, report.in_state("warn")


def evidently(before, after):
    from evidently import Report
    from evidently.presets import DataDriftPreset

    result = Report([DataDriftPreset()]).run(after, before).dict()
    head = result["metrics"][0]["value"]
    drifted = [None] * int(head["count"])
    return head["share"] >= 0.5, drifted, []


def nannyml(before, after):
    import nannyml as nml

    # NannyML's defaults: ten chunks per side, and thresholds from the variation of the reference's chunks. Any alert is an alarm.
    calculator = nml.UnivariateDriftCalculator(column_names=list(before.columns))
    calculator.fit(before)
    result = calculator.calculate(after).filter(period="analysis").to_df()
    drifted = sorted({column[0] for column in result.columns if column[-1] == "alert" and bool(result[column].any())})
    return bool(drifted), drifted, []


def run(tool, rows, scenario, count, seed):
    judge = {"ours": ours, "evidently": evidently, "nannyml": nannyml}[tool]
    alarms = found = warned = columns = 0
    started = time.monotonic()
    for before, after in days(rows, scenario, count, seed):
        alarm, drifted, warns = judge(before, after)
        target = TARGETS[scenario]
        alarms += alarm
        columns += len(drifted)
        found += target in drifted
        warned += target in drifted or target in warns
    print(
        json.dumps(
            {"alarms": alarms, "found": found, "warned": warned, "columns": columns, "seconds": time.monotonic() - started}
        )
    )


def wilson(hits, count):
    z = 1.959964
    middle = (hits + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * math.sqrt(hits * (count - hits) / count + z * z / 4)
    return f"{hits / count:.1%} [{max(0, middle - half):.1%}, {min(1, middle + half):.1%}]"


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        tool, rows, scenario, count, seed = sys.argv[2:7]
        run(tool, int(rows), scenario, int(count), int(seed))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="500,2000,20000")
    parser.add_argument("--days", default="200", help="one number, or one for each number of rows")
    parser.add_argument("--power-days", type=int, help="days of the scenarios with drift; as many by default")
    parser.add_argument("--scenarios", default=",".join(SHIFTS))
    parser.add_argument("--tool", default="ours", help="empty for the peers alone")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    tools = ({args.tool: sys.executable} if args.tool else {}) | dict(item.split("=", 1) for item in args.peer)
    sizes = [int(rows) for rows in args.rows.split(",")]
    counts = [int(count) for count in args.days.split(",")]
    counts = counts * len(sizes) if len(counts) == 1 else counts
    print("| rows | scenario | tool | days | dataset alarm | the column found | found or warned | drifted columns a day |")
    print("|---|---|---|---|---|---|---|---|")
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    for rows, count in zip(sizes, counts, strict=True):
        for scenario in args.scenarios.split(","):
            for tool, python in tools.items():
                held = count if scenario == "none" or not args.power_days else min(count, args.power_days)
                command = [python, str(HERE), "run", tool, str(rows), scenario, str(held), str(args.seed)]
                done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
                if done.returncode:
                    said = (done.stderr.strip().splitlines() or ["killed"])[-1]
                    print(f"| {rows:,} | {scenario} | {tool} | {held} | failed: {said} | | | |", flush=True)
                    continue
                one = json.loads(done.stdout.strip().splitlines()[-1])
                named = TARGETS[scenario] and tool != "evidently"
                power = [wilson(one[key], held) if named else "" for key in ("found", "warned")]
                print(
                    f"| {rows:,} | {scenario} | {tool} | {held} | {wilson(one['alarms'], held)} | {power[0]} | {power[1]} "
                    f"| {one['columns'] / held:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
