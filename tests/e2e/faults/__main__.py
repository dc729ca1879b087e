"""Prints the ids of all tests that show a cell of the fault matrix: ``python -m tests.e2e.faults``."""

from __future__ import annotations

from tests.e2e.faults.matrix import CELLS

print(*dict.fromkeys(test for cell in CELLS for test in cell.tests), sep="\n")
