"""Write ``docs/faults.md`` from the matrix and the results of its tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tests.e2e.faults.matrix import CELLS, FAULTS, Cell
from tests.e2e.faults.recorder import Shown
from tests.support import REPO

PAGE = REPO / "docs" / "faults.md"
NOT_RUN, FAILED = "not run", "FAILED"
COLUMNS = ("where", "the user sees", "lost", "done twice", "seen")
_HEAD = """\
# What survives a bad day

Each line is a fault at one place: what the user is expected to see, what is lost, what is done twice, and what was seen when
tests broke it for real: processes killed with SIGKILL, servers stopped as a crash stops them. "As expected" means that every
test of the line has passed; the tests are in `tests/e2e/faults/matrix.py`. This page is written by a run of them:

```text
SLO_TEST_WRITE_DOCS=1 .venv/bin/python -m pytest -m "long or not long" $(.venv/bin/python -m tests.e2e.faults)
```

"""
_TAIL = """\
## What this rests on

- Retries. Where a line says "retried", the task needs `retries` of at least 1: Airflow does the retrying.
- A supervisor. Airflow's scheduler, DAG processor and triggerer may end when their database goes away.
- Clocks. A worker whose clock differs from Prometheus' by more than 150 s measures nothing. A SQL database is asked for times by
  the worker's clock, and nobody can tell from its answer that this clock is wrong. A rollback of a Deployment tells by the
  cluster's records and the start of its own run whether another run has done it before; name `bad_revision` or `bad_version`,
  and it tells without any clock. Keep clocks by NTP.
- MLflow has no compare-and-set: a move that is under way keeps others out for two minutes by the clock of whoever comes second.
  Two tasks that promote the same model at the same moment on machines whose clocks differ by more than that can overtake each
  other; the one that finds the alias changed under it says so and fails.
"""


def written(shown: Mapping[str, Shown], cells: Sequence[Cell] = CELLS, *, on: datetime | None = None) -> str:
    """Return the page.

    :param shown: results of tests, by id
    :param on: time of the run; now by default
    """
    parts = [_HEAD]
    for fault in FAULTS:
        lines = [f"## {fault}", "", _line(COLUMNS), "|" + "---|" * len(COLUMNS)]
        lines += [_line((*expected(cell), seen(cell, shown))) for cell in cells if cell.fault == fault]
        parts.append("\n".join(lines) + "\n\n")
    return "".join([*parts, _TAIL, f"\nLast run: {(on or datetime.now(UTC)):%Y-%m-%d}, {_versions()}.\n"])


def expected(cell: Cell) -> tuple[str, ...]:
    """Return the columns of a cell that do not depend on a run."""
    return cell.where, cell.sees, cell.lost, cell.twice


def seen(cell: Cell, shown: Mapping[str, Shown]) -> str:
    """Return the result of a cell: as expected, failed, or not run if one of its tests was not run."""
    found = [shown.get(test, Shown()) for test in cell.tests]
    failed = sum(len(one.failed) for one in found)
    if failed:
        return f"{FAILED}: {failed} of {failed + sum(one.passed for one in found)} tests"
    if not all(one.passed for one in found):
        return NOT_RUN
    passed = sum(one.passed for one in found)
    said = list(dict.fromkeys(text for one in found for text in one.seen))
    return "; ".join([f"as expected ({passed} {'test' if passed == 1 else 'tests'})", *said])


def lines_of(page: str) -> dict[str, list[tuple[str, ...]]]:
    """Return the table rows of a page, by fault."""
    found: dict[str, list[tuple[str, ...]]] = {}
    fault = ""
    for line in page.splitlines():
        if line.startswith("## "):
            fault = line.removeprefix("## ")
        elif line.startswith("| ") and line != _line(COLUMNS):
            found.setdefault(fault, []).append(tuple(line.removeprefix("| ").removesuffix(" |").split(" | ")))
    return found


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _versions() -> str:
    import os
    import platform
    from importlib.metadata import version

    return f"Airflow {version('apache-airflow')}, Python {platform.python_version()}, {os.cpu_count()} cores"
