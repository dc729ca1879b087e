"""Measure what importing all operators and sensors costs a DAG file beyond ``import airflow.sdk``, compared with other providers.

    python -m benchmarks.import_time [--repeat 15]

Each measurement is a process of its own. It imports every module of some parts of one provider, as a DAG file that uses all of
them would; the subjects alternate, so that a busy machine spoils all of them alike. What Airflow has loaded of this provider when
it starts is forgotten first, and counts as the provider's; the decorators of ``airflow.sdk.task``, which bring a part of the
standard provider along, are not loaded beforehand. Bytecode lies in a directory of the benchmark's own, as installers leave it;
in one row our modules have none, as in a container whose image was told to write none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Milliseconds that our operators and sensors may add.
GOAL = 60
HEAVY = (
    "pandas", "numpy", "scipy", "kubernetes", "sqlalchemy.orm", "sklearn", "pyarrow", "duckdb", "mlflow", "requests", "httpx",
    "aiohttp",
)  # fmt: skip
#: Makes Python compile our modules on every import.
UNCOMPILED = """
from importlib.machinery import SourceFileLoader
kept = SourceFileLoader.get_code
def compiled(self, name):
    path = self.get_filename(name)
    return self.source_to_code(self.get_data(path), path) if name.startswith("airflow_slo_provider") else kept(self, name)
SourceFileLoader.get_code = compiled
"""
PROGRAM = """
import json, sys, time
import airflow.sdk
from airflow.sdk import BaseOperator, BaseSensorOperator, BaseHook, dag, Param, Asset
for name in [name for name in sys.modules if name.partition(".")[0] == "airflow_slo_provider"]:
    del sys.modules[name]
{first}
before = set(sys.modules)
started = time.perf_counter()
{work}
seconds = time.perf_counter() - started
print("MEASURED", json.dumps([seconds, sorted(set(sys.modules) - before)]))
"""


@dataclass(frozen=True)
class Subject:
    """The modules of one provider.

    :param name: as it is shown
    :param work: lines of Python
    :param first: lines of Python that do not count
    """

    name: str
    work: str
    first: str = ""

    def measured(self, bytecode: str) -> tuple[float, list[str]]:
        """Return seconds, and the modules that were loaded, in a process of its own.

        :param bytecode: directory to keep bytecode in
        """
        program = PROGRAM.format(work=self.work, first=self.first)
        around = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True,
            env={**around, "PYTHONPYCACHEPREFIX": bytecode},
        )  # fmt: skip
        seconds, loaded = json.loads(done.stdout.rpartition("MEASURED ")[2])
        return seconds, loaded


def imports_of(provider: str, *parts: str) -> str:
    """Return the lines that import all modules of some packages of a provider."""
    lines = []
    for part in parts:
        package = import_module(f"{provider}.{part}")
        names = sorted(path.stem for where in package.__path__ for path in Path(where).glob("*.py"))
        lines += [f"import {package.__name__}.{name}" for name in names if name != "__init__"]
    return "\n".join(lines)


def subjects() -> list[Subject]:
    """Ours first; a provider that is not installed is left out."""
    ours = "airflow_slo_provider"
    named = imports_of(ours, "operators", "sensors")
    without = "\n".join(line for line in named.splitlines() if "approval" not in line)
    found = [
        Subject("ours: operators and sensors", named),
        Subject("ours: the same without our bytecode", named, UNCOMPILED),
        Subject("ours: without the approvals of playbooks", without),
        Subject("ours: what Airflow loads when it starts", f"import {ours}.get_provider_info as info; info.get_provider_info()"),
        Subject("ours: triggers and notifications", imports_of(ours, "triggers", "notifications")),
    ]
    for short in ("standard", "cncf.kubernetes"):
        provider = f"airflow.providers.{short}"
        if find_spec("airflow.providers") is None or find_spec(f"{provider}.operators") is None:
            continue
        found.append(Subject(f"{short}: operators and sensors", imports_of(provider, "operators", "sensors")))
        found.append(Subject(f"{short}: triggers", imports_of(provider, "triggers")))
    return found


def heavy(loaded: list[str]) -> list[str]:
    """Return the heavy libraries among modules."""
    return [one for one in HEAVY if any(name == one or name.startswith(one + ".") for name in loaded)]


def row(subject: Subject, runs: list[tuple[float, list[str]]], reference: float) -> dict[str, Any]:
    """Return one line of the table."""
    times = [seconds * 1000 for seconds, _ in runs]
    return {
        "what": subject.name,
        "median": median(times),
        "least": min(times),
        "ratio": median(times) / reference,
        "modules": len(runs[0][1]),
        "heavy": heavy(runs[0][1]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    every = subjects()
    runs: dict[str, list[tuple[float, list[str]]]] = {one.name: [] for one in every}
    with tempfile.TemporaryDirectory() as bytecode:
        for one in every:  # the first import compiles
            one.measured(bytecode)
        for _ in range(options.repeat):
            for one in every:
                runs[one.name].append(one.measured(bytecode))
    reference = median(seconds for seconds, _ in runs[every[0].name]) * 1000
    rows = [row(one, runs[one.name], reference) for one in every]
    print(f"added to `import airflow.sdk`, milliseconds, {options.repeat} processes of each")
    print("| what | median | least | against ours | modules | heavy libraries |")
    print("|---|---|---|---|---|---|")
    for one in rows:
        libraries = ", ".join(one["heavy"]) or "none"
        print(
            f"| {one['what']} | {one['median']:.0f} | {one['least']:.0f} | {one['ratio']:.2f} | {one['modules']} | {libraries} |"
        )
    missed = rows[0]["median"] >= GOAL or bool(rows[0]["heavy"])
    print(f"goal: operators and sensors below {GOAL} ms without a heavy library: {'missed' if missed else 'reached'}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
