"""Records of the monitor and the gate: the state of each SLO, and the resulting decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any

from airflow_slo_provider.core.slo_key import SLOKey, display_names
from airflow_slo_provider.exceptions import MeasurementError
from airflow_slo_provider.slo.budget.error_budgets import BurnRate, BurnRateRule, ErrorBudget
from airflow_slo_provider.slo.model import SLO, MissingSlices, Objective
from airflow_slo_provider.slo.policy.error_budget_policy import Action


class Status(StrEnum):
    """The status of one objective.

    HEALTHY, WARNING, BURNING and EXHAUSTED are measured; the others give the reason why no budget can be evaluated.
    """

    HEALTHY = "HEALTHY"
    WARNING = "WARNING"
    BURNING = "BURNING"
    EXHAUSTED = "EXHAUSTED"
    LOW_TRAFFIC = "LOW_TRAFFIC"
    NO_DATA = "NO_DATA"
    QUERY_ERROR = "QUERY_ERROR"

    @property
    def is_unknown(self) -> bool:
        """Whether no measurement is available."""
        return self in (Status.NO_DATA, Status.QUERY_ERROR)


#: Worst first. A failed measurement is worse than a warning, because the status is unknown.
WORST_FIRST = (
    Status.EXHAUSTED,
    Status.BURNING,
    Status.QUERY_ERROR,
    Status.NO_DATA,
    Status.WARNING,
    Status.LOW_TRAFFIC,
    Status.HEALTHY,
)


#: 100 years: a longer cool-down is a mistake, and its end would be no date.
_LONGEST = timedelta(days=36525)


@dataclass(frozen=True, kw_only=True)
class SLOReport:
    """The state of one objective at a given time.

    :param name: name, unique within the service: the SLO's, with ``[2]`` for its second objective
    :param slo: the SLO
    :param objective: the objective
    :param at: time of the evaluation (UTC)
    :param start: start of the window that was measured (UTC)
    :param end: its end, exclusive (UTC); earlier than ``at`` by the SLO's maturity lag
    :param status: its status
    :param message: one sentence for the reader
    :param good: good events, slices or summed ratios, if the source counts them
    :param total: all of them
    :param budget: the error budget; None when no measurement is available
    :param burn_rates: burn rates of the windows of the alert rules, shortest first
    :param firing: the multi-window alert rules that fire
    :param uncertain: the multi-window alert rules of which it is unknown whether they fire
    :param time_to_exhaustion: time until the budget is exhausted at the current rate; None when it does not burn or no
        measurement is available
    :param coverage: share of the window that holds data; None if it was not measured or the source cannot measure it
    :param coverage_failed: whether measuring the coverage failed
    :param missing: how slices without data were counted, for an SLO of slices
    :param error: reason why no measurement is available
    :param query: text of the query
    :param silence: minimum time without an event at the window's end; None if there was an event in the last hour, or it is
        unknown
    :param retired: whether it is about a group of labels that has vanished and need not exist: it is shown, and does not gate
    """

    name: str
    slo: SLO
    objective: Objective
    at: datetime
    start: datetime
    end: datetime
    status: Status
    message: str = ""
    good: Fraction | None = None
    total: Fraction | None = None
    budget: ErrorBudget | None = None
    burn_rates: tuple[BurnRate, ...] = ()
    firing: tuple[BurnRateRule, ...] = ()
    uncertain: tuple[BurnRateRule, ...] = ()
    time_to_exhaustion: timedelta | None = None
    coverage: Fraction | None = None
    coverage_failed: bool = False
    missing: MissingSlices | None = None
    error: MeasurementError | None = None
    query: str = ""
    silence: timedelta | None = None
    retired: bool = False

    @property
    def recorded_name(self) -> str:
        """The name in the ledger, which stores the group of labels separately."""
        return self.name.removesuffix(self.slo.group_text)

    @property
    def key(self) -> SLOKey:
        """The identity of the objective: the service and :attr:`name`."""
        return SLOKey(self.slo.service, self.name)

    @property
    def title(self) -> str:
        """The display name: the name, with the objective's own name if there are several objectives."""
        several = len(self.slo.objectives) > 1 and self.objective.display_name
        return f"{self.name} {self.objective.display_name}" if several else self.name

    @property
    def sli(self) -> Fraction | None:
        """Share of good events; None when no measurement is available."""
        return self.budget.sli if self.budget else None

    @property
    def remaining(self) -> Fraction | None:
        """Remaining share of the budget; negative when overspent; None when no measurement is available."""
        return self.budget.remaining if self.budget else None

    @property
    def unknown_rates(self) -> tuple[BurnRate, ...]:
        """The burn rates of windows whose numbers contradict each other."""
        return tuple(rate for rate in self.burn_rates if rate.is_unknown)

    @property
    def declaration(self) -> str:
        """A note if the queries cannot be read, and their author declares that they count events; otherwise empty."""
        from airflow_slo_provider.slo.promql.query_roles import counts_are_declared

        declared = counts_are_declared(self.slo.indicator_of(self.objective).metric)
        return "counts declared by the author (airflow-slo/counts), not proven" if declared else ""

    def burn_rate(self, window: timedelta) -> BurnRate | None:
        """Return the burn rate over a window, if it was measured.

        :param window: length of the window
        """
        return next((rate for rate in self.burn_rates if rate.window == window), None)


