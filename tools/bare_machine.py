"""Run a command as a machine would on which nothing but Python is installed: ``bare_machine.py COMMAND ...``.

None of the programs that tests look for (``tests/machine.py``) is on PATH, there is no acceptance data and no ``.peers``, and
``CI`` is not set. A directory of PATH that has one of these programs is replaced by one with links to all others in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Tests run these when they happen to be there; a bare machine has none of them.
OTHERS = ("docker", "kubectl", "podman")
SETTINGS = ("CI", "JAVA_HOME", "KUBECONFIG", "SPARK_HOME")


def path_without(programs: Iterable[str], path: str, links: Path) -> str:
    """Return ``path`` without the programs.

    :param programs: names
    :param path: as in ``PATH``
    :param links: an empty directory for the links
    """
    unwanted, replaced, found = set(programs), {}, []
    for place in dict.fromkeys(one for one in path.split(os.pathsep) if os.path.isdir(one)):
        real = os.path.realpath(place)
        if not unwanted & set(os.listdir(real)):
            found.append(place)
        elif real not in replaced:
            replaced[real] = links / str(len(replaced))
            replaced[real].mkdir(parents=True)
            for name in set(os.listdir(real)) - unwanted:
                (replaced[real] / name).symlink_to(Path(real, name))
            found.append(str(replaced[real]))
    return os.pathsep.join(found)


def bare(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the environment of a bare machine.

    :param environment: that of this one
    :param home: an empty directory for what it takes
    """
    from tests import machine

    programs = [*OTHERS, *(one for programs in machine.PROGRAMS.values() for one in programs)]
    kept = {name: value for name, value in environment.items() if name not in SETTINGS and not name.startswith("SLO_")}
    return kept | {
        "PATH": path_without(programs, environment["PATH"], home / "programs"),
        machine.BARE: "1",
        "SLO_ACCEPTANCE_DIR": str(home / "no acceptance data"),
        "SLO_TEST_PEERS": str(home / "no peers"),
    }


def main() -> int:
    if not sys.argv[1:]:
        sys.exit(__doc__)
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(prefix="slo-bare-") as home:
        return subprocess.run(sys.argv[1:], env=bare(os.environ, Path(home)), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
