"""The report a person reads: one HTML page with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from airflow_slo_provider.evaluation.plots import plots

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.assessing import Assessment

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1000px;padding:0 1rem;color:#1f2328;background:#fff}
h1{font-size:1.4rem} h2{font-size:1.1rem;margin-top:2rem} table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #d8dee4;padding:.3rem .5rem;text-align:left;vertical-align:top}
.verdict{padding:.1rem .5rem;border-radius:.3rem;font-weight:600;color:#fff}
.pass{background:#1a7f37}.warn{background:#9a6700}.fail{background:#cf222e}.inconclusive{background:#6639ba}.unknown{background:#57606a}
figure{display:inline-block;margin:.5rem 1rem .5rem 0} figcaption{font-weight:600} svg{max-width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:#57606a} .grid{stroke:#eaeef2} .mark{stroke:#cf222e;stroke-dasharray:3 3}
code{overflow-wrap:anywhere}
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
        f"<h1>{escape(title)} {_badge(assessment.verdict.value)}</h1>",
        f"<p>{' · '.join(facts)}</p>",
        "<h2>What was judged</h2>",
        _table(
            ("", "verdict", "why"),
            [(escape(part.name), _badge(part.verdict.value), escape(part.why)) for part in assessment.parts],
        ),
        "<h2>Metrics</h2>",
        _metrics(assessment),
        *(["<h2>Segments</h2>", _segments(assessment)] if assessment.slices is not None else []),
        "<h2>Plots</h2>",
        "".join(plots(assessment)) or "<p>None for these metrics.</p>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{"".join(sections)}</body></html>\n'


def _badge(verdict: str) -> str:
    return f'<span class="verdict {escape(verdict)}">{escape(verdict)}</span>'


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
            _badge(one.verdict.value) if one.comparison is not None else "",
            escape(one.why),
        )
        for one in slices.judged or slices.shown
    ]
    small = f"<p>{slices.too_small} segments are too small to be judged.</p>" if slices.too_small else ""
    return _table(("segment", "metric", "rows", "value", "against champion", "verdict", "why"), rows) + small
