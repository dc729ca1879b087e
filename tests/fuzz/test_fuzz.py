"""Fuzz for half a minute, replay earlier findings, and check the fuzzer itself."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.__main__ import fuzz
from tests.fuzz.acceptance_seeds import acceptance_seeds
from tests.fuzz.case_file import keep
from tests.fuzz.line_coverage import measure
from tests.fuzz.mutations import mutate
from tests.fuzz.targets import CASES, TARGETS, read_case
from tests.peers import peer
from tests.support import REPO, acceptance

#: Seconds per target; half a minute in total.
SECONDS = 7.0
#: Seconds; a slower input counts as hanging.
HANGS = 5.0

KEPT = [(target.name, name) for target in TARGETS.values() for name in target.cases]


@pytest.mark.parametrize(("target", "name"), KEPT)
def test_recorded_findings_stay_fixed(target: str, name: str) -> None:
    begun = time.perf_counter()
    TARGETS[target].run(TARGETS[target].cases[name])
    assert time.perf_counter() - begun < HANGS


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_valid_inputs(target: str) -> None:
    for data in TARGETS[target].seeds:
        TARGETS[target].run(data)


@pytest.mark.parametrize("target", ["documents", "traces"])
def test_acceptance_seeds_are_valid_inputs(target: str) -> None:
    acceptance()
    found = acceptance_seeds(target)
    assert len(found) > 5
    for data in found:
        TARGETS[target].run(data)


@pytest.mark.parametrize("target", TARGETS)
def test_short_fuzzing_run_has_no_findings(target: str) -> None:
    outcome = fuzz(target, peer("fuzz") / "python", seconds=SECONDS, seed=1)
    assert outcome.findings == {}, "\n".join(outcome.findings.values())
    assert outcome.executions > 500, outcome.output[-2000:]
    run, of = outcome.lines
    assert run > of / 2, f"{run} of {of} lines: the seeds do not get far into the reader"


def test_fuzzing_run_finds_a_planted_defect(tmp_path: Path) -> None:
    """Run the engine on a reader with a defect behind three conditions."""
    program = tmp_path / "find.py"
    program.write_text(
        "import sys, atheris\n"
        "from pathlib import Path\n"
        "sys.argv = [sys.argv[0], 'playbooks', *sys.argv[1:]]\n"
        "from tests.fuzz import engine\n"
        "@atheris.instrument_func\n"
        "def run(data):\n"
        "    if data[:1] == b'a':\n"
        "        if data[1:2] == b'b':\n"
        "            if data[2:3] == b'c':\n"
        "                raise KeyError('found')\n"
        f"home = Path({str(tmp_path)!r})\n"
        "atheris.Setup([sys.argv[0], '-max_total_time=20', '-seed=1', '-runs=2000000'], engine.recording(run, home))\n"
        "atheris.Fuzz()\n"
    )
    subprocess.run([peer("fuzz") / "python", program], cwd=REPO, env={"PYTHONPATH": str(REPO)}, check=False, capture_output=True)
    (found,) = tmp_path.glob("*.json")
    assert json.loads(found.read_text())["what"].startswith("KeyError")
    assert found.with_suffix(".input").read_bytes()[:3] == b"abc"


@pytest.mark.parametrize("target", TARGETS)
def test_mutations_with_one_seed_are_reproducible(target: str) -> None:
    one = TARGETS[target]
    seeds = one.seeds
    first, second = ([mutate(seeds[0], random.Random(n), one.structure, seeds) for n in range(200)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 100


def test_covered_lines_are_counted() -> None:
    run, of = measure(TARGETS["playbooks"], TARGETS["playbooks"].seeds)
    nothing, _ = measure(TARGETS["playbooks"], [])
    assert 0 == nothing < run < of


def test_stored_case_is_readable_and_round_trips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.case_file.CASES", tmp_path)
    assert read_case(keep("playbooks", "one", bytes(range(256)), "every byte")) == bytes(range(256))
    assert read_case(keep("playbooks", "two", ["a", ["b", 3]], "pieces")) == b"abbb"
    for path in CASES.rglob("*.json"):
        assert path.stat().st_size < 5000, f"{path} is large: write it in pieces"
        assert json.loads(path.read_text())["why"]


def test_fuzz_module_is_a_command() -> None:
    ran = subprocess.run([sys.executable, "-m", "tests.fuzz", "--help"], cwd=REPO, check=True, capture_output=True, text=True)
    assert all(name in ran.stdout for name in TARGETS)
