"""Data of each SLO on the pages: its newest check, its last known value, and the history of its budget."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.core.slo_key import SLOKey, group_text
from airflow_slo_provider.core.timestamps import slices
from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.ledger.queries import slos as slo_queries
from airflow_slo_provider.plugins.slo_page import safe_evidence
from airflow_slo_provider.plugins.slo_page.formatting import check_status
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.slo.budget.reports import WORST_FIRST, Status

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import ReadableDags

#: Status of an SLO whose newest check is older than its window, and of a check that has only a verdict.
UNKNOWN = Verdict.UNKNOWN.value
_RANK = {status.value: number for number, status in enumerate(WORST_FIRST)}
_RANK[UNKNOWN] = _RANK[Status.NO_DATA.value]
#: Tolerance for a DAG that runs once per window and is late.
_LATE = timedelta(days=1)
SPARKLINE_POINTS = 24
_LONGEST_WINDOW = timedelta(days=400)


@dataclass(frozen=True)
class SLOSummary:
    """One SLO, from its newest check.

    :param row: the newest check
    :param sparkline: points of the sparkline
    :param last_known: the last check with a value, if the newest one has none or is stale
    :param now: the current time; None for the state at the time of the check
    """

    row: Recorded
    sparkline: tuple[tuple[float, float], ...] = ()
    last_known: Recorded | None = None
    now: datetime | None = None

    @property
    def evidence(self) -> Mapping[str, Any]:
        """Return the evidence of the check."""
        return self.row.result.evidence

    @property
    def name(self) -> str:
        """Return the name of the SLO, with its group."""
        return f"{self.row.result.name}{group_text(self.row.result.labels)}"

    @property
    def checked_status(self) -> str:
        """Return the status in the check's evidence, or the verdict if a check of another origin has none."""
        return check_status(self.row)

    @property
    def is_stale(self) -> bool:
        """Return whether the check is older than the SLO's window, so that its measurement lies outside of the window."""
        return self.now is not None and self.now - self.row.result.checked_at > self.window_length + _LATE

    @property
    def status(self) -> str:
        """Return the status of the check; unknown if the check is stale, unless its status was worse."""
        return UNKNOWN if self.is_stale and _rank(self.checked_status) > _RANK[UNKNOWN] else self.checked_status

    @property
    def is_unknown(self) -> bool:
        """Return whether the last measurement failed."""
        return self.checked_status in (Status.QUERY_ERROR.value, Status.NO_DATA.value, UNKNOWN)

    @property
    def rank(self) -> tuple[int, float]:
        """Return the sort key, worst first."""
        return _rank(self.status), 2.0 if self.remaining is None else self.remaining

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
        return safe_evidence.text(self.evidence, "tier")

    @property
    def window(self) -> str:
        """Return the window as written."""
        return safe_evidence.text(self.evidence, "window")

    @property
    def window_length(self) -> timedelta:
        """Return the length of the window; 30 days if it is not known."""
        return window_length(self.window)

    @property
    def target(self) -> float | None:
        """Return the objective, as a share."""
        target = self.row.result.target
        return safe_evidence.number(self.evidence, "objective") if target is None else target

    @property
    def sli(self) -> float | None:
        """Return the SLI, the share of good events."""
        return self.row.result.value

    @property
    def remaining(self) -> float | None:
        """Return the remaining budget, as a share."""
        return safe_evidence.number(self.evidence, "remaining")

    @property
    def remaining_seconds(self) -> float | None:
        """Return the remaining budget in seconds."""
        return safe_evidence.number(self.evidence, "remaining_seconds")

    @property
    def burn_rate(self) -> float | None:
        """Return the current burn rate."""
        return safe_evidence.number(self.evidence, "burn_rate")

    @property
    def burn_rates(self) -> list[tuple[str, float | None]]:
        """Return the burn rate of each window, shortest first."""
        rates = safe_evidence.mapping(self.evidence, "burn_rates")
        return sorted(((str(key), safe_evidence.number(rates, key)) for key in rates), key=lambda rate: window_length(rate[0]))

    @property
    def unknown_burn_rates(self) -> list[str]:
        """Return the windows whose burn rate is unknown because their numbers contradict each other."""
        return [str(window) for window in safe_evidence.sequence(self.evidence, "unknown_burn_rates")]

    @property
    def exhausted_in(self) -> float | None:
        """Return the seconds until the budget is exhausted."""
        return None if self.is_stale else safe_evidence.number(self.evidence, "time_to_exhaustion_seconds")

    @property
    def exhaustion(self) -> str:
        """Return "spent" or "never" if there is no time until exhaustion."""
        if self.remaining is None or self.is_stale:
            return ""
        if self.remaining <= 0:
            return "spent"
        return "never" if self.exhausted_in is None else ""

    @property
    def sparkline_label(self) -> str:
        """Return the text alternative of the sparkline."""
        if len(self.sparkline) < 2:
            return "no history of the budget yet"
        values = [value for _, value in self.sparkline]
        span = f"from {percent(values[0])} to {percent(values[-1])}, lowest {percent(min(values))}"
        return f"budget left over {self.window or '30d'}: {span}"


