"""Check whether the versions of ``constraints.txt`` are consistent and have no known vulnerabilities.

Run it as ``.venv/bin/python tools/audit.py``. ``pip check`` always runs. Vulnerabilities are looked up with pip-audit (in its
own environment ``.peers/audit``), which needs an advisory service: PyPI's JSON API, or api.osv.dev with ``--service osv``. A
mirror may have neither. pip-audit then reports every package as "not found" and exits with 0; this tool reports "not audited".

Exit code: 0 audited without a finding; 1 inconsistent or vulnerable; 2 not audited, or not completely.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PASSED, FAILED, NOT_AUDITED = 0, 1, 2
_TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    :param vulnerable: the known vulnerabilities, one line each
    :param audited: number of packages that were looked up
    :param skipped: packages that were not looked up, with the reason
    :param failure: why there is no result at all
    """

    vulnerable: tuple[str, ...] = ()
    audited: int = 0
    skipped: tuple[str, ...] = ()
    failure: str = ""

    @property
    def code(self) -> int:
        """Return the exit code."""
        if self.vulnerable:
            return FAILED
        return NOT_AUDITED if self.failure or self.skipped or not self.audited else PASSED

    def format(self) -> str:
        """Return the result as lines of text."""
        lines = [f"vulnerable: {finding}" for finding in self.vulnerable]
        if self.failure:
            lines.append(f"NOT AUDITED: the advisory service did not answer: {self.failure}")
        elif not self.audited:
            why = self.skipped[0] if self.skipped else "there is nothing to audit"
            lines.append(f"NOT AUDITED: none of {len(self.skipped)} packages could be looked up ({why})")
        else:
            lines.append(f"{self.audited} packages were looked up, {len(self.vulnerable)} advisories")
            lines += [f"not audited: {package}" for package in self.skipped]
        return "\n".join(f"audit: {line}" for line in lines)


def parse_output(text: str, errors: str) -> Audit:
    """Parse the output of pip-audit.

    :param text: its standard output, JSON
    :param errors: its standard error
    """
    try:
        packages: Any = json.loads(text)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = [line for line in errors.splitlines() if line.strip()]
        return Audit(failure=lines[-1][:300] if lines else "it printed nothing")
    skipped = tuple(f"{package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package)
    vulnerable = [
        f"{package['name']} {package['version']}: {advisory['id']}, "
        f"fixed in {', '.join(advisory.get('fix_versions') or ['no release'])}"
        for package in packages
        for advisory in package.get("vulns", ())
    ]
    return Audit(tuple(vulnerable), len(packages) - len(skipped), skipped)


def run_pip_audit(program: Path, requirements: Path, service: str) -> Audit:
    """Run pip-audit on a file of pinned requirements; nothing is installed or built."""
    command = [
        str(program), "--format", "json", "--progress-spinner", "off", "--vulnerability-service", service,
        "--disable-pip", "--no-deps", "--requirement", str(requirements),
    ]  # fmt: skip
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Audit(failure=f"{type(error).__name__}: {error}")
    return parse_output(ran.stdout, ran.stderr)


def main() -> int:
    """Run ``pip check`` and pip-audit, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi")
    parser.add_argument("--program", type=Path, help="path of another pip-audit")
    arguments = parser.parse_args()
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    print(f"audit: pip check: {checked.stdout.strip() or checked.stderr.strip()}", flush=True)
    program = arguments.program
    if program is None:
        sys.path.insert(0, str(ROOT))
        from tests.peers import make

        try:
            program = make("audit") / "pip-audit"
        except subprocess.CalledProcessError as error:
            print(f"audit: NOT AUDITED: pip-audit could not be installed: {error.output[-300:]}")
            return FAILED if checked.returncode else NOT_AUDITED
    result = run_pip_audit(program, ROOT / "constraints.txt", arguments.service)
    print(result.format())
    return FAILED if checked.returncode else result.code


if __name__ == "__main__":
    sys.exit(main())
