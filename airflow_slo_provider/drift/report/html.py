"""Write a drift report as one HTML page, without scripts or network requests; all text is escaped."""

from __future__ import annotations

from airflow_slo_provider.charts.bars import paired_bars
from airflow_slo_provider.charts.markup import Html, join, tag
from airflow_slo_provider.charts.report_page import facts, page, table
from airflow_slo_provider.drift.statistics.histograms import SharesHistogram
from airflow_slo_provider.drift.statistics.rates import Rate
from airflow_slo_provider.drift.verdict.results import ColumnDrift, DriftReport

#: Styles that only this report needs: its histograms, and small print.
_STYLE = """
td { min-width: 0; } td.number { white-space: nowrap; } .name { font-weight: 600; overflow-wrap: anywhere; }
.soft { color: var(--quiet); font-size: 12px; } svg { display: block; } ul { margin: 0.2rem 0; padding-left: 1.1rem; }
"""
_LEGEND = (
    "Worst first. Outline: reference; filled: current. PSI in equi-depth bins of the reference; D is the Kolmogorov-Smirnov "
    "statistic, as an interval where it was not computed exactly."
)


def to_html(report: DriftReport) -> str:
    """Return a report as a self-contained HTML page, without scripts or network requests.

    :param report: result of :func:`~airflow_slo_provider.drift.verdict.comparison.compare`
    """
    heads = ("column", "verdict", "PSI", "D", "nulls", "distribution", "why")
    rows = [
        (_name(one), one.verdict.value, _psi(one), _ks(one), _nulls(one.nulls), _drawing(one.histogram), _why(one))
        for one in report.ranked()
    ]
    shown = {
        "reference": f"{report.reference} ({report.reference_rows:,} rows)",
        "current": f"{report.current} ({report.current_rows:,} rows)",
        "false discovery rate": f"{report.alpha:g} (Benjamini-Hochberg over columns and tests)",
        "made": report.created_at.isoformat(timespec="seconds"),
    }
    body = table(heads, rows, numbers=(2, 3, 4), verdicts=[1])
    parts = facts(shown), tag("p", _LEGEND, class_="soft"), body
    return page("Drift report", *parts, verdict=report.verdict.value, subtitle=report.message, style=_STYLE)


def _soft(words: str) -> Html:
    return tag("span", words, class_="soft")


def _name(column: ColumnDrift) -> Html:
    role = "" if column.role == "feature" else f" · {column.role}"
    return join((tag("span", column.name, class_="name"), tag("br"), _soft(column.kind + role)))


def _psi(column: ColumnDrift) -> Html | None:
    if column.psi is None:
        return None
    held = column.psi
    floored = f", {held.floored} cells floored at {held.floor:g}" if held.floored else ""
    usual = f"without drift about {held.bias:.2g}, below {held.critical:.2g} in {1 - held.alpha:.0%} of cases"
    title = f"{usual}; {held.bins} bins{floored}"
    return tag("span", f"{held.value:.4f}", tag("br"), _p(column, "psi", held.pvalue), title=title)


def _ks(column: ColumnDrift) -> Html | None:
    if column.ks is None:
        return None
    held = column.ks
    distance = f"{held.statistic:.4f}" if held.exact else f"{held.lower:.4f} – {held.upper:.4f}"
    return join((distance, tag("br"), _p(column, "ks", held.pvalue)))


def _p(column: ColumnDrift, test: str, raw: float) -> Html:
    return _soft(f"p {column.adjusted.get(test, raw):.2g}")


def _nulls(rate: Rate | None) -> Html | None:
    return None if rate is None else join((f"{rate.reference:.2%}", tag("br"), f"→ {rate.current:.2%}"))


def _drawing(histogram: SharesHistogram | None) -> Html:
    if histogram is None or not histogram.labels:
        return Html()
    return paired_bars("histograms", histogram.labels, histogram.reference, histogram.current)


def _why(column: ColumnDrift) -> Html:
    new = ", ".join(f"{name!r} {share:.1%}" for name, share in column.new_names.items())
    hints = tag("ul", *(tag("li", hint) for hint in column.hints)) if column.hints else ""
    return join((column.message, *((tag("br"), _soft(f"new: {new}")) if new else ()), hints))
