"""Run a target under atheris (libFuzzer). Started by ``python -m tests.fuzz`` in the environment with atheris.

An exception is recorded once per source line, and the search continues. An input that hangs ends the search; libFuzzer's
``-timeout`` reports it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["airflow_slo_provider"]):
    from tests.fuzz.mutations import mutate
    from tests.fuzz.targets import TARGETS

    for _target in TARGETS.values():
        if _target.name == sys.argv[1]:
            _ = _target.run

#: Seconds; a slower input is a finding.
SLOW = 2.0
_OWN = "airflow_slo_provider"


def recording(run: Callable[[bytes], None], findings: Path) -> Callable[[bytes], None]:
    """Return a function that records exceptions of a target and continues."""
    known: set[str] = set()

    def one(data: bytes) -> None:
        begun = time.perf_counter()
        try:
            run(data)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            note(data, f"{type(error).__name__} at {place(error)}", "".join(traceback.format_exception(error)))
            return
        taken = time.perf_counter() - begun
        if taken > SLOW:
            note(data, "slow", f"it took {taken:.1f} s")

    def note(data: bytes, what: str, words: str) -> None:
        if what in known:
            return
        known.add(what)
        name = hashlib.sha256(what.encode()).hexdigest()[:12]
        (findings / f"{name}.input").write_bytes(data)
        (findings / f"{name}.json").write_text(json.dumps({"what": what, "words": words}))

    return one


def place(error: BaseException) -> str:
    """Return the innermost line of this project in a traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _OWN in frame.filename or "tests" in frame.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere of ours"


def main() -> None:
    """Fuzz until libFuzzer's time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--findings", type=Path, required=True)
    arguments, rest = parser.parse_known_args()
    target = TARGETS[arguments.target]
    others = target.seeds

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.25:
            return atheris.Mutate(data, max_size)
        return mutate(data, rng, target.structure, others)[:max_size]

    atheris.Setup([sys.argv[0], *rest], recording(target.run, arguments.findings), custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
