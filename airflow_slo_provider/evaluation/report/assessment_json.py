"""Convert an assessment to JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.verdict.assessment import ModelAssessment


def to_dict(assessment: ModelAssessment) -> dict[str, Any]:
    """Return an assessment as values that JSON can hold."""
    plan, slices = assessment.plan, assessment.slices
    return {
        "schema_version": 1,
        "verdict": assessment.verdict.value,
        "why": assessment.why,
        "golden_set": {"content_hash": assessment.content_hash, "rows": assessment.joined.expected},
        "coverage": {
            "share": assessment.joined.coverage,
            "covered": int(assessment.joined.covered.sum()),
            "unpredicted": assessment.joined.unpredicted,
            "missing_ids": list(assessment.joined.missing),
            "unknown_ids": assessment.joined.extra,
        },
        "parts": [asdict(part) for part in assessment.parts],
        "metrics": {name: asdict(estimate) for name, estimate in assessment.estimates.items()},
        "champion_metrics": {name: asdict(estimate) for name, estimate in assessment.champion_estimates.items()},
        "comparisons": {
            name: {**asdict(comparison), "pvalue_holm": assessment.pvalues.get(name)}
            for name, comparison in assessment.comparisons.items()
        },
        "segments": [asdict(segment) for segment in slices.judged or slices.shown] if slices else [],
        "segments_too_small": slices.too_small if slices else 0,
        "unseen_labels": dict(assessment.unseen_labels),
        "thresholds": {name: asdict(threshold) for name, threshold in plan.thresholds.items()},
        "confidence": plan.confidence,
        "decide_on": plan.decide_on,
    }


def to_json(assessment: ModelAssessment) -> str:
    """Return an assessment as JSON text."""
    return json.dumps(to_dict(assessment), indent=2, allow_nan=False, default=str)
