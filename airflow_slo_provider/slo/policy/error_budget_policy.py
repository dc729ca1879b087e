"""Error-budget policies: the actions for a budget that is healthy, burning, spent or unknown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from airflow_slo_provider.core.slo_key import SLOKey, find_keys
from airflow_slo_provider.documents.durations import Duration
from airflow_slo_provider.slo.model import Location

#: The window of the current burn rate: long enough to be meaningful, short enough to be current.
CURRENT = timedelta(hours=1)


class Action(StrEnum):
    """The action of a policy rule, mildest first."""

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
        """Whether the action blocks an automatic deployment."""
        return self in (Action.ESCALATE, Action.FREEZE)


class Signal(StrEnum):
    """The signal that a policy rule evaluates."""

    REMAINING_BUDGET = "remainingBudget"
    BURN_RATE = "burnRate"
    TIME_TO_EXHAUSTION = "timeToExhaustion"
    BUDGET_DROP = "budgetDrop"
    NO_DATA = "noData"
    LOW_TRAFFIC = "lowTraffic"


class OnUnknown(StrEnum):
    """How the gate treats a status without an available measurement."""

    BLOCK = "block"
    WARN = "warn"
    ALLOW = "allow"


@dataclass(frozen=True)
class PolicyRule:
    """One rule of a policy. While it holds, its action is required; the strictest action of all rules applies.

    :param name: its name, unique within the policy
    :param action: the action it requires
    :param signal: the signal it evaluates
    :param op: ``lt``, ``lte``, ``gt`` or ``gte``; None for noData and lowTraffic
    :param enter: level at which it starts to hold: a share of the budget, a burn rate, or seconds to exhaustion
    :param exit: level beyond which it stops holding; equal to ``enter`` if not set
    :param window: the window of burnRate and budgetDrop
    """

    name: str
    action: Action
    signal: Signal
    op: str | None = None
    enter: Fraction | None = None
    exit: Fraction | None = None
    window: Duration | None = None

    @property
    def rate_window(self) -> timedelta | None:
        """The window of the burn rate that it evaluates; None if it evaluates no burn rate."""
        if self.signal is Signal.TIME_TO_EXHAUSTION:
            return CURRENT
        return None if self.window is None else self.window.timedelta


@dataclass(frozen=True)
class Override:
    """A time-limited exception to a policy, with a reason and an approver.

    :param action: the action to take instead
    :param until: time when it ends (aware)
    :param reason: the reason; shown wherever the decision is shown
    :param approved_by: the approver
    :param slos: names of the SLOs it covers, ``name`` or ``service/name``; empty for all that use the policy
    """

    action: Action
    until: datetime
    reason: str
    approved_by: str = ""
    slos: tuple[str, ...] = ()

    def covers(self, slo: SLOKey) -> bool:
        """Return whether the override is about an SLO.

        :param slo: the SLO
        """
        return not self.slos or any(find_keys(name, [slo]) for name in self.slos)


@dataclass(frozen=True)
class ErrorBudgetPolicy:
    """The rules by which decisions follow from error budgets.

    :param name: its name
    :param rules: its rules
    :param warning_level: share of the budget below which the status is WARNING
    :param cool_down: minimum time that a blocking decision stays in force, even if its reason no longer holds
    :param on_no_data: how the status NO_DATA is treated
    :param on_error: how the status QUERY_ERROR is treated
    :param overrides: time-limited exceptions
    :param description: description
    :param location: file and line of the document
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

    def accepts_unknown(self, rates: Iterable[timedelta]) -> bool:
        """Return whether unknown burn rates are accepted in writing: rules evaluate them, and ``on_no_data`` is ``allow``.

        :param rates: the windows of the unknown burn rates
        """
        evaluated = {rule.rate_window for rule in self.rules}
        return all(window in evaluated and self.on_no_data is OnUnknown.ALLOW for window in rates)


#: For an SLO that names no policy: a spent budget freezes; a low or fast-burning budget warns.
DEFAULT_POLICY = ErrorBudgetPolicy(
    name="default",
    rules=(PolicyRule("budget-spent", Action.FREEZE, Signal.REMAINING_BUDGET, "lte", Fraction(0), Fraction(0)),),
    description="Freezes while the error budget is spent.",
)
