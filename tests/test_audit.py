"""tools/audit.py reports its findings, and never passes packages that it could not look up."""

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
    ("packages", "code", "text"),
    [
        ([GOOD], audit.PASSED, "1 packages were looked up, 0 advisories"),
        ([GOOD, BAD], audit.FAILED, "vulnerable: b 2: PYSEC-1, fixed in 3"),
        ([BAD], audit.FAILED, "GHSA-2, fixed in no release"),
        ([GONE], audit.NOT_AUDITED, "NOT AUDITED: none of 1 packages could be looked up"),
        ([GOOD, GONE], audit.NOT_AUDITED, "not audited: c: Dependency not found"),
        ([BAD, GONE], audit.FAILED, "vulnerable: b"),
        ([], audit.NOT_AUDITED, "NOT AUDITED"),
    ],
)
def test_audit_output_determines_the_exit_code(packages: list[dict[str, Any]], code: int, text: str) -> None:
    result = audit.parse_output(json.dumps({"dependencies": packages, "fixes": []}), "")
    assert result.code == code
    assert text in result.format()


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}"])
def test_audit_without_output_does_not_pass(text: str) -> None:
    result = audit.parse_output(text, "Traceback ...\nrequests.exceptions.ConnectionError: Failed to resolve 'api.osv.dev'\n")
    assert result.code == audit.NOT_AUDITED
    assert "api.osv.dev" in result.format()


def test_audit_without_the_program_does_not_pass(tmp_path: Path) -> None:
    assert audit.run_pip_audit(tmp_path / "pip-audit", REPO / "constraints.txt", "pypi").code == audit.NOT_AUDITED


def test_installed_packages_are_consistent() -> None:
    ran = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
