"""Measure drift on two parquet files: seconds and peak memory of whole processes, compared with other libraries.

    python benchmarks/drift.py --rows 1000000
    python benchmarks/drift.py --rows 10000000 --peer evidently=/tmp/evidently/bin/python --peer nannyml=/tmp/nannyml/bin/python

Each contender is a process of its own: the times hold its imports. ``decode`` reads both files and does nothing with them: the
floor. Twenty numeric columns (continuous, ties, nulls, constant, non-finite, far from zero, zero-inflated, integers) and five
of text.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
PIECE = 1_000_000


def piece(rng, rows, shift):
    """Generate rows as an Arrow table."""
    import numpy as np
    import pyarrow as pa

    columns = {}
    for i in range(8):
        columns[f"normal_{i}"] = rng.normal(shift if i == 0 else 0, 1 + i, rows)
    columns["lognormal"] = rng.lognormal(3, 1.5, rows)
    columns["cauchy"] = rng.standard_cauchy(rows)
    columns["far"] = 1e6 + rng.normal(size=rows)
    columns["zero_inflated"] = np.where(rng.random(rows) < 0.6, 0.0, rng.gamma(2, 10, rows))
    columns["ties"] = np.round(rng.normal(50, 10, rows), 1)
    columns["constant"] = np.full(rows, 7.5)
    odd = rng.normal(size=rows)
    odd[rng.random(rows) < 0.001] = np.nan
    odd[rng.random(rows) < 0.001] = np.inf
    columns["non_finite"] = odd
    columns["count"] = rng.poisson(20, rows)
    columns["id_like"] = rng.integers(0, 2**62, rows)
    columns["pareto"] = (rng.pareto(1.2, rows) * 1000).astype(np.int64)
    for name, share in (("nulls_5", 0.05), ("nulls_50", 0.5)):
        columns[name] = pa.array(rng.normal(size=rows), mask=rng.random(rows) < share)
    for i, distinct in enumerate((2, 10, 50, 500, 5000)):
        names = np.array([f"value {k}" for k in range(distinct)])
        weights = 1 / np.arange(1, distinct + 1)
        columns[f"text_{i}"] = names[rng.choice(distinct, rows, p=weights / weights.sum())]
    return pa.table(columns)


def generate(path, rows, seed, shift):
    import numpy as np
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    writer = None
    for start in range(0, rows, PIECE):
        table = piece(rng, min(PIECE, rows - start), shift)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=PIECE)
    writer.close()


def files(path):
    """Return the file, or the files of a directory."""
    return sorted(Path(path).iterdir()) if Path(path).is_dir() else [Path(path)]


def decode(reference, current):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(os.cpu_count())
    rows = 0
    for path in (*files(reference), *files(current)):
        file = pq.ParquetFile(path)
        texts = [field.name for field in file.schema_arrow if str(field.type) == "string"]
        file = pq.ParquetFile(path, read_dictionary=texts)
        for group in range(file.num_row_groups):
            rows += file.read_row_group(group, use_threads=True).num_rows
    return {"rows": rows}


def ours(reference, current, **options):
    from airflow_slo_provider import drift

    report = drift.compare(reference, current, **options)
    widest = max((column.ks.upper - column.ks.lower for column in report.columns.values() if column.ks), default=0)
    return {"verdict": str(report.verdict), "drifted": report.drifted, "widest": widest}


def ours_exact(reference, current):
    return ours(reference, current, exact=True)


def ours_profile(reference, current):
    """Compare one file with a stored profile of the other; creating the profile is not measured."""
    return ours(_drift().load_profile(f"{reference}.profile.json"), current)


def _drift():
    from airflow_slo_provider import drift

    return drift


def make_profile(reference, current):
    _drift().profile(reference).save(f"{reference}.profile.json")
    return {}


def scipy_loop(reference, current):
    """Run the usual loop: pandas, scipy.stats.ks_2samp per column, chi-square for texts."""
    import numpy as np
    import pandas as pd
    from scipy import stats

    before, after = pd.read_parquet(reference), pd.read_parquet(current)
    found = []
    for name in before.columns:
        if before[name].dtype.kind in "fi":
            sides = [frame[name].to_numpy(dtype=float) for frame in (before, after)]
            sides = [side[np.isfinite(side)] for side in sides]
            p = stats.ks_2samp(*sides, method="asymp").pvalue
        else:
            table = pd.concat([before[name].value_counts(), after[name].value_counts()], axis=1).fillna(0)
            p = stats.chi2_contingency(table.to_numpy().T).pvalue
        if p < 0.05:
            found.append(name)
    return {"drifted": found}


def evidently(reference, current):
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    before, after = pd.read_parquet(reference), pd.read_parquet(current)
    result = Report([DataDriftPreset()]).run(after, before).dict()
    return {"metrics": len(result["metrics"]), "first": str(result["metrics"][0]["value"])}


def nannyml(reference, current):
    import nannyml as nml
    import pandas as pd

    before, after = pd.read_parquet(reference), pd.read_parquet(current)
    before["constant"] += 0.0
    names = [name for name in before.columns if name != "constant"]
    calculator = nml.UnivariateDriftCalculator(
        column_names=names, chunk_number=1, continuous_methods=["kolmogorov_smirnov"], categorical_methods=["chi2"]
    )
    calculator.fit(before)
    result = calculator.calculate(after).filter(period="analysis").to_df()
    return {"alerts": int(sum(bool(result[column].iloc[0]) for column in result.columns if column[-1] == "alert"))}


def alibi(reference, current):
    import numpy as np
    import pandas as pd
    from alibi_detect.cd import TabularDrift

    before, after = pd.read_parquet(reference), pd.read_parquet(current)
    texts = [i for i, name in enumerate(before.columns) if before[name].dtype.kind not in "fi"]
    for name in before.columns[texts]:
        codes = {text: i for i, text in enumerate(sorted(set(before[name]) | set(after[name])))}
        before[name], after[name] = before[name].map(codes), after[name].map(codes)
    sides = [frame.fillna(0).replace([np.inf], 0).to_numpy(dtype=np.float32) for frame in (before, after)]
    detector = TabularDrift(sides[0], categories_per_feature=dict.fromkeys(texts))
    return {"drift": int(detector.predict(sides[1])["data"]["is_drift"])}


CONTENDERS = {
    "decode": decode,
    "ours": ours,
    "ours_profile": ours_profile,
    "ours_exact": ours_exact,
    "scipy": scipy_loop,
    "evidently": evidently,
    "nannyml": nannyml,
    "alibi": alibi,
    "make_profile": make_profile,
}


def linked(path, times):
    """Create a directory of links to a file."""
    home = Path(f"{path}.{times}")
    home.mkdir(exist_ok=True)
    for number in range(times):
        link = home / f"{number:04}.parquet"
        if not link.exists():
            link.symlink_to(Path(path).resolve())
    return str(home)


def measure(python, name, reference, current, seconds):
    """Run one library; return seconds, megabytes and its output."""
    command = [python, str(HERE), "run", name, reference, current]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "ARROW_DEFAULT_MEMORY_POOL": "system"}
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"seconds": time.monotonic() - started, "failed": f"not done after {seconds} s"}
    elapsed = time.monotonic() - started
    if process.returncode:
        return {
            "seconds": elapsed,
            "failed": f"ended with {process.returncode}: {err.strip().splitlines()[-1] if err.strip() else 'killed'}",
        }
    return {"seconds": elapsed, **json.loads(out.strip().splitlines()[-1])}


def run(name, reference, current):
    said = CONTENDERS[name](reference, current)
    # ru_maxrss would include the parent process.
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    times = os.times()
    print(json.dumps({"megabytes": peak / 1024, "cpu": times.user + times.system, "said": said}, default=str))


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        run(*sys.argv[2:5])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default="decode,ours,ours_profile,ours_exact,scipy")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=PYTHON", help="evidently, nannyml, alibi in their environments"
    )
    parser.add_argument("--repeat", type=int, default=1, help="the fastest of so many runs counts")
    parser.add_argument(
        "--times", type=int, default=1, help="read each file so often, as a directory of links to it (no scipy, no peers)"
    )
    parser.add_argument("--timeout", type=int, default=1800)
    parser.add_argument("--keep", help="directory for the data, kept for the next run")
    args = parser.parse_args()
    pythons = dict.fromkeys(args.only.split(","), sys.executable) | dict(item.split("=", 1) for item in args.peer)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(args.keep or scratch)
        home.mkdir(parents=True, exist_ok=True)
        paths = [str(home / f"{side}_{args.rows}.parquet") for side in ("reference", "current")]
        for path, seed, shift in zip(paths, (1, 2), (0, 0.3), strict=True):
            if not os.path.exists(path):
                generate(f"{path}.part", args.rows, seed, shift)
                os.replace(f"{path}.part", path)
        if args.times > 1:
            paths = [linked(path, args.times) for path in paths]
        measure(sys.executable, "make_profile", *paths, args.timeout)
        results = {}
        for name, python in pythons.items():
            runs = [measure(python, name, *paths, args.timeout) for _ in range(args.repeat)]
            results[name] = min(runs, key=lambda one: ("failed" in one, one["seconds"]))
            print(json.dumps({name: results[name]}), flush=True)
    rows = args.rows * args.times
    floor, loop = results.get("decode", {}).get("seconds"), results.get("scipy", {}).get("seconds")
    print(f"\n{rows:,} + {rows:,} rows, {os.cpu_count()} processors\n")
    print(
        "| contender | seconds | CPU seconds | peak MB | times the decode | times faster than scipy |\n|---|---|---|---|---|---|"
    )
    for name, held in results.items():
        seconds = held["seconds"]
        if "failed" in held:
            print(f"| {name} | {seconds:.1f}: {held['failed']} | | | | |")
            continue
        ratios = [f"{seconds / floor:.2f}" if floor else "", f"{loop / seconds:.1f}" if loop else ""]
        print(f"| {name} | {seconds:.2f} | {held['cpu']:.1f} | {held['megabytes']:.0f} | {ratios[0]} | {ratios[1]} |")


if __name__ == "__main__":
    main()
