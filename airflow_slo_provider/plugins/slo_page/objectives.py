"""Data of each SLO on the pages: its newest check, its last known value, and the history of its budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.core.timestamps import slices
from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.ledger.queries import slos as browse_slos
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.slo.budget.reports import Status

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import Scope

#: Worst first. A failed measurement is worse than a warning, because the status is unknown.
ORDER = [
    Status.EXHAUSTED,
    Status.BURNING,
    Status.QUERY_ERROR,
    Status.NO_DATA,
    Status.WARNING,
    Status.LOW_TRAFFIC,
    Status.HEALTHY,
]
_UNKNOWN = (Status.QUERY_ERROR.value, Status.NO_DATA.value)
#: Status of an SLO whose newest check is older than its window, and of a check that has only a verdict.
UNKNOWN = Verdict.UNKNOWN.value
_RANK = {status.value: number for number, status in enumerate(ORDER)}
_RANK[UNKNOWN] = _RANK[Status.NO_DATA.value]
#: Tolerance for a DAG that runs once per window and is late.
_LATE = timedelta(days=1)
SPARK_POINTS = 24
_LONGEST_WINDOW = timedelta(days=400)


@dataclass(frozen=True)
class Objective:
    """One SLO, from its newest check.

    :param row: the newest check
    :param spark: points of the sparkline
    :param known: the last check with a value, if the newest one has none or is stale
    :param now: the current time; None for the state at the time of the check
    """

    row: Recorded
    spark: tuple[tuple[float, float], ...] = ()
    known: Recorded | None = None
    now: datetime | None = None

    @property
    def name(self) -> str:
        """Return the name of the SLO."""
        return self.row.result.name

    @property
    def found(self) -> str:
        """Return the status in the check's evidence, or the verdict if a check of another origin has none."""
        return evidence.text(self.row.result.evidence, "status") or self.row.result.verdict.value

    @property
    def stale(self) -> bool:
        """Return whether the check is older than the SLO's window, so that its measurement lies outside of the window."""
        return self.now is not None and self.now - self.row.result.checked_at > self.length + _LATE

    @property
    def status(self) -> str:
        """Return the status of the check; unknown if the check is stale, unless its status was worse."""
        return UNKNOWN if self.stale and _rank(self.found) > _RANK[UNKNOWN] else self.found

    @property
    def unknown(self) -> bool:
        """Return whether the last measurement failed."""
        return self.found in (*_UNKNOWN, UNKNOWN)

    @property
    def rank(self) -> tuple[int, float]:
        """Return the sort key, worst first."""
        left = self.remaining
        return _rank(self.status), 2.0 if left is None else left

    @property
    def key(self) -> SLOKey:
        """Return the key that identifies the SLO."""
        return SLOKey.of(self.row.result)

    @property
    def service(self) -> str:
        """Return the service of the SLO."""
        return self.key.service

    @property
    def tier(self) -> str:
        """Return the tier of the SLO."""
        return evidence.text(self.row.result.evidence, "tier")

    @property
    def window(self) -> str:
        """Return the window as written."""
        return evidence.text(self.row.result.evidence, "window")

    @property
    def length(self) -> timedelta:
        """Return the length of the window; 30 days if it is not known."""
        return window_length(self.window)

    @property
    def target(self) -> float | None:
        """Return the objective, as a share."""
        return (
            self.row.result.target
            if self.row.result.target is not None
            else evidence.number(self.row.result.evidence, "objective")
        )

    @property
    def sli(self) -> float | None:
        """Return the SLI, the share of good events."""
        return self.row.result.value

    @property
    def remaining(self) -> float | None:
        """Return the remaining budget, as a share."""
        return evidence.number(self.row.result.evidence, "remaining")

    @property
    def remaining_seconds(self) -> float | None:
        """Return the remaining budget in seconds."""
        return evidence.number(self.row.result.evidence, "remaining_seconds")

    @property
    def burn_rate(self) -> float | None:
        """Return the current burn rate."""
        return evidence.number(self.row.result.evidence, "burn_rate")

    @property
    def burn_rates(self) -> list[tuple[str, float | None]]:
        """Return the burn rate of each window, shortest first."""
        rates = evidence.mapping(self.row.result.evidence, "burn_rates")
        return sorted(((str(key), evidence.number(rates, key)) for key in rates), key=lambda item: _seconds(item[0]))

    @property
    def exhausted_in(self) -> float | None:
        """Return the seconds until the budget is exhausted."""
        return None if self.stale else evidence.number(self.row.result.evidence, "time_to_exhaustion_seconds")

    @property
    def exhaustion(self) -> str:
        """Return "spent" or "never" if there is no time until exhaustion."""
        if self.remaining is None or self.stale:
            return ""
        if self.remaining <= 0:
            return "spent"
        return "never" if self.exhausted_in is None else ""

    @property
    def spark_label(self) -> str:
        """Return the text alternative of the sparkline."""
        if len(self.spark) < 2:
            return "no history of the budget yet"
        values = [value for _, value in self.spark]
        words = f"from {percent(values[0])} to {percent(values[-1])}, lowest {percent(min(values))}"
        return f"budget left over {self.window or '30d'}: {words}"


