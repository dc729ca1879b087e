"""Write an assessment as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.charts.markup import Html, join, tag
from airflow_slo_provider.charts.report_page import page, section, table
from airflow_slo_provider.evaluation.report.plots import draw_plots

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.verdict.assessment import ModelAssessment
    from airflow_slo_provider.evaluation.verdict.segments import SegmentResults

#: Styles that only this report needs: its plots.
_STYLE = """
figure { display: inline-block; vertical-align: top; margin: 0.5rem 1rem 0.5rem 0; max-width: 100%; }
figcaption { font-weight: 600; }
svg.plot { max-width: 100%; height: auto; } svg.chart { width: 45rem; max-width: 100%; } code { overflow-wrap: anywhere; }
"""


def to_html(assessment: ModelAssessment, title: str) -> str:
    """Return the HTML page of an assessment.

    :param assessment: result of :func:`~airflow_slo_provider.evaluation.verdict.assessment.assess`
    :param title: e.g. the golden set and the model's version
    """
    joined = assessment.joined
    facts: list[object] = [
        join((f"{joined.expected} rows, content ", tag("code", assessment.content_hash[:16]))),
        f"coverage {joined.coverage:.4%}",
        f"{assessment.plan.confidence:.4g} intervals; decided on the {assessment.plan.decide_on}",
    ]
    if joined.extra:
        facts.append(f"{joined.extra} predictions for ids that are not in the golden set")
    judged = [(part.name, part.verdict.value, part.why) for part in assessment.parts]
    sections = [
        tag("p", join(facts, " · ")),
        section("Verdicts", table(("", "verdict", "reason"), judged, verdicts=[1])),
        section("Metrics", _metrics(assessment)),
        *([section("Segments", _segments(assessment.slices))] if assessment.slices is not None else []),
        section("Plots", "".join(draw_plots(assessment)) or tag("p", "None for these metrics.")),
    ]
    return page(title, *sections, verdict=assessment.verdict.value, style=_STYLE)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def _metrics(assessment: ModelAssessment) -> Html:
    rows = []
    for name, estimate in assessment.estimates.items():
        champion, threshold = assessment.champion_estimates.get(name), assessment.plan.thresholds.get(name)
        interval = f"{_number(estimate.low) or '–'} … {_number(estimate.high) or '–'}"
        limit = "" if threshold is None else f"{'≥' if estimate.higher_is_better else '≤'} {threshold.fail:g}"
        method = "; ".join(filter(None, (estimate.method, estimate.reason)))
        champion_value = "" if champion is None else _number(champion.value)
        rows.append((name, _number(estimate.value), interval, limit, champion_value, estimate.n, method))
    return table(("metric", "value", "interval", "threshold", "champion", "n", "method"), rows, numbers=range(1, 6))


def _segments(slices: SegmentResults) -> Html:
    rows = []
    for segment in slices.judged or slices.shown:
        comparison, verdict = segment.comparison, segment.verdict.value if segment.comparison else ""
        delta = "" if comparison is None or comparison.delta is None else f"{comparison.delta:+.4g}"
        value = _number(segment.estimate.value)
        rows.append((segment.name, segment.metric, segment.rows, value, delta, verdict, segment.why))
    heads = ("segment", "metric", "rows", "value", "against champion", "verdict", "reason")
    small = tag("p", f"{slices.too_small} segments are too small to be judged.") if slices.too_small else ""
    return join((table(heads, rows, numbers=(2, 3, 4), verdicts=[5]), small))
