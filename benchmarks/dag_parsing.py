"""Measure what reading each example DAG file costs the DAG processor beyond its own imports: time, and libraries loaded.

    python -m benchmarks.dag_parsing [--repeat 7]

Airflow's DAG processor imports Airflow once and then forks a process for each file, again and again. So does this: one process
imports what the processor has loaded, and each measurement is a fork of it that reads one file. The first time writes bytecode
of our modules; where it may not (PYTHONDONTWRITEBYTECODE) and none lies there, each fork compiles them anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.import_time import HEAVY

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 0.2
#: Reads each named file a number of times and prints one line per reading.
PROGRAM = """
import gc, json, os, sys, time
import airflow.dag_processing.processor
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Asset, BaseHook, BaseOperator, BaseSensorOperator, Param, dag, task, task_group
before = set(sys.modules)

def read(file):
    started, cpu = time.perf_counter(), time.process_time()
    bag = DagBag(dag_folder=file, safe_mode=False, load_op_links=False)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert bag.dags and not bag.import_errors, bag.import_errors
    print("MEASURED", json.dumps([file, seconds, cpu, len(bag.dags), sorted(set(sys.modules) - before)]), flush=True)

gc.collect()
gc.freeze()  # Airflow's own objects are excluded from garbage collection
for _ in range(int(sys.argv[1])):  # in turn, so that load of the machine affects all files equally
    for file in sys.argv[2:]:
        child = os.fork()
        if not child:
            read(file)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{file} cannot be read")
"""


def measure(files: list[Path], repeat: int) -> dict[Path, list[tuple[float, float, int, list[str]]]]:
    """Return seconds, seconds of CPU, DAGs and loaded modules of each reading, by file."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, str(repeat), *map(str, files)],
            cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        )  # fmt: skip
    found: dict[Path, list[tuple[float, float, int, list[str]]]] = {file: [] for file in files}
    for line in done.stdout.splitlines():
        if line.startswith("MEASURED "):
            file, *measured = json.loads(line.removeprefix("MEASURED "))
            found[Path(file)].append(tuple(measured))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    trouble = 0
    print(f"median of {options.repeat} processes, and the slowest; the limit is {LIMIT * 1000:.0f} ms")
    for file, runs in measure(sorted((ROOT / "dags").glob("*.py")), options.repeat).items():
        seconds, cpu, loaded = [one[0] for one in runs], [one[1] for one in runs], runs[0][3]
        heavy = [name for name in HEAVY if any(item == name or item.startswith(name + ".") for item in loaded)]
        trouble += bool(heavy) or median(seconds) > LIMIT
        times = f"{median(seconds) * 1000:4.0f} ms (slowest {max(seconds) * 1000:4.0f}, CPU {median(cpu) * 1000:4.0f})"
        print(f"{file.name:26} {runs[0][2]} DAGs {times} {len(loaded):3} modules, heavy: {', '.join(heavy) or 'none'}")
    return bool(trouble)


if __name__ == "__main__":
    sys.exit(main())
