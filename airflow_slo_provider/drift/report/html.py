"""The report as one HTML page: no script, no network, every text escaped."""

from __future__ import annotations

from html import escape

from airflow_slo_provider.charts.report_page import badge, page
from airflow_slo_provider.charts.report_page import facts as shown
from airflow_slo_provider.drift.statistics.histograms import Histogram
from airflow_slo_provider.drift.statistics.rates import Rate
from airflow_slo_provider.drift.verdict.results import ColumnDrift, DriftReport

#: What only this report has: its histograms, and small print.
_STYLE = """
td { min-width: 0; } td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.name { font-weight: 600; overflow-wrap: anywhere; } .soft { color: var(--quiet); font-size: 12px; } svg { display: block; }
ul { margin: 0.2rem 0; padding-left: 1.1rem; }
"""


def to_html(report: DriftReport) -> str:
    """Write a report as a page that needs nothing else: no script, no network.

    :param report: what :func:`~airflow_slo_provider.drift.verdict.comparison.compare` returned
    """
    rows = "\n".join(_row(column) for column in report.ranked())
    facts = {
        "reference": f"{report.reference} ({report.reference_rows:,} rows)",
        "current": f"{report.current} ({report.current_rows:,} rows)",
        "false discovery rate": f"{report.alpha:g} (Benjamini-Hochberg over columns and tests)",
        "made": report.created_at.isoformat(timespec="seconds"),
    }
    return page(
        "Drift report",
        shown(facts),
        """<p class="soft">Worst first. Outline: reference; filled: current. PSI in equi-depth bins of the reference; D is the
Kolmogorov-Smirnov statistic, as an interval where it was not computed exactly.</p>
<div class="scroll" tabindex="0"><table><thead><tr><th>column</th><th>verdict</th><th>PSI</th><th>D</th><th>nulls</th>
<th>distribution</th><th>why</th></tr></thead><tbody>""",
        rows,
        "</tbody></table></div>",
        verdict=report.verdict.value,
        subtitle=report.message,
        style=_STYLE,
    )


def _row(column: ColumnDrift) -> str:
    role = "" if column.role == "feature" else f" · {column.role}"
    return (
        f'<tr><td><span class="name">{escape(column.name)}</span><br><span class="soft">{escape(column.kind + role)}</span></td>'
        f"<td>{badge(column.verdict.value)}</td>{_psi(column)}{_ks(column)}{_nulls(column.nulls)}"
        f"<td>{_drawing(column.histogram)}</td><td>{_why(column)}</td></tr>"
    )


def _psi(column: ColumnDrift) -> str:
    if column.psi is None:
        return '<td class="n">–</td>'
    held = column.psi
    floored = f", {held.floored} cells floored at {held.floor:g}" if held.floored else ""
    usual = f"without drift about {held.bias:.2g}, below {held.critical:.2g} in {1 - held.alpha:.0%} of cases"
    note = escape(f"{usual}; {held.bins} bins{floored}")
    p = _adjusted(column, "psi", held.pvalue)
    return f'<td class="n" title="{note}">{held.value:.4f}<br><span class="soft">p {p}</span></td>'


def _ks(column: ColumnDrift) -> str:
    if column.ks is None:
        return '<td class="n">–</td>'
    held = column.ks
    text = f"{held.statistic:.4f}" if held.exact else f"{held.lower:.4f} – {held.upper:.4f}"
    return f'<td class="n">{text}<br><span class="soft">p {_adjusted(column, "ks", held.pvalue)}</span></td>'


def _adjusted(column: ColumnDrift, test: str, raw: float) -> str:
    return f"{column.adjusted.get(test, raw):.2g}"


def _nulls(rate: Rate | None) -> str:
    return '<td class="n">–</td>' if rate is None else f'<td class="n">{rate.reference:.2%}<br>→ {rate.current:.2%}</td>'


def _drawing(histogram: Histogram | None, width: int = 240, height: int = 56) -> str:
    if histogram is None or not histogram.labels:
        return ""
    top = max(*histogram.reference, *histogram.current) or 1.0
    step = width / len(histogram.labels)
    bars = []
    for i, label in enumerate(histogram.labels):
        before, after = (side[i] / top * (height - 2) for side in (histogram.reference, histogram.current))
        said = escape(f"{label}: {histogram.reference[i]:.2%} → {histogram.current[i]:.2%}")
        outline = 'fill="none" stroke="currentColor" stroke-opacity=".8"'
        place = f'x="{i * step + 0.5:.1f}" width="{max(step - 1, 1):.1f}"'
        bars.append(
            f"<g><title>{said}</title>"
            f'<rect {place} y="{height - after:.1f}" height="{after:.1f}" fill="#1976d2aa"/>'
            f'<rect {place} y="{height - before:.1f}" height="{before:.1f}" {outline}/></g>'
        )
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg {size} role="img" aria-label="histograms">{"".join(bars)}</svg>'


def _why(column: ColumnDrift) -> str:
    parts = [escape(column.message)]
    if column.new_names:
        names = ", ".join(f"{name!r} {share:.1%}" for name, share in column.new_names.items())
        parts.append(f'<span class="soft">new: {escape(names)}</span>')
    if column.hints:
        parts.append("<ul>" + "".join(f"<li>{escape(hint)}</li>" for hint in column.hints) + "</ul>")
    return "<br>".join(parts[:2]) + "".join(parts[2:])
