"""The audit says what it found, and never calls fine what it could not look up."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPO


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("audit", REPO / "tools" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = module
    spec.loader.exec_module(module)
    return module


audit = _load()
GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}, {"id": "GHSA-2", "fix_versions": []}]}
#: As pip-audit 2.10.1 answers where the index is a mirror without PyPI's JSON API; it ends with 0 then.
GONE = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (1)"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([GOOD], audit.FINE, "1 packages were looked up, 0 advisories"),
        ([GOOD, BAD], audit.WRONG, "vulnerable: b 2: PYSEC-1, mended in 3"),
        ([BAD], audit.WRONG, "GHSA-2, mended in no release"),
        ([GONE], audit.NOT_AUDITED, "NOT AUDITED: none of 1 packages could be looked up"),
        ([GOOD, GONE], audit.NOT_AUDITED, "not audited: c: Dependency not found"),
        ([BAD, GONE], audit.WRONG, "vulnerable: b"),
        ([], audit.NOT_AUDITED, "NOT AUDITED"),
    ],
)
def test_audit_output_determines_the_exit_code(packages: list[dict[str, Any]], code: int, said: str) -> None:
    found = audit.read_answer(json.dumps({"dependencies": packages, "fixes": []}), "")
    assert found.code == code
    assert said in found.told()


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}"])
def test_audit_without_output_does_not_pass(text: str) -> None:
    found = audit.read_answer(text, "Traceback ...\nrequests.exceptions.ConnectionError: Failed to resolve 'api.osv.dev'\n")
    assert found.code == audit.NOT_AUDITED
    assert "api.osv.dev" in found.told()


def test_audit_without_the_program_does_not_pass(tmp_path: Path) -> None:
    assert audit.ask(tmp_path / "pip-audit", REPO / "constraints.txt", "pypi").code == audit.NOT_AUDITED


def test_installed_packages_are_consistent() -> None:
    ran = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
