"""Compare a latency breakdown with latency budgets; build the check results that are recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown, SpanStats
from airflow_slo_provider.tracing.analysis.comparison import VersionComparison
from airflow_slo_provider.tracing.analysis.request_share import judged_version, served_beside
from airflow_slo_provider.tracing.analysis.samples import SECOND
from airflow_slo_provider.tracing.analysis.symptoms import Symptom, diagnose

KIND = "latency"
TIERS = ("p50", "p95", "p99")

#: Seconds, by span and tier: the usual budget of an online prediction, 100 ms at the 99th percentile.
DEFAULT_BUDGETS: Mapping[str, Mapping[str, float]] = {
    "ml_prediction_request": {"p50": 0.050, "p99": 0.100},
    "feature_fetch": {"p99": 0.020},
    "cache_lookup": {"p99": 0.005},
    "model_inference": {"p99": 0.050},
    "post_process": {"p99": 0.005},
}

_ORDER = {Verdict.PASS: 0, Verdict.WARN: 1, Verdict.UNKNOWN: 2, Verdict.FAIL: 3}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules that a breakdown is assessed by.

    :param budgets: seconds by span and tier; a span that has a budget and no measurements is UNKNOWN. None for
        :data:`DEFAULT_BUDGETS`, where spans without measurements are ignored
    :param fewest: number of spans below which a percentile is UNKNOWN
    :param warn_at: share of a budget from which a tier is a warning
    :param slower: verdict for a version that became slower: ``warn``, ``fail`` or ``ignore``
    :param allow_truncated: assess the breakdown even if part of the requested data is missing
    """

    budgets: Mapping[str, Mapping[str, float]] | None = None
    fewest: int = 100
    warn_at: float = 0.9
    slower: str = "warn"
    allow_truncated: bool = False


@dataclass(frozen=True)
class Assessment:
    """The result of assessing a breakdown.

    :param verdict: the worst of all checks
    :param why: the reason, one sentence
    :param version: the model version that was assessed
    :param checks: one per span and tier (and service, where several have spans of that name), and one for the comparison of
        versions
    :param symptoms: latency symptoms, each with its likely cause
    """

    verdict: Verdict
    why: str
    version: str | None
    breakdown: LatencyBreakdown
    comparison: VersionComparison | None
    checks: tuple[CheckResult, ...]
    symptoms: tuple[Symptom, ...]

    def with_evidence(self, **evidence: Any) -> Assessment:
        """Return a copy with further evidence in each check.

        :param evidence: the further evidence; values of None are left out
        """
        known = {key: value for key, value in evidence.items() if value is not None}
        return replace(self, checks=tuple(replace(check, evidence={**check.evidence, **known}) for check in self.checks))