def report_titles(reports: Iterable[SLOReport]) -> list[str]:
    """Return the display names of reports that are shown together, with the service where a name belongs to several.

    :param reports: the reports
    """
    reports = list(reports)
    names = display_names(report.key for report in reports)
    return [names[report.key] + report.title.removeprefix(report.name) for report in reports]


class GateOutcome(StrEnum):
    """The outcome of a gate."""

    ALLOWED = "allowed"
    WARNING = "warning"
    FROZEN = "frozen"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class PolicyState:
    """The state that a decision passes to the next one: the rules that held, and since when it blocks.

    :param holding: names of the rules that held
    :param action: the action that the policy required
    :param blocked_since: start of the blocking; None if it does not block
    :param cool_down: how long it blocks at least: the longest cool-down of a policy since then
    """

    holding: tuple[str, ...] = ()
    action: Action = Action.ALLOW
    blocked_since: datetime | None = None
    cool_down: timedelta = timedelta(0)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict."""
        since = self.blocked_since.isoformat() if self.blocked_since else None
        data = {"holding": list(self.holding), "action": self.action.value, "blocked_since": since}
        return {**data, "cool_down": self.cool_down.total_seconds()} if self.cool_down else data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PolicyState:
        """Create a state from the dict that :meth:`to_dict` returned.

        :param data: the dict
        :raises ValueError: when the dict is not a policy state
        """
        try:
            since = datetime.fromisoformat(data["blocked_since"]) if data["blocked_since"] else None
            if since is not None and since.tzinfo is None:
                raise ValueError(f"blocked_since {since} has no time zone")
            cool_down = timedelta(seconds=float(data.get("cool_down", 0)))
            if not timedelta(0) <= cool_down <= _LONGEST:
                raise ValueError(f"cool_down {cool_down} is not between 0 and {_LONGEST}")
            return cls(tuple(map(str, data["holding"])), Action(data["action"]), since, cool_down)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"not a policy state: {data!r}") from error


@dataclass(frozen=True, kw_only=True)
class SLODecision:
    """The decision of the policy about one objective.

    :param report: the state of the objective
    :param outcome: the outcome of the gate if this were its only objective
    :param action: the action that the policy requires
    :param reasons: reasons, one sentence each
    :param state: the state that the next decision needs
    :param gates: whether the objective counts for the gate; an informational objective never blocks
    """

    report: SLOReport
    outcome: GateOutcome
    action: Action
    reasons: tuple[str, ...]
    state: PolicyState
    gates: bool = True


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The decision of a gate, with reasons.

    :param outcome: ``allowed``, ``warning``, ``frozen`` or ``unknown``: the worst of the objectives that gate
    :param action: the strictest action that a policy requires
    :param at: time of the evaluation (UTC)
    :param reasons: reasons, one sentence each, the decisive ones first
    :param slos: the decisions about each objective
    """

    outcome: GateOutcome
    action: Action
    at: datetime
    reasons: tuple[str, ...] = ()
    slos: tuple[SLODecision, ...] = field(default=(), repr=False)

    @property
    def allowed(self) -> bool:
        """Whether an automatic deployment may proceed: allowed, or a warning, which does not block."""
        return self.outcome in (GateOutcome.ALLOWED, GateOutcome.WARNING)

    @property
    def reports(self) -> tuple[SLOReport, ...]:
        """The state of each objective."""
        return tuple(slo.report for slo in self.slos)
