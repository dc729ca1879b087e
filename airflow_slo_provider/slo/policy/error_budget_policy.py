"""Error-budget policies: what may be done while a budget is healthy, burning, spent or unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from airflow_slo_provider.documents.durations import Duration
from airflow_slo_provider.slo.model import Location


class Action(StrEnum):
    """What a policy rule asks for, mildest first."""

    ALLOW = "allow"
    ALERT = "alert"
    REDUCE_EXPERIMENTATION = "reduce_experimentation"
    DEGRADE = "degrade"
    ESCALATE = "escalate"
    FREEZE = "freeze"

    @property
    def rank(self) -> int:
        """Position from mildest (0) to strictest."""
        return list(Action).index(self)

    @property
    def blocks(self) -> bool:
        """Whether a deployment must not go ahead by itself."""
        return self in (Action.ESCALATE, Action.FREEZE)


class Signal(StrEnum):
    """What a policy rule looks at."""

    REMAINING_BUDGET = "remainingBudget"
    BURN_RATE = "burnRate"
    TIME_TO_EXHAUSTION = "timeToExhaustion"
    BUDGET_DROP = "budgetDrop"
    NO_DATA = "noData"
    LOW_TRAFFIC = "lowTraffic"


class OnUnknown(StrEnum):
    """What an unanswered question means for the gate."""

    BLOCK = "block"
    WARN = "warn"
    ALLOW = "allow"


@dataclass(frozen=True)
class PolicyRule:
    """One rule of a policy. While it holds, its action is asked for; the strictest action of all rules wins.

    :param name: its name, unique within the policy
    :param action: what it asks for
    :param signal: what it looks at
    :param op: ``lt``, ``lte``, ``gt`` or ``gte``; None for noData and lowTraffic
    :param enter: level at which it begins to hold: a share of the budget, a burn rate, or seconds to exhaustion
    :param exit: level past which it stops holding; equal to ``enter`` when not given
    :param window: the window of burnRate and budgetDrop
    """

    name: str
    action: Action
    signal: Signal
    op: str | None = None
    enter: Fraction | None = None
    exit: Fraction | None = None
    window: Duration | None = None


@dataclass(frozen=True)
class Override:
    """A time-limited exception that a person took responsibility for.

    :param action: what to do instead
    :param until: when it ends (aware)
    :param reason: why; shown wherever the decision is shown
    :param approved_by: who
    :param slos: names of the SLOs it covers; empty for all that use the policy
    """

    action: Action
    until: datetime
    reason: str
    approved_by: str = ""
    slos: tuple[str, ...] = ()


@dataclass(frozen=True)
class ErrorBudgetPolicy:
    """How decisions follow from budgets.

    :param name: its name
    :param rules: its rules
    :param warning_level: share of the budget below which the status is WARNING
    :param cool_down: how long a blocking decision stays once entered, even when its reason has gone
    :param on_no_data: what NO_DATA means
    :param on_error: what QUERY_ERROR means
    :param overrides: time-limited exceptions
    """

    name: str
    rules: tuple[PolicyRule, ...]
    warning_level: Fraction = Fraction(1, 4)
    cool_down: timedelta = timedelta(0)
    on_no_data: OnUnknown = OnUnknown.BLOCK
    on_error: OnUnknown = OnUnknown.BLOCK
    overrides: tuple[Override, ...] = ()
    description: str = ""
    location: Location = field(default_factory=Location, compare=False)


#: For an SLO that names no policy: a spent budget freezes; one that is low, or that burns too fast, is worth a warning.
DEFAULT_POLICY = ErrorBudgetPolicy(
    name="default",
    rules=(PolicyRule("budget-spent", Action.FREEZE, Signal.REMAINING_BUDGET, "lte", Fraction(0), Fraction(0)),),
    description="Freezes while the error budget is spent.",
)
