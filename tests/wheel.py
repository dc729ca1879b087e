"""The wheel of this tree, installed by pip into its own environment with the oldest supported Airflow.

The environment is created once, in ``.peers`` (see ``tests.peers``); the wheel in it is always built from the current tree.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import sys
import tempfile
from pathlib import Path

from tests.peers import PEERS, run
from tests.support import REPO

AIRFLOW = "3.2"
NAME = f"wheel-airflow-{AIRFLOW}"


def constraints(airflow: str = AIRFLOW) -> str:
    """Return the constraints for a version of Airflow, as ``make env`` uses them; the default ones for an empty text."""
    spec = importlib.util.spec_from_file_location("build_env", REPO / "tools" / "build_env.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.constraints(airflow))


def is_made() -> bool:
    """Return whether the environment exists, with any wheel."""
    stamp = PEERS / NAME / ".complete"
    return stamp.is_file() and stamp.read_text() == _fingerprint()


def make() -> Path:
    """Build the wheel and install it; return the ``bin`` directory.

    :raises subprocess.CalledProcessError: if a command fails; with its output
    """
    home = PEERS / NAME
    PEERS.mkdir(parents=True, exist_ok=True)
    with (PEERS / f"{NAME}.lock").open("w") as lock, tempfile.TemporaryDirectory() as directory:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        run(*pip, "wheel", "-q", "--no-deps", "--wheel-dir", directory, str(REPO))
        (wheel,) = Path(directory).glob("*.whl")
        pip[0] = str(home / "bin" / "python")
        if is_made():
            run(*pip, "install", "-q", "--force-reinstall", "--no-deps", str(wheel))
            return home / "bin"
        run(sys.executable, "-m", "venv", "--clear", str(home))
        chosen = home / "constraints.txt"
        chosen.write_text(constraints())
        run(*pip, "install", "-q", "--no-compile", "--constraint", str(chosen), str(wheel))
        (home / ".complete").write_text(_fingerprint())
    return home / "bin"


def _fingerprint() -> str:
    parts = (sys.version, constraints(), (REPO / "pyproject.toml").read_text())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