@dataclass(frozen=True)
class Overview:
    """All SLOs that a user may see.

    :param slos: the SLOs, worst first
    :param at: when the ledger was queried
    :param counts: the number of SLOs of each status
    """

    slos: Sequence[SLOSummary]
    at: datetime
    counts: Mapping[str, int]


Sparklines = dict[SLOKey, tuple[tuple[float, float], ...]]


def read_overview(ledger: Ledger, readable: ReadableDags, sparklines: Sparklines, *, now: datetime | None = None) -> Overview:
    """Read all SLOs, worst first.

    :param ledger: the ledger
    :param readable: the DAGs that the user may read
    :param sparklines: the result of :func:`read_sparklines`
    :param now: the current time (aware)
    """
    now = now or datetime.now(UTC)
    rows = readable.filter(slo_queries.newest(ledger, dags=readable.query_filter))
    newest = by_slo(row for row in rows if row.result.evidence.get("retired") is not True)
    without_value = [slo for slo, row in newest.items() if row.result.value is None]
    known = by_slo(readable.filter(slo_queries.newest_with_value(ledger, without_value, dags=readable.query_filter)))
    slos = [summarize(row, now, sparklines.get(slo, ()), known.get(slo)) for slo, row in newest.items()]
    slos.sort(key=lambda slo: (slo.rank, slo.name, slo.service))
    return Overview(slos, now, Counter(slo.status for slo in slos))


def by_slo(rows: Iterable[Recorded]) -> dict[SLOKey, Recorded]:
    """Return checks by the key of their SLO."""
    return {SLOKey.of(row.result): row for row in rows}


def summarize(
    row: Recorded, now: datetime, sparkline: tuple[tuple[float, float], ...] = (), last_known: Recorded | None = None
) -> SLOSummary:
    """Summarize an SLO; a stale check with a value is also the last known one.

    :param row: the newest check
    :param now: the current time (aware)
    :param sparkline: points of the sparkline
    :param last_known: the last check with a value, if the newest one has none
    """
    slo = SLOSummary(row, sparkline, last_known, now)
    return replace(slo, last_known=row) if slo.is_stale and row.result.value is not None else slo


def read_sparklines(ledger: Ledger, readable: ReadableDags, *, now: datetime | None = None) -> Sparklines:
    """Read the history of each budget over its window, in few points.

    :param ledger: the ledger
    :param readable: the DAGs that the user may read
    :param now: the current time (aware)
    """
    now, dags = now or datetime.now(UTC), readable.query_filter
    by_window: dict[timedelta, list[SLOKey]] = defaultdict(list)
    for row in slo_queries.newest(ledger, dags=dags):
        by_window[SLOSummary(row).window_length].append(SLOKey.of(row.result))
    points: dict[SLOKey, list[tuple[float, float]]] = defaultdict(list)
    for window, slos in by_window.items():
        start = now - window
        for sample in slo_queries.samples(ledger, slos, slices(start, now, SPARKLINE_POINTS), field="remaining", dags=dags):
            if sample.field is not None and readable.allows(sample.dag_id):
                points[sample.slo].append(((sample.checked_at - start) / window, sample.field))
    return {slo: tuple(line) for slo, line in points.items()}


def overview_values(overview: Overview, shown: Sequence[SLOSummary] | None = None, **filters: str) -> dict[str, Any]:
    """Return the values of the overview's template.

    :param overview: all SLOs
    :param shown: the SLOs that match the filters; None for all
    :param filters: ``q`` (the text to search), ``status``, ``service`` and ``tier``; empty by default
    """
    slos = overview.slos
    return {
        "overview": overview,
        "shown": slos if shown is None else shown,
        "filters": {"q": "", "status": "", "service": "", "tier": "", **filters},
        "statuses": sorted({slo.status for slo in slos}, key=lambda status: (_rank(status), status)),
        "services": sorted({slo.service for slo in slos} - {""}),
        "tiers": sorted({slo.tier for slo in slos} - {""}),
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
