"""Convert an assessment to ledger records: one for the whole, one for each judged part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.evaluation.verdict.outcomes import ModelVerdict
from airflow_slo_provider.results import CheckResult, Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.intervals.estimates import Estimate
    from airflow_slo_provider.evaluation.verdict.assessment import AssessmentPart, ModelAssessment
    from airflow_slo_provider.evaluation.verdict.comparison import Comparison

KIND = "golden_set"
#: Fields of an estimate and of a comparison in the evidence.
_ESTIMATE = ("value", "low", "high", "n", "method", "confidence", "status", "excluded")
_COMPARISON = ("champion", "candidate", "low", "high", "pvalue", "n", "method", "margin")


def to_verdict(outcome: ModelVerdict) -> Verdict:
    """Return the ledger's verdict for an outcome: ``inconclusive`` becomes ``unknown``, never a pass."""
    return Verdict.UNKNOWN if outcome is ModelVerdict.INCONCLUSIVE else Verdict(outcome.value)


def to_check_results(
    assessment: ModelAssessment,
    name: str,
    *,
    model_version: str | None = None,
    evidence: Mapping[str, Any] | None = None,
    interval: tuple[datetime | None, datetime | None] = (None, None),
    at: datetime | None = None,
) -> list[CheckResult]:
    """Return the ledger records of an assessment.

    :param name: name of the overall record; each part is ``name/part``
    :param model_version: version of the candidate
    :param evidence: added to the evidence of the overall record, e.g. the report's URI
    :param interval: the data interval of the run
    """
    shared: dict[str, Any] = {
        "kind": KIND, "model_version": model_version, "checked_at": at or datetime.now(UTC), "interval_start": interval[0],
        "interval_end": interval[1],
    }  # fmt: skip
    overall_evidence = {
        "outcome": assessment.verdict.value,
        "golden_set_hash": assessment.content_hash,
        "rows": assessment.joined.expected,
        "coverage": assessment.joined.coverage,
        "metrics": {metric: _pick(estimate, _ESTIMATE) for metric, estimate in assessment.estimates.items()},
        **(evidence or {}),
    }
    verdict = to_verdict(assessment.verdict)
    overall = CheckResult(name=name, verdict=verdict, message=assessment.why, evidence=overall_evidence, **shared)
    return [overall, *(_check(assessment, part, f"{name}/{part.name}", shared) for part in assessment.parts)]


def _check(assessment: ModelAssessment, part: AssessmentPart, name: str, shared: Mapping[str, Any]) -> CheckResult:
    fields: dict[str, Any] = {}
    evidence = {"outcome": part.verdict.value}
    joined, metric = assessment.joined, part.metric or ""
    if part.name == "coverage":
        fields = {
            "value": joined.coverage, "unit": "ratio", "good": int(joined.covered.sum()), "total": joined.expected,
            "target": assessment.plan.min_coverage, "op": "gte",
        }  # fmt: skip
    elif metric in assessment.comparisons and part.name.endswith(" vs champion"):
        comparison = assessment.comparisons[metric]
        sign = 1 if comparison.higher_is_better else -1
        fields = {"value": comparison.delta, "target": -sign * comparison.margin, "op": "gte" if sign > 0 else "lte"}
        evidence |= _pick(comparison, _COMPARISON)
    elif metric in assessment.estimates and part.name == metric:
        estimate, threshold = assessment.estimates[metric], assessment.plan.thresholds.get(metric)
        target = None if threshold is None else threshold.fail
        fields = {"value": estimate.value, "target": target, "op": "gte" if estimate.higher_is_better else "lte"}
        evidence |= _pick(estimate, _ESTIMATE)
    if fields and fields["value"] is not None and not math.isfinite(fields["value"]):
        fields["value"] = None
    verdict = to_verdict(part.verdict)
    return CheckResult(name=name, verdict=verdict, message=part.why, evidence=evidence, **shared, **fields)


def _pick(record: Estimate | Comparison, fields: Sequence[str]) -> dict[str, Any]:
    return {field: getattr(record, field) for field in fields}


def summarise(assessment: ModelAssessment, *, model_version: str | None = None, report_uri: str | None = None) -> dict[str, Any]:
    """Return a summary small enough for XCom: the verdict, the metrics with their intervals, the report's location."""
    return {
        "schema_version": 1,
        "verdict": assessment.verdict.value,
        "why": assessment.why,
        "model_version": model_version,
        "golden_set_hash": assessment.content_hash,
        "rows": assessment.joined.expected,
        "coverage": assessment.joined.coverage,
        "metrics": {name: _pick(estimate, _ESTIMATE[:4]) for name, estimate in assessment.estimates.items()},
        "comparisons": {
            name: {**_pick(comparison, ("delta", "low", "high")), "verdict": comparison.verdict.value}
            for name, comparison in assessment.comparisons.items()
        },
        "report": report_uri,
    }
