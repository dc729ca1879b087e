"""Programs from PyPI that must not share this environment: each gets a virtual environment of its own, made once in ``.peers``.

In CI one that cannot be made is a failure; elsewhere the test skips and says how to get it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPO

PEERS = Path(os.environ.get("SLO_TEST_PEERS") or REPO / ".peers")


def peer(name: str, *requirements: str) -> Path:
    """Return the ``bin`` directory of the environment ``name``, made where it is not there yet.

    Making one takes up to a minute, so it is done in CI (``CI=true``) or when asked for (``SLO_TEST_INSTALL=1``).

    :param requirements: pinned requirements, e.g. ``mlflow==3.17.2``
    """
    wanted = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()
    home = PEERS / name
    stamp = home / ".complete"
    if stamp.is_file() and stamp.read_text() == wanted:
        return home / "bin"
    if not (os.environ.get("CI") or os.environ.get("SLO_TEST_INSTALL")):
        pytest.skip(f"{' '.join(requirements)} is not installed in {home}; set SLO_TEST_INSTALL=1 to let the test install it")
    PEERS.mkdir(parents=True, exist_ok=True)
    with (PEERS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == wanted):
            _run(sys.executable, "-m", "venv", "--clear", str(home))
            _run(str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q", *requirements)
            stamp.write_text(wanted)
    return home / "bin"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
