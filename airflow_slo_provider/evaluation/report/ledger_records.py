"""Convert an assessment to ledger records: one for the whole, one for each judged part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.evaluation.verdict.outcomes import Outcome
from airflow_slo_provider.results import CheckResult, Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.intervals.estimates import Estimate
    from airflow_slo_provider.evaluation.verdict.assessment import AssessmentPart, ModelAssessment
    from airflow_slo_provider.evaluation.verdict.comparison import Comparison

KIND = "golden_set"


def to_verdict(outcome: Outcome) -> Verdict:
    """Return the ledger's verdict for an outcome: ``inconclusive`` becomes ``unknown``, never a pass."""
    return Verdict.UNKNOWN if outcome is Outcome.INCONCLUSIVE else Verdict(outcome.value)


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
        "kind": KIND,
        "model_version": model_version,
        "checked_at": at or datetime.now(UTC),
        "interval_start": interval[0],
        "interval_end": interval[1],
    }
    joined = assessment.joined
    whole = CheckResult(
        name=name,
        verdict=to_verdict(assessment.verdict),
        message=assessment.why,
        evidence={
            "outcome": assessment.verdict.value,
            "golden_set_hash": assessment.content_hash,
            "rows": joined.expected,
            "coverage": joined.coverage,
            "metrics": {one: _numbers(estimate) for one, estimate in assessment.estimates.items()},
            **(evidence or {}),
        },
        **shared,
    )
    return [whole, *(_check(assessment, part, f"{name}/{part.name}", shared) for part in assessment.parts)]


def _check(assessment: ModelAssessment, part: AssessmentPart, name: str, shared: Mapping[str, Any]) -> CheckResult:
    fields: dict[str, Any] = {"evidence": {"outcome": part.verdict.value}}
    joined = assessment.joined
    if part.name == "coverage":
        covered = int(joined.covered.sum())
        fields |= {
            "value": joined.coverage, "unit": "ratio", "good": covered, "total": joined.expected,
            "target": assessment.plan.min_coverage, "op": "gte",
        }  # fmt: skip
    elif part.metric is not None and part.metric in assessment.comparisons and part.name.endswith(" vs champion"):
        compared = assessment.comparisons[part.metric]
        sign = 1 if compared.higher_is_better else -1
        fields |= {
            "value": _finite(compared.delta), "target": -sign * compared.margin, "op": "gte" if sign > 0 else "lte",
            "evidence": {"outcome": part.verdict.value, **_compared(compared)},
        }  # fmt: skip
    elif part.metric is not None and part.metric in assessment.estimates and part.name == part.metric:
        estimate, threshold = assessment.estimates[part.metric], assessment.plan.thresholds.get(part.metric)
        fields |= {
            "value": _finite(estimate.value), "target": None if threshold is None else threshold.fail,
            "op": "gte" if estimate.higher_is_better else "lte",
            "evidence": {"outcome": part.verdict.value, **_numbers(estimate)},
        }  # fmt: skip
    return CheckResult(name=name, verdict=to_verdict(part.verdict), message=part.why, **{**shared, **fields})


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n, "method": estimate.method,
        "confidence": estimate.confidence, "status": estimate.status, "excluded": estimate.excluded,
    }  # fmt: skip


def _compared(compared: Comparison) -> dict[str, Any]:
    return {
        "champion": compared.champion, "candidate": compared.candidate, "low": compared.low, "high": compared.high,
        "pvalue": compared.pvalue, "n": compared.n, "method": compared.method, "margin": compared.margin,
    }  # fmt: skip


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
        "metrics": {
            name: {"value": one.value, "low": one.low, "high": one.high, "n": one.n} for name, one in assessment.estimates.items()
        },
        "comparisons": {
            name: {"delta": one.delta, "low": one.low, "high": one.high, "verdict": one.verdict.value}
            for name, one in assessment.comparisons.items()
        },
        "report": report_uri,
    }
