"""Read docker-compose.yaml as compose does, with variables and anchors resolved. Needs no container engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support import REPO

#: The variables of compose.env.example.
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
    """Read the file with podman-compose.

    :param directory: directory for temporary files
    :param variables: the content of ``.env``
    """
    # It only queries the version of a container engine.
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

    :param directory: directory for temporary files
    :param variables: the content of ``.env``
    """
    done = config(directory, variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = yaml.safe_load(done.stdout)["services"]
    return found