def read_budgets(given: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Parse latency budgets given as numbers, timedeltas or text.

    :param given: by span: ``{"p99": 0.02}`` (seconds, a timedelta, or text such as ``"20ms"``), or one such value for the p99
    :return: seconds by span and tier
    :raises ValueError: for anything else
    """
    budgets = {}
    for span, tiers in given.items():
        listed = tiers if isinstance(tiers, Mapping) else {"p99": tiers}
        strange = [tier for tier in listed if tier not in TIERS]
        if strange or not listed:
            raise ValueError(f"budget of {span}: {strange[0] if strange else 'nothing'!r} is no tier; write {', '.join(TIERS)}")
        budgets[span] = {tier: _duration(span, value) for tier, value in listed.items()}
    return budgets


_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def _duration(span: str, value: Any) -> float:
    found = None
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9.]+)\s*(us|µs|ms|s)\s*", value)
        found = float(match[1]) * _UNITS[match[2]] if match else None
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value)
    if found is None or not 0 < found < 1e6:
        raise ValueError(f"budget of {span}: {value!r} is no duration; write seconds, a timedelta, or text such as '20ms'")
    return found


def assess(
    breakdown: LatencyBreakdown,
    rules: Rules,
    *,
    service: str,
    comparison: VersionComparison | None = None,
    not_compared: str | None = None,
    version: str | None = None,
    baseline: str | None = None,
    interval: tuple[datetime | None, datetime | None] = (None, None),
    evidence: Mapping[str, Any] | None = None,
) -> Assessment:
    """Assess a latency breakdown against budgets, and against the previous version where a comparison is given.

    :param breakdown: the latency breakdown to assess
    :param rules: budgets and thresholds
    :param service: name of the service, used in the names of the checks
    :param comparison: comparison of this version with the previous one
    :param not_compared: why a requested comparison is missing; the comparison's check is then UNKNOWN
    :param version: the model version to assess; by default the one that was compared, else the newest. If it is not named and
        other versions served after it or at the same time, the verdict is UNKNOWN, see :func:`~.request_share.served_beside`
    :param baseline: the version it is compared with, if named; that version may serve at the same time
    :param interval: start and end of the data interval, for the checks
    :param evidence: further evidence, added to every check
    """
    judged = version if version is not None else judged_version(breakdown, comparison, baseline)
    known = {"traces": breakdown.traces, "truncated": breakdown.truncated, "notes": list(breakdown.notes), **(evidence or {})}
    frame = _Frame(service, judged, interval, known)
    budgets = DEFAULT_BUDGETS if rules.budgets is None else rules.budgets
    doubt = _doubt(breakdown, rules)
    if doubt is None and version is None:
        doubt = served_beside(breakdown, judged, budgets, baseline)
    checks = list(_tiers(breakdown, rules, judged, frame, doubt))
    if not breakdown.traces:
        checks = [frame.check("traces", Verdict.UNKNOWN, doubt or "there are no traces")]
    elif not checks:
        checks = [frame.check("budgets", Verdict.UNKNOWN, doubt or f"none of the spans has a budget: {_names(breakdown)}")]
    if comparison is not None and rules.slower != "ignore":
        checks.append(_versions(comparison, rules, frame, doubt))
    elif not_compared is not None:
        message = f"versions are not compared: {not_compared}"
        checks.append(frame.check("version", Verdict.UNKNOWN, message, evidence={"baseline": baseline}))
    worst = max(checks, key=lambda check: _ORDER[check.verdict])
    symptoms = diagnose(breakdown, comparison, version=judged)
    why = "every span is within its budget" if worst.verdict is Verdict.PASS else worst.message
    return Assessment(worst.verdict, why, judged, breakdown, comparison, tuple(checks), tuple(symptoms))


@dataclass(frozen=True)
class _Frame:
    """The fields that all checks of an assessment share."""

    service: str
    version: str | None
    interval: tuple[datetime | None, datetime | None]
    evidence: Mapping[str, Any]

    def check(self, name: str, verdict: Verdict, message: str, **numbers: Any) -> CheckResult:
        return CheckResult(
            kind=KIND,
            name=f"{self.service}/{name}",
            verdict=verdict,
            message=message,
            model_version=self.version,
            interval_start=self.interval[0],
            interval_end=self.interval[1],
            evidence={**self.evidence, **numbers.pop("evidence", {})},
            **numbers,
        )


def _doubt(breakdown: LatencyBreakdown, rules: Rules) -> str | None:
    """Return why the breakdown cannot be assessed; None if it can."""
    if not breakdown.traces:
        return "there are no traces of this service in the interval" + "".join(f"; {note}" for note in breakdown.notes)
    if breakdown.only_kept:
        return "every trace was kept by a rule because it was slow or failed: how long all the others took is not known"
    if breakdown.truncated and not rules.allow_truncated:
        return "the traces are not all there: " + "; ".join(breakdown.notes or ("the store left some out",))
    return None


def _tiers(
    breakdown: LatencyBreakdown, rules: Rules, version: str | None, frame: _Frame, doubt: str | None
) -> Sequence[CheckResult]:
    checks = []
    for span, tiers in (DEFAULT_BUDGETS if rules.budgets is None else rules.budgets).items():
        # Spans of one name in several services have one row each: each is compared with the budget, the worst verdict counts.
        rows = [one for one in breakdown.rows if one.span == span and one.model_version == version]
        if not rows and rules.budgets is None:
            continue
        for tier, budget in tiers.items():
            if not rows:
                message = f"{span}: there are no such spans of version {version}; there are {_names(breakdown)}"
                message += f"; and {doubt}" if doubt is not None else ""
                checks.append(frame.check(f"{span}/{tier}", Verdict.UNKNOWN, message, target=budget, op="lte", unit="seconds"))
            for row in rows:
                what = span if len(rows) == 1 else f"{span}/{row.service}"
                checks.append(_tier(row, tier, budget, what, breakdown, rules, frame, doubt))
    return checks


def _tier(
    row: SpanStats,
    tier: str,
    budget: float,
    what: str,
    breakdown: LatencyBreakdown,
    rules: Rules,
    frame: _Frame,
    doubt: str | None,
) -> CheckResult:
    value: float = getattr(row, tier)
    said = f"{what} {tier} is {value * 1000:.4g} ms, budget {budget * 1000:.4g} ms ({row.count} spans of {row.model_version})"
    if doubt is not None:
        verdict, message = Verdict.UNKNOWN, f"{said}; but {doubt}"
    elif row.count < rules.fewest:
        verdict, message = Verdict.UNKNOWN, f"{said}: {row.count} spans are too few to judge, {rules.fewest} are needed"
    elif value > budget:
        verdict, message = Verdict.FAIL, said
    else:
        verdict, message = (Verdict.WARN if value >= rules.warn_at * budget else Verdict.PASS), said
    samples = next(
        one
        for key, one in breakdown.samples.items()
        if (key.span, key.service, key.version) == (row.span, row.service, row.model_version)
    )
    within = None if samples.sampled else sum(one <= budget * SECOND for one in samples.durations)
    return frame.check(
        f"{what}/{tier}", verdict, message, value=value, target=budget, op="lte", unit="seconds",
        good=within, total=row.count if within is not None else None,
        evidence={"self_p50": row.self_p50, "critical_share": row.critical_share, "error_rate": row.error_rate},
    )  # fmt: skip


def _versions(comparison: VersionComparison, rules: Rules, frame: _Frame, doubt: str | None) -> CheckResult:
    guilty = comparison.changes[0] if comparison.span is not None else None
    evidence = {
        "baseline": comparison.baseline,
        "candidate": comparison.candidate,
        "slower": comparison.slower,
        "span": comparison.span,
        "p99_interval": [guilty.p99_low, guilty.p99_high] if guilty else None,
    }
    verdict, message = Verdict.PASS, comparison.message
    if doubt is not None:
        verdict, message = Verdict.UNKNOWN, f"{message}; but {doubt}"
    elif comparison.slower == comparison.candidate:
        verdict = Verdict.FAIL if rules.slower == "fail" else Verdict.WARN
    return frame.check("version", verdict, message, value=guilty.p99_delta if guilty else 0.0, unit="seconds", evidence=evidence)


def _names(breakdown: LatencyBreakdown) -> str:
    return ", ".join(sorted({f"{row.span} ({row.model_version})" for row in breakdown.rows})[:10]) or "none"


def summary(assessment: Assessment, *, service: str, report: str | None = None) -> dict[str, Any]:
    """Return a small dict of the assessment, for XCom.

    :param assessment: the assessment to summarise
    :param service: name of the service
    :param report: path of the report
    """
    found, compared = assessment.breakdown, assessment.comparison
    judged = [row for row in found.rows if row.model_version == assessment.version][:20]
    return {
        "schema_version": 1,
        "service": service,
        "verdict": assessment.verdict.value,
        "why": assessment.why,
        "model_version": assessment.version,
        "versions": list(found.versions)[-10:],
        "traces": found.traces,
        "spans": found.spans,
        "truncated": found.truncated,
        "notes": list(found.notes)[:10],
        "rows": [
            {
                "span": row.span,
                "count": row.count,
                "p50": row.p50,
                "p95": row.p95,
                "p99": row.p99,
                "critical_share": row.critical_share,
            }
            for row in judged
        ],
        "slower": compared.slower if compared else None,
        "span": compared.span if compared else None,
        "comparison": compared.message if compared else None,
        "symptoms": [one.name for one in assessment.symptoms],
        "report": report,
    }
