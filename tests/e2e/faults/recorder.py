"""Collects how the tests of the fault matrix ended, and writes ``docs/faults.md`` of it when ``SLO_TEST_WRITE_DOCS`` is set.

A plugin of pytest for the whole run: many cells are shown by tests of other directories. ``python -m tests.e2e.faults`` prints
them all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

#: Name of the property of a test's report that holds what was seen.
SEEN = "slo-fault-seen"


@dataclass
class Shown:
    """How a test ended: all its parameters together.

    :param passed: how many passed
    :param failed: ids of those that did not
    :param seen: what they say was seen
    """

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


class Recorder:
    """Keeps every report by the test's id without its parameters."""

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
        from tests.e2e.faults.page import PAGE, written

        PAGE.write_text(written(self.shown))


def pytest_configure(config: pytest.Config) -> None:
    """Begin to record, where that is asked for."""
    if os.environ.get("SLO_TEST_WRITE_DOCS") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(), "slo-fault-matrix")
