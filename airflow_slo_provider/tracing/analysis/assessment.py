"""Compare a latency breakdown with latency budgets; build the check results that are recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.tracing.analysis.assessed_version import describe_concurrent_versions, version_to_assess
from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown, SpanStats
from airflow_slo_provider.tracing.analysis.collector import RowKey
from airflow_slo_provider.tracing.analysis.comparison import VersionComparison
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
class LatencyRules:
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
class LatencyAssessment:
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

    def with_evidence(self, **evidence: Any) -> LatencyAssessment:
        """Return a copy with further evidence in each check.

        :param evidence: the further evidence; values of None are left out
        """
        known = {key: value for key, value in evidence.items() if value is not None}
        return replace(self, checks=tuple(replace(check, evidence={**check.evidence, **known}) for check in self.checks))


def read_budgets(values: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Parse latency budgets from numbers, timedeltas or text.

    :param values: by span: ``{"p99": 0.02}`` (seconds, a timedelta, or text such as ``"20ms"``), or one such value for the p99
    :return: seconds by span and tier
    :raises ValueError: for anything else
    """
    budgets = {}
    for span, value in values.items():
        tiers = value if isinstance(value, Mapping) else {"p99": value}
        unknown = [tier for tier in tiers if tier not in TIERS]
        if unknown or not tiers:
            raise ValueError(
                f"budget of {span}: {unknown[0] if unknown else 'nothing'!r} is not a tier; write {', '.join(TIERS)}"
            )
        budgets[span] = {tier: _read_duration(span, seconds) for tier, seconds in tiers.items()}
    return budgets


_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def _read_duration(span: str, value: Any) -> float:
    found = None
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9.]+)\s*(us|µs|ms|s)\s*", value)
        found = float(match[1]) * _UNITS[match[2]] if match else None
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value)
    if found is None or not 0 < found < 1e6:
        raise ValueError(f"budget of {span}: {value!r} is not a duration; write seconds, a timedelta, or text such as '20ms'")
    return found


def assess(
    breakdown: LatencyBreakdown,
    rules: LatencyRules,
    *,
    service: str,
    comparison: VersionComparison | None = None,
    not_compared: str | None = None,
    version: str | None = None,
    baseline: str | None = None,
    interval: tuple[datetime | None, datetime | None] = (None, None),
    evidence: Mapping[str, Any] | None = None,
) -> LatencyAssessment:
    """Assess a latency breakdown against budgets, and against the previous version if there is a comparison.

    :param breakdown: the latency breakdown to assess
    :param rules: budgets and thresholds
    :param service: name of the service, used in the names of the checks
    :param comparison: comparison of this version with the previous one
    :param not_compared: why a requested comparison is missing; the comparison's check is then UNKNOWN
    :param version: the model version to assess; by default the one that was compared, else the newest. If it is not named and
        other versions served after it or at the same time, the verdict is UNKNOWN, see
        :func:`~.assessed_version.describe_concurrent_versions`
    :param baseline: the version it is compared with, if named; that version may serve at the same time
    :param interval: start and end of the data interval, for the checks
    :param evidence: further evidence, added to every check
    """
    assessed = version if version is not None else version_to_assess(breakdown, comparison, baseline)
    budgets = DEFAULT_BUDGETS if rules.budgets is None else rules.budgets
    unknown_reason = _unknown_reason(breakdown, rules)
    if unknown_reason is None and version is None:
        unknown_reason = describe_concurrent_versions(breakdown, assessed, budgets, baseline)
    shared = {"traces": breakdown.traces, "truncated": breakdown.truncated, "notes": list(breakdown.notes), **(evidence or {})}
    assessor = _Assessor(breakdown, rules, service, assessed, unknown_reason, interval, shared)
    checks = [check for span, tiers in budgets.items() for check in assessor.check_span(span, tiers)]
    if not breakdown.traces:
        checks = [assessor.check("traces", Verdict.UNKNOWN, unknown_reason or "there are no traces")]
    elif not checks:
        message = unknown_reason or f"none of the spans has a budget: {_span_names(breakdown)}"
        checks = [assessor.check("budgets", Verdict.UNKNOWN, message)]
    if comparison is not None and rules.slower != "ignore":
        checks.append(assessor.check_versions(comparison))
    elif not_compared is not None:
        message = f"versions are not compared: {not_compared}"
        checks.append(assessor.check("version", Verdict.UNKNOWN, message, evidence={"baseline": baseline}))
    worst = max(checks, key=lambda check: _ORDER[check.verdict])
    symptoms = diagnose(breakdown, comparison, version=assessed)
    why = "every span is within its budget" if worst.verdict is Verdict.PASS else worst.message
    return LatencyAssessment(worst.verdict, why, assessed, breakdown, comparison, tuple(checks), tuple(symptoms))


