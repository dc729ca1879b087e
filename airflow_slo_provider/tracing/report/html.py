"""Render a latency assessment as one self-contained HTML file, readable without JavaScript."""

from __future__ import annotations

from airflow_slo_provider.charts.markup import tag
from airflow_slo_provider.charts.report_page import page, section, table
from airflow_slo_provider.tracing.analysis.assessment import LatencyAssessment
from airflow_slo_provider.tracing.report.charts import critical_path_chart, waterfall_chart

#: CSS specific to this report: notes, and charts with a row of text for each bar.
_STYLE = """
td { min-width: 0; }
.notes { background: var(--warn-ground); border-left: 4px solid var(--warn); padding: 0.5em 1em; }
figure { margin: 0; overflow-x: auto; } figcaption { color: var(--quiet); margin: 0.2em 0 0.6em; }
svg.chart { min-width: 40rem; max-width: none; }
"""


def to_html(assessment: LatencyAssessment, title: str) -> str:
    """Render the report of an assessment.

    :param assessment: the assessment to show
    :param title: title of the page, e.g. the service and the interval
    :return: HTML
    """
    found = assessment.breakdown
    parts = [
        tag("p", f"{found.spans} spans of {found.traces} requests{_interval(assessment)}. Resolution: {found.resolution:g} s."),
        _notes_block(assessment),
        section(
            "Where the time goes",
            tag("p", "Time on the critical path per request: parallel spans are not added up."),
            critical_path_chart(found),
            _span_table(assessment),
        ),
        _budget_section(assessment),
        _comparison_section(assessment),
        _symptom_section(assessment),
    ]
    versions = [version for version in found.versions if version in found.slowest]
    if versions:
        drawn = (waterfall_chart(found.slowest[version], version) for version in reversed(versions[-3:]))
        parts.append(section("The slowest request", *drawn))
    verdict = assessment.verdict.value
    return page(title, *(part for part in parts if part), verdict=verdict, subtitle=assessment.why, style=_STYLE)


def _interval(assessment: LatencyAssessment) -> str:
    found = assessment.breakdown
    if found.start is None or found.end is None:
        return ""
    return f", from {found.start:%Y-%m-%d %H:%M:%S} to {found.end:%Y-%m-%d %H:%M:%S} UTC"


def _notes_block(assessment: LatencyAssessment) -> str:
    if not assessment.breakdown.notes:
        return ""
    word = "Incomplete data" if assessment.breakdown.truncated else "Notes"
    notes = tag("ul", *(tag("li", note) for note in assessment.breakdown.notes))
    return tag("div", tag("b", word), notes, class_="notes")


def _span_table(assessment: LatencyAssessment) -> str:
    heads = (
        *("span", "version", "count", "p50 ms", "p95 ms", "p99 ms", "own p50 ms", "own p99 ms"),
        *("critical path", "errors", "cache hits"),
    )
    rows = (
        (
            row.span, row.model_version, row.count, *map(_ms, (row.p50, row.p95, row.p99, row.self_p50, row.self_p99)),
            *map(_share, (row.critical_share, row.error_rate, row.cache_hit_rate)),
        )
        for row in assessment.breakdown.rows[:200]
    )  # fmt: skip
    return table(heads, rows, numbers=range(2, len(heads)))


def _budget_section(assessment: LatencyAssessment) -> str:
    rows = [
        (
            check.name, _ms(check.value), _ms(check.target),
            None if check.good is None or check.total is None else f"{check.good:.0f} of {check.total:.0f}", check.verdict.value,
        )
        for check in assessment.checks
        if check.target is not None
    ]  # fmt: skip
    heads = ("check", "measured ms", "budget ms", "within", "verdict")
    title = f"Budgets of version {assessment.version}"
    return section(title, table(heads, rows, numbers=(1, 2, 3), verdicts=[4])) if rows else ""


def _comparison_section(assessment: LatencyAssessment) -> str:
    comparison = assessment.comparison
    if comparison is None:
        return ""
    rows = (
        (
            change.span, _delta(change.p50_delta), _delta(change.p99_delta),
            f"[{change.p99_low * 1000:.3g}, {change.p99_high * 1000:.3g}] ms", _delta(change.mean_delta),
            f"{change.pvalue:.2g}", change.changed or None,
        )
        for change in comparison.changes
    )  # fmt: skip
    heads = ("span", "p50", "p99", "95 % interval of p99", "mean", "p-value", "changed")
    summary = tag("p", f"{comparison.message}. Own times, without what children take.")
    return section(f"{comparison.candidate} against {comparison.baseline}", summary, table(heads, rows, numbers=range(1, 6)))


def _symptom_section(assessment: LatencyAssessment) -> str:
    rows = [(symptom.name, symptom.cause, symptom.check, symptom.evidence) for symptom in assessment.symptoms]
    return section("Symptoms", table(("symptom", "likely cause", "next check", "evidence"), rows)) if rows else ""


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value * 1000:.3f}"


def _delta(value: float) -> str:
    return f"{value * 1000:+.3g} ms"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"
