"""Results of a drift comparison: verdicts per column and for the dataset, with the numbers behind them."""

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
from airflow_slo_provider.drift.verdict.thresholds import ORDER, DriftState

REPORT_FORMAT = "airflow-slo/drift-report"
REPORT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ColumnDrift(Measures):
    """Verdict and statistics of one column; the statistics are described in :class:`.Measures`.

    :param name: name of the column
    :param verdict: state of the column
    :param message: reason for the verdict, in a sentence
    :param reasons: one text for each gate that was reached
    :param kind: kind of the reference's values
    :param role: ``feature``, ``prediction`` or ``label``
    :param weight: weight of the column in the drifted share
    :param effect: largest effect in units of its gate (1: exactly at the gate); for ranking
    :param adjusted: p-values by test, after Benjamini-Hochberg over the run's columns and tests
    :param hints: likely causes
    """

    name: str
    verdict: DriftState
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
    """Result of comparing a dataset with its reference.

    :param verdict: state of the dataset
    :param message: reason for the verdict, in a sentence
    :param columns: results by column name: the reference's columns first, then new ones
    :param drifted_share: share of the judged columns' weight that drifted
    :param reference: name of the reference's source
    :param current: name of the current data's source
    :param reference_rows: rows of the reference
    :param current_rows: rows of the current data
    :param alpha: significance level for the adjusted p-values
    :param created_at: time of the comparison
    """

    verdict: DriftState
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
        """Return the names of the columns in any of the given states, worst first.

        :param states: states to select, e.g. ``DriftState.DRIFT``
        """
        return [column.name for column in self.ranked() if column.verdict in states]

    @property
    def drifted(self) -> list[str]:
        """Names of the columns that drifted, worst first."""
        return self.in_state(DriftState.DRIFT)

    def ranked(self) -> list[ColumnDrift]:
        """Return the columns sorted by verdict, then by effect, worst first."""
        return sorted(self.columns.values(), key=lambda column: (ORDER.index(column.verdict), -column.effect, column.name))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can hold."""
        body = _to_json_value(self)
        first = ("name", "verdict", "message")
        body["columns"] = {name: {**dict.fromkeys(first), **_to_json_value(column)} for name, column in self.columns.items()}
        return {"format": REPORT_FORMAT, "version": REPORT_VERSION, **body}

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


def _to_json_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out = {item.name: _to_json_value(getattr(value, item.name)) for item in dataclasses.fields(value)}
        if isinstance(value, Rate):
            out["change"] = value.change
        return out
    if isinstance(value, Mapping):
        return {str(key): _to_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json_value(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value) if isinstance(value, DriftState) else value
