"""Record the results of the fault matrix and write ``docs/faults.md`` if ``SLO_TEST_WRITE_DOCS`` is set.

A pytest plugin for the whole run, because many cells have tests in other directories. ``python -m tests.e2e.faults`` prints
them all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

#: Name of the report property with the observed result.
SEEN = "slo-fault-seen"


@dataclass
class Shown:
    """The results of a test, over all its parameters.

    :param passed: number of passed tests
    :param failed: ids of failed tests
    :param seen: the observed results
    """

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


class Recorder:
    """Stores reports by test id without parameters."""

    def __init__(self) -> None:
        self.shown: dict[str, Shown] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        shown = self.shown.setdefault(report.nodeid.partition("[")[0], Shown())
        if report.failed:
            shown.failed.append(report.nodeid)
        elif report.when == "call" and report.passed:
            shown.passed += 1
            shown.seen += [str(text) for name, text in report.user_properties if name == SEEN]

    def pytest_sessionfinish(self) -> None:
        from tests.e2e.faults.matrix import CELLS
        from tests.e2e.faults.page import PAGE, written

        # Other tests write pages too if the variable is set: a run without any test of the matrix leaves its page as it is.
        if any(test in self.shown for cell in CELLS for test in cell.tests):
            PAGE.write_text(written(self.shown))


def pytest_configure(config: pytest.Config) -> None:
    """Start recording if requested."""
    if os.environ.get("SLO_TEST_WRITE_DOCS") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(), "slo-fault-matrix")
