"""What a comparison found: one verdict per column, one for the dataset, and the numbers behind them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.drift.statistics.rates import Rate
from airflow_slo_provider.drift.verdict.thresholds import ORDER, State

if TYPE_CHECKING:
    from airflow_slo_provider.drift.statistics.distances import ChiSquare
    from airflow_slo_provider.drift.statistics.histograms import Histogram
    from airflow_slo_provider.drift.statistics.ks_statistic import KS
    from airflow_slo_provider.drift.statistics.population_stability import PSI

REPORT_FORMAT = "airflow-slo/drift-report"
REPORT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """How one column compares.

    :param verdict: its state
    :param message: why, in a sentence
    :param reasons: each gate that was reached
    :param kind: kind of the reference's values
    :param role: ``feature``, ``prediction`` or ``label``
    :param effect: largest of the effects in units of its gate: 1 is a gate reached; for ranking
    :param adjusted: p-values after Benjamini-Hochberg over the run's columns and tests, by test
    :param psi: population stability index
    :param ks: Kolmogorov-Smirnov statistic
    :param chi_square: test of homogeneity of categories
    :param js: Jensen-Shannon distance over the bins
    :param wasserstein: earth mover's distance in the column's unit
    :param total_variation: share of rows that would have to move between bins
    :param nulls: null rate
    :param nonfinite: rate of NaN and infinite values
    :param new_categories: share of texts that the reference does not have; its expected share as ``reference``
    :param out_of_range: share of values outside the reference's range, its expected share as ``reference``
    :param new_names: some texts the reference does not have, with their share
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
    psi: PSI | None = None
    ks: KS | None = None
    chi_square: ChiSquare | None = None
    js: float | None = None
    wasserstein: float | None = None
    total_variation: float | None = None
    nulls: Rate | None = None
    nonfinite: Rate | None = None
    new_categories: Rate | None = None
    out_of_range: Rate | None = None
    new_names: Mapping[str, float] = field(default_factory=dict, hash=False)
    histogram: Histogram | None = None
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
        body["columns"] = {name: _plain(column) for name, column in self.columns.items()}
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
