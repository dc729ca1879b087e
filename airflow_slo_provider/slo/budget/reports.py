"""What the monitor and the gate say: the state of each SLO, and the decision that follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any

from airflow_slo_provider.exceptions import MeasurementError
from airflow_slo_provider.slo.budget.error_budgets import BurnRate, BurnRateRule, ErrorBudget
from airflow_slo_provider.slo.model import SLO, MissingSlices, Objective
from airflow_slo_provider.slo.policy.error_budget_policy import Action


class Status(StrEnum):
    """State of one objective. Only HEALTHY, WARNING, BURNING and EXHAUSTED are measured; the others say why nothing is known."""

    HEALTHY = "HEALTHY"
    WARNING = "WARNING"
    BURNING = "BURNING"
    EXHAUSTED = "EXHAUSTED"
    LOW_TRAFFIC = "LOW_TRAFFIC"
    NO_DATA = "NO_DATA"
    QUERY_ERROR = "QUERY_ERROR"

    @property
    def is_unknown(self) -> bool:
        """Whether the question was not answered."""
        return self in (Status.NO_DATA, Status.QUERY_ERROR)


@dataclass(frozen=True, kw_only=True)
class SLOReport:
    """What is known about one objective at one instant.

    :param name: unique name: the SLO's, with ``[2]`` for its second objective
    :param slo: the SLO
    :param objective: which of its objectives
    :param at: the instant it was evaluated for (UTC)
    :param start: start of the window that was measured (UTC)
    :param end: its end, exclusive (UTC); earlier than ``at`` by the SLO's maturity lag
    :param status: its state
    :param message: one sentence for a person
    :param good: good events, slices or summed ratios, where the source counts
    :param total: all of them
    :param budget: what is left of the error budget; None where nothing is known
    :param burn_rates: burn rates of the windows of the alert rules, shortest first
    :param firing: the multi-window alert rules that hold
    :param time_to_exhaustion: how long the budget lasts at the current rate; None where it does not burn or nothing is known
    :param coverage: share of the window that holds data; None where it was not asked for or the source cannot say
    :param coverage_failed: it was asked for, and the source did not answer
    :param missing: what slices without data counted as, where there were slices
    :param error: why nothing is known
    :param query: what was asked
    :param silence: for how long, at the window's end, no event was seen, at least; None where one was seen in the last hour, or
        it is not known
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
    time_to_exhaustion: timedelta | None = None
    coverage: Fraction | None = None
    coverage_failed: bool = False
    missing: MissingSlices | None = None
    error: MeasurementError | None = None
    query: str = ""
    silence: timedelta | None = None

    @property
    def title(self) -> str:
        """The name for people: of one objective of several, what its document calls it stands beside its number."""
        shown = self.objective.display_name if len(self.slo.objectives) > 1 else ""
        return f"{self.name} {shown}" if shown else self.name

    @property
    def sli(self) -> Fraction | None:
        """Share of good; None where nothing is known."""
        return self.budget.sli if self.budget else None

    @property
    def remaining(self) -> Fraction | None:
        """Share of the budget that is left; negative when overspent."""
        return self.budget.remaining if self.budget else None

    def burn_rate(self, window: timedelta) -> BurnRate | None:
        """The burn rate over a window, where it was measured."""
        return next((rate for rate in self.burn_rates if rate.window == window), None)


class Outcome(StrEnum):
    """What a gate does."""

    ALLOWED = "allowed"
    WARNING = "warning"
    FROZEN = "frozen"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class PolicyState:
    """What a decision leaves behind for the next one: which rules held, and since when it blocks.

    :param holding: names of the rules that held
    :param action: what the policy asked for
    :param blocked_since: when the blocking began; None while it does not block
    """

    holding: tuple[str, ...] = ()
    action: Action = Action.ALLOW
    blocked_since: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        since = self.blocked_since.isoformat() if self.blocked_since else None
        return {"holding": list(self.holding), "action": self.action.value, "blocked_since": since}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PolicyState:
        """Read what :meth:`to_dict` wrote.

        :raises ValueError: when it is none
        """
        try:
            since = data["blocked_since"]
            moment = datetime.fromisoformat(since) if since else None
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"blocked_since {since} has no time zone")
            return cls(tuple(map(str, data["holding"])), Action(data["action"]), moment)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a policy state: {data!r}") from error


@dataclass(frozen=True, kw_only=True)
class SLODecision:
    """What the policy asks for because of one objective.

    :param report: what is known about it
    :param outcome: what the gate would do if it were the only one
    :param action: what its policy asks for
    :param reasons: why, in sentences
    :param state: what the next decision needs to know
    :param gates: whether it counts; an informational objective never stops anything
    """

    report: SLOReport
    outcome: Outcome
    action: Action
    reasons: tuple[str, ...]
    state: PolicyState
    gates: bool = True


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a gate does, and why.

    :param outcome: ``allowed``, ``warning``, ``frozen`` or ``unknown``: the worst of the objectives that gate
    :param action: the strictest action that a policy asks for
    :param at: the instant it was made for (UTC)
    :param reasons: why, in sentences, the decisive ones first
    :param slos: the decisions about each objective
    """

    outcome: Outcome
    action: Action
    at: datetime
    reasons: tuple[str, ...] = ()
    slos: tuple[SLODecision, ...] = field(default=(), repr=False)

    @property
    def allowed(self) -> bool:
        """Whether a deployment may go ahead by itself: allowed, or a warning that blocks nothing."""
        return self.outcome in (Outcome.ALLOWED, Outcome.WARNING)

    @property
    def reports(self) -> tuple[SLOReport, ...]:
        """What is known about each objective."""
        return tuple(one.report for one in self.slos)
