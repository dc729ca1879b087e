"""The report a person reads: one HTML page with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from airflow_slo_provider.charts.report_page import badge, page
from airflow_slo_provider.evaluation.report.plots import plots

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.verdict.assessment import Assessment

#: What only this report has: its plots.
_STYLE = """
figure { display: inline-block; margin: 0.5rem 1rem 0.5rem 0; } figcaption { font-weight: 600; }
svg { max-width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--quiet); } .grid { stroke: var(--line); }
.mark { stroke: var(--bad); stroke-dasharray: 3 3; } code { overflow-wrap: anywhere; }
"""


def to_html(assessment: Assessment, title: str) -> str:
    """Return the page.

    :param title: e.g. the golden set and the model's version
    """
    joined = assessment.joined
    facts = [
        f"{joined.expected} rows, content <code>{escape(assessment.content_hash[:16])}</code>",
        f"coverage {joined.coverage:.4%}",
        f"{assessment.plan.confidence:.4g} intervals; decided on the {escape(assessment.plan.decide_on)}",
    ]
    if joined.extra:
        facts.append(f"{joined.extra} predictions for ids the golden set does not have")
    sections = [
        f"<p>{' · '.join(facts)}</p>",
        "<h2>What was judged</h2>",
        _table(
            ("", "verdict", "why"),
            [(escape(part.name), badge(part.verdict.value), escape(part.why)) for part in assessment.parts],
        ),
        "<h2>Metrics</h2>",
        _metrics(assessment),
        *(["<h2>Segments</h2>", _segments(assessment)] if assessment.slices is not None else []),
        "<h2>Plots</h2>",
        "".join(plots(assessment)) or "<p>None for these metrics.</p>",
    ]
    return page(title, *sections, verdict=assessment.verdict.value, style=_STYLE)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _metrics(assessment: Assessment) -> str:
    rows = []
    for name, one in assessment.estimates.items():
        champion = assessment.champion_estimates.get(name)
        threshold = assessment.plan.thresholds.get(name)
        sign = "≥" if one.higher_is_better else "≤"
        rows.append(
            (
                escape(name),
                _number(one.value),
                f"{_number(one.low)} … {_number(one.high)}",
                "" if threshold is None else f"{sign} {threshold.fail:g}",
                "" if champion is None else _number(champion.value),
                str(one.n),
                escape("; ".join(part for part in (one.method, one.reason) if part)),
            )
        )
    return _table(("metric", "value", "interval", "threshold", "champion", "n", "how"), rows)


def _segments(assessment: Assessment) -> str:
    slices = assessment.slices
    if slices is None:
        return ""
    rows = [
        (
            escape(one.name),
            escape(one.metric),
            str(one.rows),
            _number(one.estimate.value),
            "" if one.comparison is None or one.comparison.delta is None else f"{one.comparison.delta:+.4g}",
            badge(one.verdict.value) if one.comparison is not None else "",
            escape(one.why),
        )
        for one in slices.judged or slices.shown
    ]
    small = f"<p>{slices.too_small} segments are too small to be judged.</p>" if slices.too_small else ""
    return _table(("segment", "metric", "rows", "value", "against champion", "verdict", "why"), rows) + small
