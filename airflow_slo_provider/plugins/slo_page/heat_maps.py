"""Data of the drift heat maps: the features of a dataset by day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.ledger.records import LENGTHS
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import Scope

HEAT_DAYS = 14
_MOST_FEATURES, _MOST_CHECKS = 60, 3_000
_LONGEST_NAME = LENGTHS["name"]
_WORST = {"unknown": 1, "warn": 2, "fail": 3}
#: Drift states of a feature as verdicts; a feature with any other state was not judged.
_STATES = {"ok": "pass", "drift": "fail", "schema_change": "fail", "pass": "pass", "warn": "warn", "fail": "fail"}
#: States of features that the check of a dataset may leave out.
_QUIET = ("ok", "skipped")


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
class _Judged:
    """The result of one check of a dataset.

    :param features: the features that it lists, and those that have their own check
    :param skipped: features that it did not judge
    :param complete: whether every other feature was judged and had no finding
    """

    features: Mapping[str, Cell]
    skipped: frozenset[str]
    complete: bool


def heat_maps(ledger: Ledger, scope: Scope, now: datetime) -> list[HeatMap]:
    """Read the drift checks of the last days.

    :param ledger: the ledger
    :param scope: the DAGs that the user may see
    :param now: the current time (aware)
    """
    first = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=HEAT_DAYS - 1)
    days = [first + timedelta(days=number) for number in range(HEAT_DAYS)]
    rows = browse.recent(ledger, ["drift"], since=first, dags=scope.limit, limit=_MOST_CHECKS)
    rows = [row for row in rows if scope.allows(row.key.dag_id) and row.result.checked_at < first + timedelta(days=HEAT_DAYS)]
    # The check of a feature is written with that of its dataset, by the same task instance at the same time.
    beside: dict[Any, list[Recorded]] = defaultdict(list)
    for row in rows:
        beside[row.key, row.result.checked_at].append(row)
    found: dict[str, dict[int, list[_Judged]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        judged = _judged(row, beside[row.key, row.result.checked_at])
        if judged is not None:
            found[row.result.name][(row.result.checked_at - first) // timedelta(days=1)].append(judged)
    return [HeatMap(name, days, made) for name, by_day in sorted(found.items()) if (made := _rows(by_day))]


def _rows(by_day: Mapping[int, Sequence[_Judged]]) -> list[tuple[str, Sequence[Cell]]]:
    """Return the features that had a finding on any day, worst first."""
    worst: dict[str, int] = {}
    for judged in (one for several in by_day.values() for one in several):
        for feature, cell in judged.features.items():
            worst[feature] = max(cell.rank, worst.get(feature, 0))
    shown = sorted(worst, key=lambda feature: (-worst[feature], feature))[:_MOST_FEATURES]
    return [(feature, [_cell(by_day.get(day, ()), feature) for day in range(HEAT_DAYS)]) for feature in shown]


def _cell(checks: Sequence[_Judged], feature: str) -> Cell:
    """Return the worst verdict of a day; an empty cell if a check may have left out a drift of the feature."""
    listed = [one.features[feature] for one in checks if feature in one.features]
    worst = max(listed, key=lambda cell: cell.rank, default=Cell())
    silent = [one for one in checks if feature not in one.features and feature not in one.skipped]
    if worst.rank:
        return worst
    if not all(one.complete for one in silent):
        return Cell()
    return worst if listed or not silent else Cell("pass")


def _judged(row: Recorded, beside: Iterable[Recorded]) -> _Judged | None:
    """Return the result of the check of a dataset; None for the check of a single feature."""
    source = row.result.evidence
    listed: Any = evidence.mapping(source, "features") or evidence.sequence(source, "worst", "features")
    if not listed and "worst" not in source:
        return None
    pairs = listed.items() if isinstance(listed, Mapping) else [(evidence.text(one, "column", "feature"), one) for one in listed]
    features = {str(name): _cell_of(one) for name, one in pairs if name and isinstance(one, Mapping)}
    start = f"{row.result.name}."
    known = {f"{start}{feature}"[:_LONGEST_NAME] for feature in features}
    for other in beside:
        name = other.result.name
        if name.startswith(start) and name not in known and "worst" not in other.result.evidence:
            features[name.removeprefix(start)] = _cell_of(other.result.evidence)
    skipped = frozenset(map(str, evidence.sequence(source, "skipped")))
    counts = evidence.mapping(source, "columns")
    loud = sum(int(evidence.number(counts, state) or 0) for state in counts if state not in _QUIET)
    quiet = int(evidence.number(counts, "skipped") or 0)
    return _Judged(features, skipped, bool(counts) and len(features) >= loud and len(skipped) >= quiet)


def _cell_of(source: Mapping[str, Any]) -> Cell:
    state = evidence.text(source, "verdict", "state")
    return Cell(_STATES.get(state, "unknown"), evidence.number(source, "effect", "ks", "psi", "value"))
