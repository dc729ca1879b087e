"""Helpers of the tests of the golden-set operator: a golden set in a file, predictions of two models, a ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider.ledger import open_ledger
from airflow_slo_provider.ledger.records import Recorded


class GoldenFiles:
    """Files in a directory with a space in its name, and the ledger that the task writes to."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        self.rows = self.make(1000)
        self.golden = self.write(self.rows, "golden set.csv")

    @staticmethod
    def make(n: int) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        label = rng.integers(0, 2, n)
        return pd.DataFrame(
            {
                "id": [f"r{one}" for one in range(n)],
                "label": label,
                "amount": rng.normal(label),
                "region": np.where(rng.random(n) < 0.5, "north", "south"),
            }
        )

    def write(self, rows: pd.DataFrame, name: str) -> str:
        rows.to_csv(self.home / name, index=False)
        return str(self.home / name)

    def predictions(self, wrong: float, name: str, rows: pd.DataFrame | None = None) -> str:
        """Write predictions of which a share is wrong."""
        rows = self.rows if rows is None else rows
        flip = np.random.default_rng(len(name)).random(len(rows)) < wrong
        said = np.where(flip, 1 - rows["label"], rows["label"])
        return self.write(pd.DataFrame({"id": rows["id"], "prediction": said}), name)

    def checks(self) -> dict[str, Recorded]:
        """Return the recorded checks by name."""
        with open_ledger(f"sqlite:///{self.home / 'ledger.db'}") as ledger:
            return {one.result.name: one for one in ledger.checks(kind="golden_set")}

    def all_checks(self, kind: str) -> list[Any]:
        with open_ledger(f"sqlite:///{self.home / 'ledger.db'}") as ledger:
            return ledger.checks(kind=kind, newest_first=False)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoldenFiles:
    """Create a directory with a golden set; ``[slo] ledger_url`` is in it."""
    made = GoldenFiles(tmp_path / "golden files")
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{made.home / 'ledger.db'}")
    return made
