"""Change one place of the code at a time, and count how many of these mutants the unit tests kill.

The mutants are a sample of all places. Each runs in a copy of the tree, with the tests that run the changed statement, the
quickest first. This file is also the pytest plugin that records which test runs which line, and that selects tests.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mutants import Mutant, mutants

PATHS = [f"airflow_slo_provider/slo/{room}" for room in ("promql", "budget", "policy")]
TESTS = ["tests/unit/slo", "tests/unit/indicators", "tests/unit/checks/test_checks.py"]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Record the lines that a test runs. Caches are emptied, or only the first test would run what they hold."""
    if "MUTATION_RECORD" not in os.environ:
        yield
        return
    for module in [module for name, module in sys.modules.items() if name.startswith("airflow_slo_provider")]:
        for value in list(vars(module).values()):
            if type(value).__name__ == "_lru_cache_wrapper":
                value.cache_clear()
    ran, started = set[str](), time.perf_counter()

    def trace(frame: Any, event: str, _: Any) -> Any:
        if event == "line":
            ran.add(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return trace if "/airflow_slo_provider/slo/" in frame.f_code.co_filename else None

    threading.settrace(trace)
    sys.settrace(trace)
    yield
    sys.settrace(None)
    threading.settrace(None)
    lines = sorted(os.path.relpath(line) for line in ran)
    with open(os.environ["MUTATION_RECORD"], "a") as file:
        file.write(json.dumps({"test": item.nodeid, "seconds": time.perf_counter() - started, "lines": lines}) + "\n")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "MUTATION_TESTS" in os.environ:
        order = {name: place for place, name in enumerate(json.loads(Path(os.environ["MUTATION_TESTS"]).read_text()))}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


def run_tests(tree: Path, files: list[str], timeout: float, **variables: str) -> str:
    environment = os.environ | {"PYTHONPATH": f"{tree}:{tree / 'tools'}", "TMPDIR": str(tree.parent), "CI": ""} | variables
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-p", "mutation_sample", *files]
    with subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            return "survived" if process.wait(timeout) in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else "killed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return "timeout"


def judge(mutant: Mutant, tests: list[dict[str, Any]], trees: queue.Queue[Path]) -> str:
    wanted = None if mutant.lines is None else {f"{mutant.path}:{line}" for line in mutant.lines}
    chosen = [test for test in tests if wanted is None or not wanted.isdisjoint(test["lines"])]
    if not chosen:
        return "untested"
    tree = trees.get()
    changed, names = tree / mutant.path, tree.parent / f"{tree.name}.json"
    original = changed.read_text(encoding="utf-8")
    try:
        changed.write_text(mutant.source, encoding="utf-8")
        names.write_text(json.dumps([test["test"] for test in chosen]))
        files = sorted({test["test"].partition("::")[0] for test in chosen})
        seconds = 60 + 5 * sum(test["seconds"] for test in chosen)
        return run_tests(tree, files, seconds, MUTATION_TESTS=str(names), PYTHONDONTWRITEBYTECODE="1")
    finally:
        changed.write_text(original, encoding="utf-8")
        trees.put(tree)


def interval(killed: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share, at 95 %."""
    share, scale = killed / total, 1 + z * z / total
    middle, half = share + z * z / (2 * total), z * (share * (1 - share) / total + (z / (2 * total)) ** 2) ** 0.5
    return (middle - half) / scale, (middle + half) / scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", default=PATHS)
    parser.add_argument("--tests", nargs="+", default=TESTS)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    files = [str(path) for root in options.paths for path in sorted(Path(root).rglob("*.py"))]
    found = [mutant for path in files for mutant in mutants(path)]
    sample = random.Random(options.seed).sample(found, min(options.sample, len(found)))
    with tempfile.TemporaryDirectory() as directory:
        trees = [Path(directory, name) for name in ("first", "second")]
        record = Path(directory, "record")
        shutil.copytree(".", trees[0], ignore=shutil.ignore_patterns(".*", "__pycache__"))
        if run_tests(trees[0], options.tests, 900, MUTATION_RECORD=str(record)) != "survived":
            sys.exit("the tests fail without a change")
        shutil.copytree(trees[0], trees[1])
        tests = sorted(map(json.loads, record.read_text().splitlines()), key=lambda test: test["seconds"])
        free: queue.Queue[Path] = queue.Queue()
        for tree in trees:
            free.put(tree)
        results = dict.fromkeys(options.paths, (0, 0))
        with ThreadPoolExecutor(len(trees)) as pool:
            for mutant, result in zip(sample, pool.map(lambda one: judge(one, tests, free), sample), strict=True):
                path = next(path for path in options.paths if mutant.path.startswith(path))
                dead = result in ("killed", "timeout")
                results[path] = results[path][0] + dead, results[path][1] + 1
                if result != "killed":
                    print(f"{result} {mutant.path}:{mutant.line}\n{mutant.diff}", flush=True)
    results["all"] = sum(dead for dead, _ in results.values()), sum(total for _, total in results.values())
    for path, (dead, total) in results.items():
        low, high = interval(dead, total) if total else (0, 1)
        print(f"{path}: {dead} of {total} killed, {dead / max(total, 1):.1%} (95 %: {low:.1%} to {high:.1%})")
    print(f"sampled from {len(found)} mutants, seed {options.seed}")


if __name__ == "__main__":
    main()
