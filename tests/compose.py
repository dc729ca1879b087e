"""docker-compose.yaml as compose understands it: variables filled in, anchors resolved. That needs no container engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support import REPO

#: What compose.env.example asks for.
SECRETS = (
    "POSTGRES_PASSWORD",
    "AIRFLOW_ADMIN_PASSWORD",
    "AIRFLOW_SECRET_KEY",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_FERNET_KEY",
    "SLO_LEDGER_PASSWORD",
    "MLFLOW_PASSWORD",
    "GRAFANA_ADMIN_PASSWORD",
)


def config(directory: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Let podman-compose read the file.

    :param directory: for files on the way
    :param variables: what would stand in ``.env``
    """
    # It asks for an engine's version first, and for nothing else of an engine.
    engine = directory / "podman"
    engine.write_text("#!/bin/sh\necho podman version 5.0.0\n")
    engine.chmod(0o755)
    (directory / "env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    command = [sys.executable, "-m", "podman_compose", "--podman-path", str(engine), "--env-file", str(directory / "env")]
    env = {name: value for name, value in os.environ.items() if name not in variables and name not in SECRETS}
    return subprocess.run(
        [*command, "-f", "docker-compose.yaml", "config"],
        capture_output=True,
        text=True,
        cwd=REPO,
        env=env,
        timeout=60,
        check=False,
    )


def services(directory: Path, variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the services by name.

    :param directory: for files on the way
    :param variables: what would stand in ``.env``
    """
    done = config(directory, variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = yaml.safe_load(done.stdout)["services"]
    return found
