"""``python -m tests.fuzz TARGET --seconds N``: search for inputs that a reader does not handle.

Seeds are our own, stored cases, and the acceptance data; they are collected for each run. Findings are written to
``--findings``; a fixed one belongs in ``tests/fuzz/cases/TARGET`` (:mod:`.case_file`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.acceptance_seeds import acceptance_seeds
from tests.fuzz.targets import TARGETS
from tests.support import REPO

MAX_BYTES = 16_384


@dataclass(frozen=True)
class Outcome:
    """The result of a search.

    :param findings: description and details of each finding
    :param executions: number of inputs tried
    :param edges: number of branches covered, by libFuzzer's count
    :param corpus: number of inputs that covered new branches
    :param lines: covered and total lines of the reader
    """

    findings: dict[str, str]
    executions: int
    edges: int
    corpus: int
    lines: tuple[int, int]
    output: str


def fuzz(name: str, python: Path, *, seconds: float, seed: int = 0, keep: Path | None = None) -> Outcome:
    """Search for findings.

    :param name: name of the target
    :param python: interpreter of the environment that holds atheris
    :param seconds: duration without start-up
    :param seed: seed of the random numbers; 0 for a random one
    :param keep: directory for findings
    """
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        corpus, findings = Path(home) / "corpus", keep or Path(home) / "findings"
        corpus.mkdir()
        findings.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate([*target.seeds, *target.cases.values(), *acceptance_seeds(name)]):
            (corpus / f"seed-{number:04d}").write_bytes(data[:MAX_BYTES])
        engine = [str(python), "-m", "tests.fuzz.engine", name, "--findings", str(findings)]
        options = [
            f"-max_total_time={max(1, round(seconds))}", f"-seed={seed}", f"-max_len={MAX_BYTES}", "-timeout=20",
            "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={findings}/",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(REPO)}
        ran = subprocess.run(
            [*engine, *options, str(corpus)], cwd=REPO, env=environment, text=True, errors="replace", check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        found = _findings(findings)
        if ran.returncode:
            found[f"ended with {ran.returncode}"] = ran.stdout[-4000:]
        measured = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.line_coverage", name, str(corpus)],
            cwd=REPO,
            text=True,
            check=False,
            stdout=subprocess.PIPE,
        )
        lines: dict[str, Any] = json.loads(measured.stdout or "{}")
        return Outcome(
            found,
            _last(r"number_of_executed_units:\s*(\d+)", ran.stdout),
            _last(r"\bcov: (\d+)", ran.stdout),
            len(list(corpus.iterdir())),
            (int(lines.get("run", 0)), int(lines.get("all", 0))),
            ran.stdout,
        )


def _findings(directory: Path) -> dict[str, str]:
    told = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
    return {one["what"]: one["words"] for one in told}


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def main() -> int:
    """Search and print the findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=REPO / ".fuzz", help="where they are left (%(default)s)")
    arguments = parser.parse_args()
    from tests.peers import make

    python, failed = make("fuzz") / "python", False
    for name in TARGETS if arguments.target == "all" else [arguments.target]:
        place = arguments.findings / name
        shutil.rmtree(place, ignore_errors=True)
        outcome = fuzz(name, python, seconds=arguments.seconds, seed=arguments.seed, keep=place)
        run, of = outcome.lines
        print(
            f"{name}: {outcome.executions:,} inputs, {outcome.edges:,} branches, {outcome.corpus} inputs kept on the way, "
            f"{run} of {of} lines of the reader ({run / max(1, of):.0%}), {len(outcome.findings)} findings",
            flush=True,
        )
        for what, words in outcome.findings.items():
            print(f"--- {what}\n{words}", flush=True)
        failed = failed or bool(outcome.findings) or not outcome.executions
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
