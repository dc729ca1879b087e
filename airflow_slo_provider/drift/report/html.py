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
        (_name(item), item.verdict.value, _psi(item), _ks(item), _nulls(item.nulls), _histogram(item.histogram), _reasons(item))
        for item in report.ranked()
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


def _small_print(text: str) -> Html:
    return tag("span", text, class_="soft")


def _name(column: ColumnDrift) -> Html:
    role = "" if column.role == "feature" else f" · {column.role}"
    return join((tag("span", column.name, class_="name"), tag("br"), _small_print(column.kind + role)))


def _psi(column: ColumnDrift) -> Html | None:
    if (psi := column.psi) is None:
        return None
    floored = f", {psi.floored} cells floored at {psi.floor:g}" if psi.floored else ""
    usual = f"without drift about {psi.bias:.2g}, below {psi.critical:.2g} in {1 - psi.alpha:.0%} of cases"
    value = (f"{psi.value:.4f}", tag("br"), _pvalue(column, "psi", psi.pvalue))
    return tag("span", *value, title=f"{usual}; {psi.bins} bins{floored}")


def _ks(column: ColumnDrift) -> Html | None:
    if (ks := column.ks) is None:
        return None
    distance = f"{ks.statistic:.4f}" if ks.exact else f"{ks.lower:.4f} – {ks.upper:.4f}"
    return join((distance, tag("br"), _pvalue(column, "ks", ks.pvalue)))


def _pvalue(column: ColumnDrift, test: str, raw: float) -> Html:
    return _small_print(f"p {column.adjusted.get(test, raw):.2g}")


def _nulls(rate: Rate | None) -> Html | None:
    return None if rate is None else join((f"{rate.reference:.2%}", tag("br"), f"→ {rate.current:.2%}"))


def _histogram(histogram: SharesHistogram | None) -> Html:
    if histogram is None or not histogram.labels:
        return Html()
    return paired_bars("histograms", histogram.labels, histogram.reference, histogram.current)


def _reasons(column: ColumnDrift) -> Html:
    new = ", ".join(f"{name!r} {share:.1%}" for name, share in column.new_names.items())
    hints = tag("ul", *(tag("li", hint) for hint in column.hints)) if column.hints else ""
    return join((column.message, *((tag("br"), _small_print(f"new: {new}")) if new else ()), hints))
