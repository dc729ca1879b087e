"""A model registry for the promotions and rollbacks of these tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
from airflow_slo_provider.deployment.registries.registry import MoveRequest
from airflow_slo_provider.operators.model_registry import PromoteModelOperator, RollbackModelOperator
from tests.airflow.task_runs import Ran, run_task


class Models:
    """A registry in a directory: versions 1, 2 and 3 of a model; 2 has replaced 1 as the champion."""

    def __init__(self, home: Path) -> None:
        self.registry = DirectoryRegistry(home / "registry")
        (home / "model.bin").write_bytes(b"weights")
        for version in "123":
            self.registry.register("fraud", version, home / "model.bin")
        for version in "12":
            self.registry.move("fraud", MoveRequest(kind="promote", alias="champion", key=f"by hand {version}", to=version))
        self.path = str(home / "registry")

    def run(self, kind: str, try_number: int) -> Ran:
        common: dict[str, Any] = {"task_id": "move", "model": "fraud", "registry_path": self.path, "retries": 3}
        operator = (
            PromoteModelOperator(version="3", expected_champion="2", **common)
            if kind == "promote"
            else RollbackModelOperator(expected_champion="2", **common)
        )
        return run_task(operator, try_number=try_number)

    def moves(self) -> list[tuple[str | None, str]]:
        """Return the moves since the fixture was created."""
        return [(move.before, move.after) for move in self.registry.moves("fraud")][2:]
