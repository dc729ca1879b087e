"""What tests share: finding real servers and the acceptance data. Missing ones fail in CI and skip elsewhere."""

from __future__ import annotations

import glob
import os
import shutil
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
