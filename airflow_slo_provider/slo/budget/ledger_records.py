"""Convert reports and decisions to check results for the ledger (``CheckResult``) and small dicts for XCom."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from airflow_slo_provider.core.slo_key import display_names
from airflow_slo_provider.documents.durations import format_seconds
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.slo.budget.reports import Decision, GateOutcome, PolicyState, SLODecision, SLOReport, Status
from airflow_slo_provider.slo.budget.status import current_rate
from airflow_slo_provider.slo.budget.time_slices import slice_width

SUMMARY_VERSION = 1
_VERDICTS = {
    Status.HEALTHY: Verdict.PASS,
    Status.WARNING: Verdict.WARN,
    Status.BURNING: Verdict.WARN,
    Status.LOW_TRAFFIC: Verdict.WARN,
    Status.EXHAUSTED: Verdict.FAIL,
    Status.NO_DATA: Verdict.UNKNOWN,
    Status.QUERY_ERROR: Verdict.UNKNOWN,
}
#: The verdict that each outcome of a gate is recorded with.
OUTCOMES = {
    GateOutcome.ALLOWED: Verdict.PASS,
    GateOutcome.WARNING: Verdict.WARN,
    GateOutcome.FROZEN: Verdict.FAIL,
    GateOutcome.UNKNOWN: Verdict.UNKNOWN,
}
_MAX_TEXT = 500  # maximum number of characters of a query or a message in XCom


def slo_checks(decision: Decision) -> list[CheckResult]:
    """Return the ledger record of each objective: kind ``slo``, with the state that the next decision needs."""
    return [_slo_check(slo) for slo in decision.slos]


def decision_check(decision: Decision, *, name: str, more: Mapping[str, Any] | None = None) -> CheckResult:
    """Return the ledger record of a decision: kind ``decision``.

    :param decision: the decision
    :param name: name of the gate
    :param more: further evidence, e.g. whether the decision is ``complete``
    """
    return CheckResult(
        kind="decision",
        name=name,
        verdict=OUTCOMES[decision.outcome],
        message="; ".join(decision.reasons),
        checked_at=decision.at,
        evidence={
            "outcome": decision.outcome.value,
            "action": decision.action.value,
            "slos": statuses(decision),
            "services": {name: key.service for key, name in display_names(report.key for report in decision.reports).items()},
            **(more or {}),
        },
    )


def statuses(decision: Decision) -> dict[str, str]:
    """Return the status of each objective by its name; by ``service/name`` if services share a name."""
    names = display_names(report.key for report in decision.reports)
    return {names[report.key]: report.status.value for report in decision.reports}


def policy_state(evidence: Mapping[str, Any]) -> PolicyState | None:
    """Read the policy state from a recorded check of kind ``slo``; None if it holds none.

    :raises ValueError: when the recorded state is invalid
    """
    stored = evidence.get("policy_state")
    return None if stored is None else PolicyState.from_dict(stored)


def summary(decision: Decision) -> dict[str, Any]:
    """Return the decision as a small JSON-serialisable dict for XCom."""
    return {
        "schema_version": SUMMARY_VERSION,
        "outcome": decision.outcome.value,
        "action": decision.action.value,
        "allowed": decision.allowed,
        "at": decision.at.isoformat(),
        "reasons": [_cut(reason) for reason in decision.reasons],
        "slos": [report_dict(report) for report in decision.reports],
    }


def report_dict(report: SLOReport) -> dict[str, Any]:
    """Return one objective's state as a JSON-serialisable dict. Numbers are floats for display; no comparison uses them."""
    budget, rate, left = report.budget, current_rate(report), report.time_to_exhaustion
    return {
        "name": report.name,
        "service": report.slo.service,
        "status": report.status.value,
        "objective": float(report.objective.target),
        "window": report.slo.window.duration.text,
        "sli": _float(report.sli),
        "remaining": _float(report.remaining),
        "remaining_seconds": budget.remaining_time.total_seconds() if budget else None,
        "remaining_events": _float(budget.remaining_events) if budget else None,
        "burn_rate": _float(rate.value) if rate else None,
        "unknown_burn_rates": [format_seconds(int(unknown.window.total_seconds())) for unknown in report.unknown_rates],
        "time_to_exhaustion_seconds": left.total_seconds() if left is not None else None,
        "coverage": _float(report.coverage),
        "silent_seconds": report.silence.total_seconds() if report.silence is not None else None,
        "message": _cut(report.message),
        **({"group": dict(report.slo.group)} if report.slo.group else {}),
        **({"retired": True} if report.retired else {}),
    }


def _slo_check(slo: SLODecision) -> CheckResult:
    report = slo.report
    evidence: dict[str, Any] = {
        **{key: value for key, value in report_dict(report).items() if key not in ("name", "message")},
        "method": report.slo.method.value,
        "tier": report.slo.options.tier,
        "policy": report.slo.options.error_budget_policy or "",
        "burn_rates": {format_seconds(int(r.window.total_seconds())): _float(r.value) for r in report.burn_rates},
        "outcome": slo.outcome.value,
        "action": slo.action.value,
        "reasons": list(slo.reasons),
        "policy_state": slo.state.to_dict(),
        "query": report.query,
    }
    if (width := slice_width(report.slo, report.objective)) is not None:
        evidence["time_slice"] = format_seconds(int(width.total_seconds()))
    if report.missing is not None:
        evidence["missing_slices"] = report.missing.value
    if report.error is not None:
        evidence["error"] = {"reason": report.error.reason, "transient": report.error.transient, "asked": report.error.source}
    return CheckResult(
        kind="slo",
        name=report.recorded_name,
        labels=report.slo.group,
        verdict=_VERDICTS[report.status],
        value=_float(report.sli),
        unit="ratio",
        good=_float(report.good),
        total=_float(report.total),
        target=float(report.objective.target),
        op="gte",
        message=report.message,
        checked_at=report.at,
        interval_start=report.start,
        interval_end=report.end,
        evidence=evidence,
    )


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
