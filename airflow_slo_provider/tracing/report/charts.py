"""Draw the charts of the latency report as SVG: critical path by version, and the waterfall of one trace."""

from __future__ import annotations

from airflow_slo_provider.charts.bars import Box, BoxRow, box_rows
from airflow_slo_provider.charts.markup import tag
from airflow_slo_provider.charts.svg import legend
from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown
from airflow_slo_provider.tracing.analysis.collector import RowKey
from airflow_slo_provider.tracing.analysis.trace_tree import Trace

#: Number of CSS classes of boxes, ``box-0`` and so on.
_COLOURS = 8
_MAX_BARS = 60


def critical_path_chart(found: LatencyBreakdown) -> str:
    """Draw one bar per version: mean time on the critical path per request, by span."""
    bars: dict[str | None, list[tuple[str, float]]] = {}
    for row in found.rows:
        requests = max((top.count for top in found.rows if top.top and top.model_version == row.model_version), default=0)
        samples = found.samples[RowKey(row.span, row.service, row.model_version)]
        if requests and samples.critical_ns:
            bars.setdefault(row.model_version, []).append((row.span, samples.critical_ns / requests / 1e6))
    # Every bar shows spans in the same order and colours.
    totals: dict[str, float] = {}
    for bar in bars.values():
        for span, time in bar:
            totals[span] = totals.get(span, 0.0) + time
    if not any(totals.values()):
        return ""
    order = sorted(totals, key=lambda span: -totals[span])
    kinds = {span: f"box-{min(index, _COLOURS - 1)}" for index, span in enumerate(order)}
    drawn = []
    for version, bar in list(bars.items())[-20:]:
        boxes, left = [], 0.0
        for span, time in sorted(bar, key=lambda item: order.index(item[0])):
            boxes.append(Box(left, time, kinds[span], f"{span}: {time:.3f} ms", span))
            left += time
        drawn.append(BoxRow(str(version), boxes, f"{left:.1f} ms"))
    names = {span: kinds[span] for span in order[:12]}
    return tag("figure", box_rows("critical path by version", drawn), tag("figcaption", legend(names, boxes=True)))


def waterfall_chart(trace: Trace, version: str | None) -> str:
    """Draw the spans of one trace over time."""
    first = min(placed.start_ns for placed in trace.spans)
    drawn = []
    for placed in trace.spans[:_MAX_BARS]:
        span = placed.span
        kind = "box-bad" if span.error else "box-0" if placed.critical_ns else f"box-{_COLOURS - 1}"
        duration = f"{span.duration_ns / 1e6:.3f} ms" if span.timed else "duration unknown"
        title = f"{span.name} ({span.service}): {duration}" + (", failed" if span.error else "")
        drawn.append(BoxRow(span.name, [Box(placed.start_ns - first, span.duration_ns, kind, title)], duration, placed.depth))
    hidden = len(trace.spans) - _MAX_BARS
    more = f"; {hidden} more spans are not shown" if hidden > 0 else ""
    trace_id = tag("code", trace.spans[0].span.trace_id)
    caption = tag("figcaption", f"version {version}, trace ", trace_id, "; blue: on the critical path, red: failed", more)
    return tag("figure", box_rows("waterfall of the slowest trace", drawn), caption)
