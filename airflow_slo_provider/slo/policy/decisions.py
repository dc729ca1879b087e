"""Decide the outcome of a gate from the state of error budgets.

Each objective is evaluated by its own policy. A rule that held keeps holding until its exit level is passed, a blocking
decision stays for the policy's cool-down, and missing data does not end a freeze. The gate's outcome is that of the strictest
objective; informational objectives are reported and block nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.core.timestamps import format_utc
from airflow_slo_provider.slo.budget.reports import (
    Decision,
    GateOutcome,
    PolicyState,
    SLODecision,
    SLOReport,
    Status,
    report_titles,
)
from airflow_slo_provider.slo.budget.windows import nominal_length
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, OnUnknown, Override, PolicyRule, Signal

#: In order of severity, the worst last.
_ORDER = (GateOutcome.ALLOWED, GateOutcome.WARNING, GateOutcome.UNKNOWN, GateOutcome.FROZEN)
_UNKNOWN = {
    OnUnknown.BLOCK: (GateOutcome.UNKNOWN, Action.FREEZE),
    OnUnknown.WARN: (GateOutcome.WARNING, Action.ALERT),
    OnUnknown.ALLOW: (GateOutcome.ALLOWED, Action.ALLOW),
}
#: Statuses that alert at least, also when no rule of the policy holds.
_ALERTING = (Status.WARNING, Status.BURNING, Status.EXHAUSTED)
#: Signals of the whole window, which must hold enough data before they may freeze deployments.
_WHOLE_WINDOW = (Signal.REMAINING_BUDGET, Signal.TIME_TO_EXHAUSTION)
#: Seconds to exhaustion of a budget that does not burn.
_NEVER_EXHAUSTED = Fraction(10**15)


def decide(
    reports: Sequence[SLOReport],
    catalog: SLOCatalog,
    *,
    previous: Mapping[SLOKey, PolicyState] | Mapping[str, PolicyState] | None = None,
) -> Decision:
    """Decide the outcome of a gate.

    :param reports: the state of each objective, as :meth:`.SLOMonitor.evaluate` returns it
    :param catalog: holds the policies
    :param previous: the states of the previous decision, by the reports' keys; or by their names, for services without common
        names
    :return: the decision; UNKNOWN when no report gates, because a gate opens only on a measured budget
    """
    states: dict[SLOKey | str, PolicyState] = dict(previous or {})  # type: ignore[arg-type]
    before = [states.get(report.key, states.get(report.name, PolicyState())) for report in reports]
    slos = tuple(
        _with_declaration(_decide_objective(report, catalog.policy_of(report.slo), state))
        for report, state in zip(reports, before, strict=True)
    )
    gating = [slo for slo in slos if slo.gates]
    at = reports[0].at if reports else datetime.now(UTC)
    if not gating:
        reason = "no SLO that gates was evaluated: all are of tier informational or retired" if slos else "no SLO was evaluated"
        return Decision(outcome=GateOutcome.UNKNOWN, action=Action.FREEZE, at=at, reasons=(reason,), slos=slos)
    gating.sort(key=lambda slo: -_ORDER.index(slo.outcome))
    action = max((slo.action for slo in gating), key=lambda action: action.rank)
    titles = dict(zip((report.key for report in reports), report_titles(reports), strict=True))
    reasons = tuple(f"{titles[slo.report.key]}: {reason}" for slo in gating for reason in slo.reasons)
    return Decision(outcome=gating[0].outcome, action=action, at=at, reasons=reasons, slos=slos)


def _decide_objective(report: SLOReport, policy: ErrorBudgetPolicy, before: PolicyState) -> SLODecision:
    gates = report.slo.options.gates and not report.retired
    if report.status.is_unknown:
        return replace(_decide_unknown(report, policy, before), gates=gates)
    held = [rule for rule in policy.rules if _holds(rule, report, rule.name in before.holding)]
    too_early = [rule for rule in held if rule.name not in before.holding and _lacks_coverage(rule, report)]
    required = [(rule.action, f"rule {rule.name}: {_format_rule(rule, report)}") for rule in held if rule not in too_early]
    accepted = policy.accepts_unknown(rate.window for rate in report.unknown_rates)
    if report.status in _ALERTING or (report.status is Status.LOW_TRAFFIC and not held) or not accepted:
        required.append((Action.ALERT, report.message))
    action = max((action for action, _ in required), key=lambda action: action.rank, default=Action.ALLOW)
    since = before.blocked_since
    # Another policy, or a shorter cool-down, does not end a block sooner than the policy that began it.
    cool_down = max(policy.cool_down, before.cool_down) if since is not None else policy.cool_down
    if not action.blocks and since is not None and report.at < since + cool_down:
        action = before.action
        until = since + cool_down
        required.append((action, f"cool-down: blocked since {format_utc(since)}, until {format_utc(until)}"))
    blocked_since = (since or report.at) if action.blocks else None
    holding = tuple(rule.name for rule in held if rule not in too_early)
    state = PolicyState(holding, action, blocked_since, cool_down if action.blocks else timedelta(0))
    override = _override(policy, report)
    if override is not None:
        action = override.action
        required.append((action, _format_override(override)))
    reasons = tuple(dict.fromkeys(reason for needed, reason in required if needed is action)) or (report.message,)
    outcome = _outcome_of(action)
    undecided = [] if policy.on_no_data is not OnUnknown.BLOCK else [rule for rule in policy.rules if _is_undecided(rule, report)]
    if (too_early or undecided) and override is None and outcome is not GateOutcome.FROZEN:
        # Too little of the window holds data to freeze on it, and it does not justify proceeding either.
        outcome, action = GateOutcome.UNKNOWN, Action.FREEZE
        reasons = tuple(f"rule {rule.name} cannot be judged yet: {report.message}" for rule in too_early)
        reasons += tuple(f"rule {rule.name} cannot be judged: {report.message}" for rule in undecided)
    return SLODecision(report=report, outcome=outcome, action=action, reasons=reasons, state=state, gates=gates)


def _with_declaration(slo: SLODecision) -> SLODecision:
    """Add to the reasons that the counts are declared and not proven, unless nothing was measured."""
    note = slo.report.declaration
    if not note or slo.report.status.is_unknown or any(note in reason for reason in slo.reasons):
        return slo
    return replace(slo, reasons=(*slo.reasons, note))


def _decide_unknown(report: SLOReport, policy: ErrorBudgetPolicy, before: PolicyState) -> SLODecision:
    """Decide without an available measurement: an earlier freeze stays, whatever the policy defines for missing data."""
    no_data = report.status is Status.NO_DATA
    outcome, action = _UNKNOWN[policy.on_no_data if no_data else policy.on_error]
    reasons = [f"{report.status}: {report.message}"]
    held = [rule for rule in policy.rules if rule.signal is Signal.NO_DATA and no_data]
    if held:
        strictest = max(held, key=lambda rule: rule.action.rank)
        if _ORDER.index(_outcome_of(strictest.action)) >= _ORDER.index(outcome):
            outcome, action = _outcome_of(strictest.action), strictest.action
            reasons.append(f"rule {strictest.name} of policy {policy.name}: {strictest.action}")
    ordered = _override(policy, report)
    if ordered is not None and ordered.action.blocks:
        outcome, action = GateOutcome.FROZEN, max(action, ordered.action, key=lambda action: action.rank)
        reasons.append(_format_override(ordered))
    if before.action.blocks and outcome is not GateOutcome.FROZEN:
        outcome, action = GateOutcome.FROZEN, before.action
        since = f" since {format_utc(before.blocked_since)}" if before.blocked_since else ""
        reasons.append(f"blocked{since}, and missing data does not lift the block")
    return SLODecision(report=report, outcome=outcome, action=action, reasons=tuple(reasons), state=before)


def _outcome_of(action: Action) -> GateOutcome:
    if action.blocks:
        return GateOutcome.FROZEN
    return GateOutcome.ALLOWED if action is Action.ALLOW else GateOutcome.WARNING


def _holds(rule: PolicyRule, report: SLOReport, held_before: bool) -> bool:
    if rule.signal is Signal.NO_DATA:
        return False
    if rule.signal is Signal.LOW_TRAFFIC:
        return report.status is Status.LOW_TRAFFIC
    if report.status is Status.LOW_TRAFFIC:
        return held_before  # too few events to freeze, and too few to end a freeze
    value = _rule_value(rule, report)
    if value is None:  # no events in the window, or an unknown rate: the rule neither starts nor stops
        return held_before
    if held_before and (_lacks_coverage(rule, report) or (_needs_coverage(rule) and report.coverage_failed)):
        return True  # a lost history looks like a budget that has recovered
    level = rule.exit if held_before and rule.exit is not None else rule.enter
    return level is not None and _compare(value, rule.op, level)


def _rule_value(rule: PolicyRule, report: SLOReport) -> Fraction | None:
    """Return the number that a rule compares."""
    if _has_unknown_rate(rule, report):
        return None
    if rule.signal is Signal.REMAINING_BUDGET:
        return report.remaining
    if rule.signal is Signal.TIME_TO_EXHAUSTION:
        left = report.time_to_exhaustion
        return Fraction(left // timedelta(seconds=1)) if left is not None else _NEVER_EXHAUSTED
    assert rule.window is not None
    rate = report.burn_rate(rule.window.timedelta)
    if rate is None or rate.value is None:
        return None
    if rule.signal is Signal.BURN_RATE:
        return rate.value
    return rate.value * int(rate.window.total_seconds()) / int(nominal_length(report.slo.window).total_seconds())


def _has_unknown_rate(rule: PolicyRule, report: SLOReport) -> bool:
    """Return whether a rule needs a burn rate that is unknown."""
    if rule.signal is Signal.TIME_TO_EXHAUSTION and report.remaining is not None and report.remaining <= 0:
        return False  # at any rate
    return rule.rate_window in [rate.window for rate in report.unknown_rates]


def _is_undecided(rule: PolicyRule, report: SLOReport) -> bool:
    """Return whether a rule would block if its unknown burn rate were high; with too few events no rule starts to hold."""
    return rule.action.blocks and report.status is not Status.LOW_TRAFFIC and _has_unknown_rate(rule, report)


def _compare(value: Fraction, op: str | None, level: Fraction) -> bool:
    return {"lt": value < level, "lte": value <= level, "gt": value > level, "gte": value >= level}[op or "lte"]


def _lacks_coverage(rule: PolicyRule, report: SLOReport) -> bool:
    """Return whether a blocking rule uses the whole window, and too little of it holds data to freeze or to end a freeze."""
    covered = report.coverage is None or report.coverage >= report.slo.options.min_coverage
    return _needs_coverage(rule) and not covered


def _needs_coverage(rule: PolicyRule) -> bool:
    return rule.action.blocks and rule.signal in _WHOLE_WINDOW


def _format_rule(rule: PolicyRule, report: SLOReport) -> str:
    if rule.signal is Signal.LOW_TRAFFIC:
        return report.message
    value = _rule_value(rule, report)
    if value is None and _has_unknown_rate(rule, report):
        return f"held before, and the burn rate that would clear it is unknown ({report.message})"
    if report.status is Status.LOW_TRAFFIC or value is None:
        return f"held before, and too few events to clear it ({report.message})"
    if _lacks_coverage(rule, report):
        return f"held before, and too little of the window holds data to clear it ({report.message})"
    if _needs_coverage(rule) and report.coverage_failed and not _compare(value, rule.op, rule.enter or Fraction(0)):
        return f"held before, and it is unknown whether enough of the window holds data to clear it ({report.message})"
    if rule.signal is Signal.REMAINING_BUDGET:
        if value < 0:
            return f"{percent(1 - value, up=True)} of the error budget is used"
        return f"{percent(value)} of the error budget is left"
    if rule.signal is Signal.TIME_TO_EXHAUSTION:
        return f"the error budget lasts {report.time_to_exhaustion} at the current rate"
    assert rule.window is not None
    if rule.signal is Signal.BURN_RATE:
        return f"burn rate {float(value):.3g} over {rule.window}"
    return f"{percent(value, up=True)} of the error budget was spent in {rule.window}"


def _override(policy: ErrorBudgetPolicy, report: SLOReport) -> Override | None:
    """Return the strictest override that applies: a waiver for all SLOs must not lift an order for one."""
    current = (override for override in policy.overrides if report.at < override.until)
    applying = (override for override in current if override.covers(report.slo.key))
    return max(applying, key=lambda override: override.action.rank, default=None)


def _format_override(override: Override) -> str:
    by = f" by {override.approved_by}" if override.approved_by else ""
    return f"override{by} until {format_utc(override.until)}: {override.reason}"
