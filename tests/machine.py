"""Find what tests need besides Python: programs, and data for acceptance tests.

Needs only the standard library: ``.ci/run`` reads the table before the environment exists.
"""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
#: Packages of Debian and Ubuntu, each with the programs of it that tests run. ``tests.support.need`` accepts no others.
PROGRAMS = {
    "prometheus": ("prometheus", "promtool"),
    "prometheus-alertmanager": ("prometheus-alertmanager", "amtool"),
    "prometheus-pushgateway": ("prometheus-pushgateway",),
    "postgresql": ("initdb", "postgres", "pg_isready", "psql"),
    "chromium": ("chromium",),
    "openjdk-17-jre-headless": ("java",),
}
#: Set by tools/bare_machine.py: programs are only searched in PATH.
BARE = "SLO_TEST_BARE"


def find(program: str) -> str | None:
    """Return the path of a program, or None. PostgreSQL's are also searched in Debian's directory, which is not in PATH."""
    found = shutil.which(program)
    if found or os.environ.get(BARE):
        return found
    return max(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"), default=None)


def missing_programs() -> dict[str, list[str]]:
    """Return the packages of missing programs, each with those programs."""
    lacking = {package: [one for one in programs if not find(one)] for package, programs in PROGRAMS.items()}
    return {package: programs for package, programs in lacking.items() if programs}


def acceptance_home() -> Path:
    """Return the directory of the acceptance data, which may not exist."""
    return Path(os.environ.get("SLO_ACCEPTANCE_DIR") or REPO.parent / "shared" / "acceptance")


if __name__ == "__main__":
    print(*missing_programs(), sep="\n")
