"""What reading each example DAG file costs the DAG processor, beyond what it has imported itself: time, and libraries it loads.

    python -m benchmarks.dag_parsing [--repeat 7]

Airflow's DAG processor imports Airflow once and then reads each file in a process of its own, again and again. Each measurement
here is such a process: what the processor has loaded is imported first, then the file is read as it reads it.
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
PROGRAM = """
import gc, json, sys, time
import airflow.dag_processing.processor
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Asset, BaseHook, BaseOperator, BaseSensorOperator, Param, dag, task, task_group
before = set(sys.modules)
gc.collect()
gc.freeze()  # what Airflow itself has allocated is not this file's to collect
started, cpu = time.perf_counter(), time.process_time()
bag = DagBag(dag_folder=sys.argv[1], safe_mode=False, load_op_links=False)
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
assert bag.dags and not bag.import_errors, bag.import_errors
print(json.dumps([seconds, cpu, len(bag.dags), sorted(set(sys.modules) - before)]))
"""


def measure(file: Path, home: str) -> tuple[float, float, int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(file)], cwd=ROOT, check=True, capture_output=True, text=True,
        env={**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
    )  # fmt: skip
    seconds, cpu, dags, loaded = json.loads(done.stdout.splitlines()[-1])
    return seconds, cpu, dags, loaded


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    files = sorted((ROOT / "dags").glob("*.py"))
    trouble = 0
    print(f"median of {options.repeat} processes, and the slowest; the limit is {LIMIT * 1000:.0f} ms")
    with tempfile.TemporaryDirectory() as home:
        found = {file: [] for file in files}
        for _ in range(options.repeat):  # in turn, so that a busy machine spoils all alike
            for file in files:
                found[file].append(measure(file, home))
        for file, runs in found.items():
            seconds, cpu, loaded = [one[0] for one in runs], [one[1] for one in runs], runs[0][3]
            heavy = [name for name in HEAVY if any(item == name or item.startswith(name + ".") for item in loaded)]
            trouble += bool(heavy) or median(seconds) > LIMIT
            times = f"{median(seconds) * 1000:4.0f} ms (slowest {max(seconds) * 1000:4.0f}, CPU {median(cpu) * 1000:4.0f})"
            print(f"{file.name:26} {runs[0][2]} DAGs {times} {len(loaded):3} modules, heavy: {', '.join(heavy) or 'none'}")
    return bool(trouble)


if __name__ == "__main__":
    sys.exit(main())
