"""Run a command as on a machine with nothing but Python: ``bare_machine.py COMMAND ...``.

None of the programs that tests use (``tests/machine.py``) is on PATH, there is no acceptance data and no ``.peers``, and ``CI``
is not set. A directory of PATH that has one of these programs is replaced by a directory with links to all its other programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Tests use these if they are installed; a bare machine has none of them.
OTHERS = ("docker", "kubectl", "podman")
SETTINGS = ("CI", "JAVA_HOME", "KUBECONFIG", "SPARK_HOME")


def path_without(programs: Iterable[str], path: str, links: Path) -> str:
    """Return ``path`` without the programs.

    :param programs: their names
    :param path: as in ``PATH``
    :param links: an empty directory for the links
    """
    unwanted, replaced, kept = set(programs), {}, []
    for directory in dict.fromkeys(part for part in path.split(os.pathsep) if os.path.isdir(part)):
        real = os.path.realpath(directory)
        if not unwanted & set(os.listdir(real)):
            kept.append(directory)
        elif real not in replaced:
            replaced[real] = links / str(len(replaced))
            replaced[real].mkdir(parents=True)
            for name in set(os.listdir(real)) - unwanted:
                (replaced[real] / name).symlink_to(Path(real, name))
            kept.append(str(replaced[real]))
    return os.pathsep.join(kept)


def bare(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the environment of a bare machine.

    :param environment: the environment of this machine
    :param home: an empty directory for its files
    """
    from tests import machine

    programs = [*OTHERS, *chain.from_iterable(machine.PROGRAMS.values())]
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
