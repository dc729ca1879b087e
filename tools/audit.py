"""Are the versions of ``constraints.txt`` consistent, and is any of them known to be vulnerable?

Run it as ``.venv/bin/python tools/audit.py``. ``pip check`` always runs. Vulnerabilities are asked for with pip-audit (an
environment of its own in ``.peers/audit``), which needs an advisory service: PyPI's JSON API, or api.osv.dev with
``--service osv``. A mirror may have neither. pip-audit then calls every package "not found" and ends well: here that is "not
audited", and said so.

Exit code: 0 audited and fine; 1 inconsistent or vulnerable; 2 not audited, or not all of it.
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
FINE, WRONG, NOT_AUDITED = 0, 1, 2
_SECONDS = 600


@dataclass(frozen=True)
class Audit:
    """What an advisory service said.

    :param vulnerable: what is known, one line for each
    :param audited: packages that were looked up
    :param skipped: packages that were not, with the reason
    :param failure: why there is no answer at all
    """

    vulnerable: tuple[str, ...] = ()
    audited: int = 0
    skipped: tuple[str, ...] = ()
    failure: str = ""

    @property
    def code(self) -> int:
        """The exit code that follows."""
        if self.vulnerable:
            return WRONG
        return NOT_AUDITED if self.failure or self.skipped or not self.audited else FINE

    def told(self) -> str:
        """In words."""
        lines = [f"vulnerable: {one}" for one in self.vulnerable]
        if self.failure:
            lines.append(f"NOT AUDITED: the advisory service did not answer: {self.failure}")
        elif not self.audited:
            why = self.skipped[0] if self.skipped else "there is nothing to audit"
            lines.append(f"NOT AUDITED: none of {len(self.skipped)} packages could be looked up ({why})")
        else:
            lines.append(f"{self.audited} packages were looked up, {len(self.vulnerable)} advisories")
            lines += [f"not audited: {one}" for one in self.skipped]
        return "\n".join(f"audit: {line}" for line in lines)


def read_answer(text: str, errors: str) -> Audit:
    """Read what pip-audit printed.

    :param text: its JSON
    :param errors: what it printed beside that
    """
    try:
        told: Any = json.loads(text)
        packages = told["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = [line for line in errors.splitlines() if line.strip()]
        return Audit(failure=lines[-1][:300] if lines else "it printed nothing")
    skipped = tuple(f"{one['name']}: {one['skip_reason']}" for one in packages if "skip_reason" in one)
    vulnerable = tuple(
        f"{one['name']} {one['version']}: {found['id']}, mended in {', '.join(found.get('fix_versions') or ['no release'])}"
        for one in packages
        for found in one.get("vulns", ())
    )
    return Audit(vulnerable, len(packages) - len(skipped), skipped)


def ask(program: Path, requirements: Path, service: str) -> Audit:
    """Run pip-audit on a file of pinned requirements; nothing is installed or built."""
    command = [
        str(program), "--format", "json", "--progress-spinner", "off", "--vulnerability-service", service,
        "--disable-pip", "--no-deps", "--requirement", str(requirements),
    ]  # fmt: skip
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Audit(failure=f"{type(error).__name__}: {error}")
    return read_answer(ran.stdout, ran.stderr)


def main() -> int:
    """Check, ask, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi")
    parser.add_argument("--program", type=Path, help="a pip-audit of your own")
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
            return WRONG if checked.returncode else NOT_AUDITED
    found = ask(program, ROOT / "constraints.txt", arguments.service)
    print(found.told())
    return WRONG if checked.returncode else found.code


if __name__ == "__main__":
    sys.exit(main())
