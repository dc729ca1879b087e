"""Prints the ids of all tests that show a cell of the fault matrix: ``python -m tests.e2e.faults``."""

from __future__ import annotations

from tests.e2e.faults.matrix import CELLS

# Those of a file stand together: what they share is made once for a file.
print(*sorted(dict.fromkeys(test for cell in CELLS for test in cell.tests), key=lambda test: test.partition("::")[0]), sep="\n")
