"""Find real servers and the acceptance data. If missing, the test fails in CI and is skipped elsewhere."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from tests.machine import PROGRAMS, REPO, acceptance_home, find

__all__ = ["REPO", "acceptance", "find", "need"]


def in_a_test() -> None:
    """Raise an error where a skip would not skip a test, on every machine.

    That is in another thread than the test's, and on import of a module: parameters are created before a test runs. A
    benchmark, which pytest does not run, may call this anywhere.
    """
    if "PYTEST_VERSION" not in os.environ:
        return
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "nobody hears of a skip in this thread: ask for it in the test or a fixture, before the thread uses it"
        )
    if "PYTEST_CURRENT_TEST" not in os.environ:
        raise RuntimeError("no test is running: ask for it in the test or a fixture, and write parameters down by name")


def missing(what: str) -> NoReturn:
    """Fail in CI (``CI=true``), skip with the reason elsewhere, exit in a benchmark."""
    if "PYTEST_VERSION" not in os.environ:
        raise SystemExit(what)
    if os.environ.get("CI"):
        pytest.fail(f"{what} (required in CI)")
    pytest.skip(what)


def need(program: str) -> str:
    """Return the path of a program of ``machine.PROGRAMS``."""
    in_a_test()
    if not any(program in programs for programs in PROGRAMS.values()):
        raise LookupError(f"add {program} to PROGRAMS in tests/machine.py: what is missing there is left out on a bare machine")
    return find(program) or missing(f"{program} is not installed")


def acceptance(*parts: str) -> Path:
    """Return a path in the shared acceptance data."""
    in_a_test()
    path = acceptance_home().joinpath(*parts)
    if not path.exists():
        missing(f"acceptance data {path} is missing; set SLO_ACCEPTANCE_DIR")
    return path


class Clock:
    """A clock that only a test moves. It replaces ``datetime`` in modules that read the time.

    :param modules: modules of the package that import ``datetime``
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        self.now = datetime.now(UTC)
        clock = self

        class Asked(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return clock.now.astimezone(tz)

        for module in modules:
            monkeypatch.setattr(module, "datetime", Asked)

    def forward(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += timedelta(seconds=seconds)


class Timeout(BaseException):
    """Replaces ``AirflowTaskTimeout``, which is not an ``Exception`` either."""


@contextmanager
def airflow_timeout(seconds: float) -> Iterator[None]:
    """Interrupt a block by a signal, as ``execution_timeout`` does. The block must not end before."""

    def ring(*_: object) -> None:
        raise Timeout

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with pytest.raises(Timeout):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
