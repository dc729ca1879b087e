"""Print the ids of all tests of the fault matrix: ``python -m tests.e2e.faults``."""

from __future__ import annotations

from tests.e2e.faults.matrix import CELLS

# Tests of one file are adjacent, so that they share their fixtures.
print(*sorted(dict.fromkeys(test for cell in CELLS for test in cell.tests), key=lambda test: test.partition("::")[0]), sep="\n")
