"""What a comparison found: one verdict per column, one for the dataset, and the numbers behind them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_slo_provider.drift.statistics.column_measures import Measures
from airflow_slo_provider.drift.statistics.rates import Rate
from airflow_slo_provider.drift.verdict.thresholds import ORDER, State

REPORT_FORMAT = "airflow-slo/drift-report"
REPORT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ColumnDrift(Measures):
    """How one column compares; see :class:`.Measures` for its statistics.

    :param verdict: its state
    :param message: why, in a sentence
    :param reasons: each gate that was reached
    :param kind: kind of the reference's values
    :param role: ``feature``, ``prediction`` or ``label``
    :param effect: largest of the effects in units of its gate: 1 is a gate reached; for ranking
    :param adjusted: p-values after Benjamini-Hochberg over the run's columns and tests, by test
    :param hints: what may be behind it
    """

    name: str
    verdict: State
    message: str = ""
    reasons: tuple[str, ...] = ()
    kind: str = ""
    role: str = "feature"
    weight: float = 1.0
    effect: float = 0.0
    adjusted: Mapping[str, float] = field(default_factory=dict, hash=False)
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """How a dataset compares with its reference.

    :param verdict: the dataset's state
    :param message: why, in a sentence
    :param columns: by name; those of the reference first, then those it does not have
    :param drifted_share: share of the judged columns' weight that drifted
    :param reference: what it was compared with
    :param current: what was compared
    :param reference_rows: rows of the reference
    :param current_rows: rows of the current data
    :param alpha: level that adjusted p-values are held against
    """

    verdict: State
    message: str
    columns: Mapping[str, ColumnDrift] = field(hash=False)
    drifted_share: float = 0.0
    reference: str = ""
    current: str = ""
    reference_rows: int = 0
    current_rows: int = 0
    alpha: float = 0.01
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)

    def __getitem__(self, name: str) -> ColumnDrift:
        return self.columns[name]

    def in_state(self, *states: str) -> list[str]:
        """Names of the columns in any of some states, worst effect first."""
        return [column.name for column in self.ranked() if column.verdict in states]

    @property
    def drifted(self) -> list[str]:
        """Names of the columns that drifted, worst first."""
        return self.in_state(State.DRIFT)

    def ranked(self) -> list[ColumnDrift]:
        """Columns by verdict, then by effect: worst first."""
        return sorted(self.columns.values(), key=lambda column: (ORDER.index(column.verdict), -column.effect, column.name))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        body = _plain(self)
        first = ("name", "verdict", "message")
        body["columns"] = {name: {**dict.fromkeys(first), **_plain(column)} for name, column in self.columns.items()}
        return {"format": REPORT_FORMAT, "version": REPORT_VERSION, **body}

    def to_json(self) -> str:
        """Write everything as JSON."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out = {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
        if isinstance(value, Rate):
            out["change"] = value.change
        return out
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value) if isinstance(value, State) else value
