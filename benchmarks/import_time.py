"""What importing every operator, sensor and trigger costs beyond ``import airflow.sdk``: time, and libraries it loads.

    python -m benchmarks.import_time [--repeat 15]

Each measurement is a process of its own; the two kinds alternate, so that a busy machine spoils both alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("operators", "sensors", "triggers", "notifications")
HEAVY = (
    "pandas",
    "numpy",
    "scipy",
    "kubernetes",
    "sqlalchemy.orm",
    "sklearn",
    "pyarrow",
    "duckdb",
    "mlflow",
    "requests",
    "httpx",
)
# DAG files use these names of the SDK, which imports them when they are asked for.
BASE = "import airflow.sdk; from airflow.sdk import BaseOperator, BaseSensorOperator, BaseHook, dag, task, Param, Asset"
PROGRAM = """
import json, sys, time
{base}
before = set(sys.modules)
started = time.perf_counter()
{work}
seconds = time.perf_counter() - started
print(json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


def modules() -> list[str]:
    package = ROOT / "airflow_slo_provider"
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for part in PARTS
        for path in sorted((package / part).glob("*.py"))
        if path.name != "__init__.py"
    ]


def measure(work: str) -> tuple[float, list[str]]:
    program = PROGRAM.format(base=BASE, work=work or "pass")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, loaded = json.loads(done.stdout.splitlines()[-1])
    return seconds, loaded


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    ours = modules()
    standard = "from airflow.providers.standard.operators.python import BranchPythonOperator, ShortCircuitOperator"
    both = [(measure("\n".join(f"import {name}" for name in ours)), measure(standard)) for _ in range(options.repeat)]
    loaded = both[0][0][1]
    added = [one[0] for one, _ in both]
    peer = [one[0] for _, one in both]
    heavy = [name for name in HEAVY if any(item == name or item.startswith(name + ".") for item in loaded)]
    print(f"{len(ours)} modules of operators, sensors and triggers, median of {options.repeat} processes")
    print(
        f"added to `import airflow.sdk`: {median(added) * 1000:.0f} ms (least {min(added) * 1000:.0f} ms), {len(loaded)} modules"
    )
    print(f"the standard provider's two branch operators alone: {median(peer) * 1000:.0f} ms")
    print(f"heavy libraries loaded: {', '.join(heavy) or 'none'}")
    return bool(heavy)


if __name__ == "__main__":
    sys.exit(main())
