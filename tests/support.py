"""What tests share: finding real servers and the acceptance data. Missing ones fail in CI and skip elsewhere."""

from __future__ import annotations

import glob
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

REPO = Path(__file__).resolve().parents[1]


def _missing(what: str) -> NoReturn:
    """Fail in CI (``CI=true``), skip with the reason elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} (required in CI)")
    pytest.skip(what)


def find(program: str) -> str | None:
    """Return the path of a program, also looked up where Debian keeps PostgreSQL's, or None."""
    return shutil.which(program) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"), reverse=True)), None)


def need(program: str) -> str:
    """Return the path of a program."""
    return find(program) or _missing(f"{program} is not installed")


def acceptance(*parts: str) -> Path:
    """Return a path in the shared acceptance data."""
    base = Path(os.environ.get("SLO_ACCEPTANCE_DIR") or REPO.parent / "shared" / "acceptance")
    path = base.joinpath(*parts)
    if not path.exists():
        _missing(f"acceptance data {path} is missing; set SLO_ACCEPTANCE_DIR")
    return path


class Timeout(BaseException):
    """Stands for ``AirflowTaskTimeout``, which is no ``Exception`` either."""


@contextmanager
def airflow_timeout(seconds: float) -> Iterator[None]:
    """End what is inside as ``execution_timeout`` does: by a signal, wherever the main thread is. It must not end before."""

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
