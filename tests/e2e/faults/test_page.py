"""The matrix is complete, names existing tests, and matches ``docs/faults.md``."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.faults.matrix import CELLS, FAULTS, NOTHING, Cell
from tests.e2e.faults.page import FAILED, NOT_RUN, PAGE, expected, lines_of, seen, written
from tests.e2e.faults.recorder import SEEN, Recorder, Shown
from tests.support import REPO

HERE = Path(__file__).parent


def ids_of(path: Path) -> set[str]:
    """Return the ids of the tests of a file, without parameters."""
    name, found = path.relative_to(REPO).as_posix(), set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found.add(f"{name}::{node.name}")
        elif isinstance(node, ast.ClassDef):
            methods = (one.name for one in node.body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_"))
            found |= {f"{name}::{node.name}::{method}" for method in methods}
    return found


def test_matrix_covers_every_fault_and_promises_no_loss_and_no_repetition() -> None:
    assert {cell.fault for cell in CELLS} == set(FAULTS)
    assert {(cell.lost, cell.twice) for cell in CELLS} == {(NOTHING, NOTHING)}
    assert len({(cell.fault, cell.where) for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.fault}: {cell.where}"[:60])
def test_tests_of_a_cell_exist(cell: Cell) -> None:
    assert cell.tests
    for test in cell.tests:
        assert test in ids_of(REPO / test.partition("::")[0]), test


def test_fault_tests_are_named_by_a_cell() -> None:
    there = set().union(*(ids_of(path) for path in HERE.glob("test_*.py") if path.name != "test_page.py"))
    there -= {f"tests/e2e/faults/test_clocks.py::{name}" for name in ("test_small_clock_difference_is_tolerated",)}  # the control
    assert there <= {test for cell in CELLS for test in cell.tests}


def test_faults_page_shows_a_complete_passing_run() -> None:
    """``python -m tests.e2e.faults`` lists the tests to run; with ``SLO_TEST_WRITE_DOCS=1`` the run writes the page."""
    shown = lines_of(PAGE.read_text())
    for fault in FAULTS:
        lines = shown[fault]
        assert [line[:-1] for line in lines] == [expected(cell) for cell in CELLS if cell.fault == fault]
        assert all(line[-1].startswith("as expected (") for line in lines)


def test_recorder_stores_outcomes_and_properties_by_test() -> None:
    recorder = Recorder()

    def report(nodeid: str, when: str, outcome: str, *said: str) -> None:
        properties = [(SEEN, text) for text in said]
        recorder.pytest_runtest_logreport(
            pytest.TestReport(nodeid, ("f", 0, "n"), {}, outcome, None, when, (), 0, 0, 0, properties)
        )  # type: ignore[arg-type]

    for parameter in ("x", "y"):
        report(f"f::good[{parameter}]", "setup", "passed")
        report(f"f::good[{parameter}]", "call", "passed", f"seen {parameter}")
        report(f"f::good[{parameter}]", "teardown", "passed", f"seen {parameter}")
    report("f::skipped", "setup", "skipped")
    report("f::broken", "setup", "failed")
    assert recorder.shown == {
        "f::good": Shown(2, [], ["seen x", "seen y"]), "f::skipped": Shown(), "f::broken": Shown(0, ["f::broken"]),
    }  # fmt: skip


def test_cell_without_a_passing_run_is_marked() -> None:
    cell = Cell(fault=FAULTS[0], where="here", sees="something", tests=("a", "b"))
    good, bad = Shown(passed=2, seen=["1 move", "1 move"]), Shown(passed=1, failed=["b[2]"])
    assert seen(cell, {}) == seen(cell, {"a": good}) == seen(cell, {"a": good, "b": Shown()}) == NOT_RUN
    assert seen(cell, {"a": good, "b": bad}) == f"{FAILED}: 1 of 4 tests"
    assert seen(cell, {"a": good, "b": Shown(passed=1)}) == "as expected (3 tests); 1 move"
    page = written({}, [cell], on=datetime(2026, 11, 25, tzinfo=UTC))
    assert "Last run: 2026-11-25" in page
    assert lines_of(page) == {FAULTS[0]: [("here", "something", "nothing", "nothing", NOT_RUN)]}