def _unknown_reason(breakdown: LatencyBreakdown, rules: LatencyRules) -> str | None:
    """Return why the breakdown cannot be assessed; None if it can."""
    if not breakdown.traces:
        return "there are no traces of this service in the interval" + "".join(f"; {note}" for note in breakdown.notes)
    if breakdown.only_kept:
        return "every trace was kept by a rule because it was slow or failed: the latency of the others is unknown"
    if breakdown.truncated and not rules.allow_truncated:
        return "the traces are incomplete: " + "; ".join(breakdown.notes or ("the store left some out",))
    return None


@dataclass(frozen=True)
class _Assessor:
    """Create the checks of one assessment.

    :param unknown_reason: why every verdict is UNKNOWN; None if the breakdown can be assessed
    """

    breakdown: LatencyBreakdown
    rules: LatencyRules
    service: str
    version: str | None
    unknown_reason: str | None
    interval: tuple[datetime | None, datetime | None]
    evidence: Mapping[str, Any]

    def check(
        self, name: str, verdict: Verdict, message: str, *, evidence: Mapping[str, Any] | None = None, **numbers: Any
    ) -> CheckResult:
        return CheckResult(
            kind=KIND, name=f"{self.service}/{name}", verdict=verdict, message=message, model_version=self.version,
            interval_start=self.interval[0], interval_end=self.interval[1], unit="seconds" if numbers else None,
            evidence={**self.evidence, **(evidence or {})}, **numbers,
        )  # fmt: skip

    def check_span(self, span: str, tiers: Mapping[str, float]) -> Iterator[CheckResult]:
        # Spans of one name in several services have one row each: each is compared with the budget, the worst verdict counts.
        rows = [row for row in self.breakdown.rows if row.span == span and row.model_version == self.version]
        if not rows and self.rules.budgets is None:
            return
        for tier, budget in tiers.items():
            if not rows:
                message = f"{span}: there are no such spans of version {self.version}; there are {_span_names(self.breakdown)}"
                message += f"; and {self.unknown_reason}" if self.unknown_reason is not None else ""
                yield self.check(f"{span}/{tier}", Verdict.UNKNOWN, message, target=budget, op="lte")
            for row in rows:
                yield self.check_row(row, tier, budget, span if len(rows) == 1 else f"{span}/{row.service}")

    def check_row(self, row: SpanStats, tier: str, budget: float, name: str) -> CheckResult:
        value: float = getattr(row, tier)
        message = (
            f"{name} {tier} is {value * 1000:.4g} ms, budget {budget * 1000:.4g} ms ({row.count} spans of {row.model_version})"
        )
        if self.unknown_reason is not None:
            verdict, message = Verdict.UNKNOWN, f"{message}; but {self.unknown_reason}"
        elif row.count < self.rules.fewest:
            verdict, message = Verdict.UNKNOWN, f"{message}: {row.count} spans are too few, {self.rules.fewest} are needed"
        elif value > budget:
            verdict = Verdict.FAIL
        else:
            verdict = Verdict.WARN if value >= self.rules.warn_at * budget else Verdict.PASS
        samples = self.breakdown.samples[RowKey(row.span, row.service, row.model_version)]
        within = None if samples.sampled else sum(duration <= budget * SECOND for duration in samples.durations)
        return self.check(
            f"{name}/{tier}", verdict, message, value=value, target=budget, op="lte",
            good=within, total=row.count if within is not None else None,
            evidence={"self_p50": row.self_p50, "critical_share": row.critical_share, "error_rate": row.error_rate},
        )  # fmt: skip

    def check_versions(self, comparison: VersionComparison) -> CheckResult:
        change = comparison.changes[0] if comparison.span is not None else None
        evidence = {name: getattr(comparison, name) for name in ("baseline", "candidate", "slower", "span")}
        evidence["p99_interval"] = [change.p99_low, change.p99_high] if change else None
        verdict, message = Verdict.PASS, comparison.message
        if self.unknown_reason is not None:
            verdict, message = Verdict.UNKNOWN, f"{message}; but {self.unknown_reason}"
        elif comparison.slower == comparison.candidate:
            verdict = Verdict.FAIL if self.rules.slower == "fail" else Verdict.WARN
        return self.check("version", verdict, message, value=change.p99_delta if change else 0.0, evidence=evidence)


def _span_names(breakdown: LatencyBreakdown) -> str:
    return ", ".join(sorted({f"{row.span} ({row.model_version})" for row in breakdown.rows})[:10]) or "none"


def summary(assessment: LatencyAssessment, *, service: str, report: str | None = None) -> dict[str, Any]:
    """Return a small dict of the assessment, for XCom.

    :param assessment: the assessment to summarise
    :param service: name of the service
    :param report: path of the report
    """
    found, comparison = assessment.breakdown, assessment.comparison
    rows = [row for row in found.rows if row.model_version == assessment.version][:20]
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
        "rows": [{name: getattr(row, name) for name in ("span", "count", "p50", "p95", "p99", "critical_share")} for row in rows],
        "slower": comparison.slower if comparison else None,
        "span": comparison.span if comparison else None,
        "comparison": comparison.message if comparison else None,
        "symptoms": [symptom.name for symptom in assessment.symptoms],
        "report": report,
    }
