"""Data of the drift heat maps: the features of a dataset by day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.queries import checks as check_queries
from airflow_slo_provider.ledger.records import LENGTHS
from airflow_slo_provider.plugins.slo_page import safe_evidence

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import ReadableDags

HEAT_DAYS = 14
_MOST_FEATURES, _MOST_CHECKS = 60, 3_000
_LONGEST_NAME = LENGTHS["name"]
_WORST = {"unknown": 1, "warn": 2, "fail": 3}
#: Drift states of a feature as verdicts; a feature with any other state was not judged.
_STATES = {"ok": "pass", "drift": "fail", "schema_change": "fail", "pass": "pass", "warn": "warn", "fail": "fail"}
#: States of features that the check of a dataset may leave out.
_UNLISTED = ("ok", "skipped")


@dataclass(frozen=True)
class Cell:
    """One day of one feature: its worst verdict; empty if it is unknown."""

    verdict: str = ""
    value: float | None = None

    @property
    def rank(self) -> int:
        """Return the severity of the verdict; 0 for a pass."""
        return _WORST.get(self.verdict, 0)


@dataclass(frozen=True)
class HeatMap:
    """Verdicts of features by day.

    :param rows: each feature with a cell for each day
    """

    name: str
    days: Sequence[datetime]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True)
class _DatasetCheck:
    """The result of one check of a dataset.

    :param features: the features that it lists, and those that have their own check
    :param skipped: features that it did not judge
    :param complete: whether every other feature was judged and had no finding
    """

    features: Mapping[str, Cell]
    skipped: frozenset[str]
    complete: bool


def read_heat_maps(ledger: Ledger, readable: ReadableDags, now: datetime) -> list[HeatMap]:
    """Read the drift checks of the last days.

    :param ledger: the ledger
    :param readable: the DAGs that the user may read
    :param now: the current time (aware)
    """
    first = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=HEAT_DAYS - 1)
    days = [first + timedelta(days=number) for number in range(HEAT_DAYS)]
    rows = check_queries.recent(ledger, ["drift"], since=first, dags=readable.query_filter, limit=_MOST_CHECKS)
    rows = [row for row in readable.filter(rows) if row.result.checked_at < first + timedelta(days=HEAT_DAYS)]
    # The check of a feature is written with that of its dataset, by the same task instance at the same time.
    together: dict[Any, list[Recorded]] = defaultdict(list)
    for row in rows:
        together[row.key, row.result.checked_at].append(row)
    by_name: dict[str, dict[int, list[_DatasetCheck]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        check = _dataset_check(row, together[row.key, row.result.checked_at])
        if check is not None:
            by_name[row.result.name][(row.result.checked_at - first) // timedelta(days=1)].append(check)
    return [HeatMap(name, days, rows) for name, by_day in sorted(by_name.items()) if (rows := _feature_rows(by_day))]


def _feature_rows(by_day: Mapping[int, Sequence[_DatasetCheck]]) -> list[tuple[str, Sequence[Cell]]]:
    """Return the features that had a finding on any day, worst first."""
    worst: dict[str, int] = {}
    for check in chain.from_iterable(by_day.values()):
        for feature, cell in check.features.items():
            worst[feature] = max(cell.rank, worst.get(feature, 0))
    shown = sorted(worst, key=lambda feature: (-worst[feature], feature))[:_MOST_FEATURES]
    return [(feature, [_worst_cell(by_day.get(day, ()), feature) for day in range(HEAT_DAYS)]) for feature in shown]


def _worst_cell(checks: Sequence[_DatasetCheck], feature: str) -> Cell:
    """Return the worst verdict of a day; an empty cell if a check may have left out a drift of the feature."""
    listed = [check.features[feature] for check in checks if feature in check.features]
    worst = max(listed, key=lambda cell: cell.rank, default=Cell())
    unlisted = [check for check in checks if feature not in check.features and feature not in check.skipped]
    if worst.rank:
        return worst
    if not all(check.complete for check in unlisted):
        return Cell()
    return worst if listed or not unlisted else Cell("pass")


def _dataset_check(row: Recorded, together: Iterable[Recorded]) -> _DatasetCheck | None:
    """Return the result of the check of a dataset; None for the check of a single feature."""
    evidence = row.result.evidence
    listed: Any = safe_evidence.mapping(evidence, "features") or safe_evidence.sequence(evidence, "worst", "features")
    if not listed and "worst" not in evidence:
        return None
    if not isinstance(listed, Mapping):
        listed = {safe_evidence.text(item, "column", "feature"): item for item in listed}
    features = {str(name): _read_cell(item) for name, item in listed.items() if name and isinstance(item, Mapping)}
    prefix = f"{row.result.name}."
    known = {f"{prefix}{feature}"[:_LONGEST_NAME] for feature in features}
    for other in together:
        name = other.result.name
        if name.startswith(prefix) and name not in known and "worst" not in other.result.evidence:
            features[name.removeprefix(prefix)] = _read_cell(other.result.evidence)
    skipped = frozenset(map(str, safe_evidence.sequence(evidence, "skipped")))
    counts = safe_evidence.mapping(evidence, "columns")
    to_list = sum(int(safe_evidence.number(counts, state) or 0) for state in counts if state not in _UNLISTED)
    skips = int(safe_evidence.number(counts, "skipped") or 0)
    return _DatasetCheck(features, skipped, bool(counts) and len(features) >= to_list and len(skipped) >= skips)


def _read_cell(evidence: Mapping[str, Any]) -> Cell:
    state = safe_evidence.text(evidence, "verdict", "state")
    return Cell(_STATES.get(state, "unknown"), safe_evidence.number(evidence, "effect", "ks", "psi", "value"))
