"""What the tests look for on a machine, beside Python: programs, and data for acceptance tests.

It needs the standard library alone: ``.ci/run`` reads the table before there is an environment.
"""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
#: Packages of Debian and Ubuntu, each with the programs of it that tests run. ``tests.support.need`` knows no others.
PROGRAMS = {
    "prometheus": ("prometheus", "promtool"),
    "prometheus-alertmanager": ("prometheus-alertmanager", "amtool"),
    "prometheus-pushgateway": ("prometheus-pushgateway",),
    "postgresql": ("initdb", "postgres", "pg_isready", "psql"),
    "chromium": ("chromium",),
    "openjdk-17-jre-headless": ("java",),
}
#: Set by tools/bare_machine.py: a program that is not in PATH is not there.
BARE = "SLO_TEST_BARE"


def find(program: str) -> str | None:
    """Return the path of a program, or None. PostgreSQL's are looked up where Debian keeps them, too: that is not in PATH."""
    found = shutil.which(program)
    if found or os.environ.get(BARE):
        return found
    return max(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"), default=None)


def missing_programs() -> dict[str, list[str]]:
    """Return the packages that lack a program, each with the programs that are not there."""
    lacking = {package: [one for one in programs if not find(one)] for package, programs in PROGRAMS.items()}
    return {package: programs for package, programs in lacking.items() if programs}


def acceptance_home() -> Path:
    """Return the directory of the acceptance data, whether it is there or not."""
    return Path(os.environ.get("SLO_ACCEPTANCE_DIR") or REPO.parent / "shared" / "acceptance")


if __name__ == "__main__":
    print(*missing_programs(), sep="\n")