@dataclass(frozen=True)
class Overview:
    """All SLOs that a user may see.

    :param at: when the ledger was queried
    """

    objectives: Sequence[Objective]
    at: datetime
    counts: dict[str, int] = field(default_factory=dict)


Sparks = dict[SLOKey, tuple[tuple[float, float], ...]]


def overview(ledger: Ledger, scope: Scope, sparks: Sparks, *, now: datetime | None = None) -> Overview:
    """Read all SLOs, worst first.

    :param ledger: the ledger
    :param scope: the DAGs that the user may see
    :param sparks: the result of :func:`sparklines`
    :param now: the current time (aware)
    """
    now = now or datetime.now(UTC)
    found = {SLOKey.of(row.result): row for row in browse_slos.newest(ledger, dags=scope.limit) if scope.allows(row.key.dag_id)}
    silent = [slo for slo, row in found.items() if row.result.value is None]
    known = {
        SLOKey.of(row.result): row
        for row in browse_slos.newest_with_value(ledger, silent, dags=scope.limit)
        if scope.allows(row.key.dag_id)
    }
    objectives = [aged(Objective(row, sparks.get(slo, ()), known.get(slo), now)) for slo, row in found.items()]
    objectives.sort(key=lambda one: (one.rank, one.name, one.service))
    counts: dict[str, int] = {}
    for one in objectives:
        counts[one.status] = counts.get(one.status, 0) + 1
    return Overview(objectives, now, counts)


def aged(one: Objective) -> Objective:
    """Return the SLO with its own check as the last known one, if that check is stale."""
    return replace(one, known=one.row) if one.stale and one.row.result.value is not None else one


def sparklines(ledger: Ledger, scope: Scope, *, now: datetime | None = None) -> Sparks:
    """Read the history of each budget over its window, in few points.

    :param ledger: the ledger
    :param scope: the DAGs that the user may see
    :param now: the current time (aware)
    """
    now = now or datetime.now(UTC)
    by_window: dict[timedelta, list[SLOKey]] = defaultdict(list)
    for row in browse_slos.newest(ledger, dags=scope.limit):
        by_window[window_length(evidence.text(row.result.evidence, "window"))].append(SLOKey.of(row.result))
    found: dict[SLOKey, list[tuple[float, float]]] = defaultdict(list)
    for window, slos in by_window.items():
        start = now - window
        for one in browse_slos.samples(ledger, slos, slices(start, now, SPARK_POINTS), field="remaining", dags=scope.limit):
            if one.field is not None and scope.allows(one.dag_id):
                found[one.slo].append(((one.checked_at - start) / window, one.field))
    return {slo: tuple(points) for slo, points in found.items()}


def choices(objectives: Sequence[Objective]) -> dict[str, list[str]]:
    """Return the values of the overview's filters."""
    return {
        "statuses": sorted({one.status for one in objectives}, key=lambda status: (_rank(status), status)),
        "services": sorted({one.service for one in objectives if one.service}),
        "tiers": sorted({one.tier for one in objectives if one.tier}),
    }


def window_length(window: str) -> timedelta:
    """Return the length of a window as written; 30 days if it is missing or invalid."""
    try:
        duration = parse_duration(window)
        length = timedelta(days=duration.months * 30.4375) if duration.is_calendar else duration.timedelta
    except (ValueError, OverflowError):
        return timedelta(days=30)
    return min(length, _LONGEST_WINDOW)


def _rank(status: str) -> int:
    return _RANK.get(status, len(_RANK))


def _seconds(window: str) -> float:
    return window_length(window).total_seconds()
