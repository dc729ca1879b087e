"""The report of an assessment: one HTML file that needs nothing else, readable without a script."""

from __future__ import annotations

from html import escape
from typing import Any

from airflow_slo_provider.charts.report_page import badge, page
from airflow_slo_provider.tracing.analysis.assessment import Assessment
from airflow_slo_provider.tracing.report.charts import stacked, waterfall

#: What only this report has: columns of numbers, its pictures.
_STYLE = """
th, td { text-align: right; font-variant-numeric: tabular-nums; min-width: 0; }
th:first-child, td:first-child, .text { text-align: left; }
.notes { background: var(--warn-ground); border-left: 4px solid var(--warn); padding: 0.5em 1em; }
figure { margin: 0; overflow-x: auto; } figcaption { color: var(--quiet); margin: 0.2em 0 0.6em; }
svg text { font: 12px system-ui, sans-serif; fill: var(--text); } svg text.in { fill: #111; }
"""


def to_html(assessment: Assessment, title: str) -> str:
    """Return the report.

    :param title: e.g. the service and the interval
    """
    found = assessment.breakdown
    parts = [
        f"<p>{found.spans} spans of {found.traces} requests{_between(assessment)}. Resolution: {found.resolution:g} s.</p>",
        _notes(assessment),
        "<h2>Where the time goes</h2>",
        "<p>Time on the critical path per request: spans that run side by side are not added up.</p>",
        stacked(found),
        _table(assessment),
        _budgets(assessment),
        _comparison(assessment),
        _symptoms(assessment),
    ]
    versions = [version for version in found.versions if version in found.slowest]
    if versions:
        parts.append("<h2>The slowest request</h2>")
        parts += [waterfall(found.slowest[version], version) for version in reversed(versions[-3:])]
    verdict = assessment.verdict.value
    return page(title, *(part for part in parts if part), verdict=verdict, subtitle=assessment.why, style=_STYLE)


def _between(assessment: Assessment) -> str:
    found = assessment.breakdown
    if found.start is None or found.end is None:
        return ""
    return f", from {found.start:%Y-%m-%d %H:%M:%S} to {found.end:%Y-%m-%d %H:%M:%S} UTC"


def _notes(assessment: Assessment) -> str:
    if not assessment.breakdown.notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in assessment.breakdown.notes)
    word = "Something is missing" if assessment.breakdown.truncated else "To know"
    return f'<div class="notes"><b>{word}</b><ul>{items}</ul></div>'


def _table(assessment: Assessment) -> str:
    head = _row(
        (
            "span",
            "version",
            "count",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "own p50 ms",
            "own p99 ms",
            "critical path",
            "errors",
            "cache hits",
        ),
        "th",
    )
    rows = [
        _row(
            (
                row.span, row.model_version or "-", str(row.count), _ms(row.p50), _ms(row.p95), _ms(row.p99), _ms(row.self_p50),
                _ms(row.self_p99), _share(row.critical_share), _share(row.error_rate), _share(row.cache_hit_rate),
            )
        )
        for row in assessment.breakdown.rows[:200]
    ]  # fmt: skip
    return f"<table>{head}{''.join(rows)}</table>"


def _budgets(assessment: Assessment) -> str:
    tiers = [check for check in assessment.checks if check.target is not None]
    if not tiers:
        return ""
    head = _row(("check", "measured ms", "budget ms", "within", "verdict"), "th")
    rows = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in (
            escape(check.name), _ms(check.value), _ms(check.target),
            f"{check.good:.0f} of {check.total:.0f}" if check.good is not None and check.total is not None else "-",
            badge(check.verdict.value),
        )) + "</tr>"
        for check in tiers
    )  # fmt: skip
    return f"<h2>Budgets of version {escape(str(assessment.version))}</h2><table>{head}{rows}</table>"


def _comparison(assessment: Assessment) -> str:
    compared = assessment.comparison
    if compared is None:
        return ""
    head = _row(("span", "p50", "p99", "95 % interval of p99", "mean", "p-value", "changed"), "th")
    rows = "".join(
        _row(
            (
                change.span, _delta(change.p50_delta), _delta(change.p99_delta),
                f"[{change.p99_low * 1000:.3g}, {change.p99_high * 1000:.3g}] ms", _delta(change.mean_delta),
                f"{change.pvalue:.2g}", change.changed or "-",
            )
        )
        for change in compared.changes
    )  # fmt: skip
    title = f"<h2>{escape(compared.candidate)} against {escape(compared.baseline)}</h2>"
    return f"{title}<p>{escape(compared.message)}. Own times, without what children take.</p><table>{head}{rows}</table>"


def _symptoms(assessment: Assessment) -> str:
    if not assessment.symptoms:
        return ""
    names = ("symptom", "likely cause", "look at", "seen")
    head = "<tr>" + "".join(f'<th class="text">{name}</th>' for name in names) + "</tr>"
    rows = "".join(
        "<tr>"
        + "".join(f'<td class="text">{escape(text)}</td>' for text in (one.name, one.cause, one.check, one.evidence))
        + "</tr>"
        for one in assessment.symptoms
    )
    return f"<h2>What it looks like</h2><table>{head}{rows}</table>"


def _row(cells: tuple[Any, ...], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.3f}"


def _delta(value: float) -> str:
    return f"{value * 1000:+.3g} ms"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
