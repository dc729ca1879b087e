"""Draw the charts of the latency report as SVG: critical path by version, and the waterfall of one trace."""

from __future__ import annotations

from airflow_slo_provider.charts.bars import Box, Row, rows
from airflow_slo_provider.charts.markup import tag
from airflow_slo_provider.charts.svg import legend
from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown
from airflow_slo_provider.tracing.analysis.trace_tree import PlacedSpan, Trace

#: Number of CSS classes of boxes, ``box-0`` and so on.
_COLOURS = 8
_MAX_BARS = 60


def critical_path_chart(found: LatencyBreakdown) -> str:
    """Draw one bar per version: mean time on the critical path per request, by span."""
    bars: dict[str | None, list[tuple[str, float]]] = {}
    for row in found.rows:
        requests = max((one.count for one in found.rows if one.top and one.model_version == row.model_version), default=0)
        samples = next(
            one
            for key, one in found.samples.items()
            if (key.span, key.service, key.version) == (row.span, row.service, row.model_version)
        )
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
    kinds = {span: f"box-{min(place, _COLOURS - 1)}" for place, span in enumerate(order)}
    drawn = []
    for version, bar in list(bars.items())[-20:]:
        boxes, left = [], 0.0
        for span, time in sorted(bar, key=lambda item: order.index(item[0])):
            boxes.append(Box(left, time, kinds[span], f"{span}: {time:.3f} ms", span))
            left += time
        drawn.append(Row(str(version), boxes, f"{left:.1f} ms"))
    names = {span: kinds[span] for span in order[:12]}
    return tag("figure", rows("critical path by version", drawn), tag("figcaption", legend(names, boxes=True)))


def waterfall_chart(trace: Trace, version: str | None) -> str:
    """Draw the spans of one trace over time."""
    parts = _drawing_order(trace)
    first = min(placed.start_ns for placed in parts)
    drawn = []
    for placed in parts[:_MAX_BARS]:
        span = placed.span
        kind = "box-bad" if span.error else "box-0" if placed.critical_ns else f"box-{_COLOURS - 1}"
        lasted = f"{span.duration_ns / 1e6:.3f} ms" if span.timed else "no end is known"
        told = f"{span.name} ({span.service}): {lasted}" + (", failed" if span.error else "")
        drawn.append(Row(span.name, [Box(placed.start_ns - first, span.duration_ns, kind, told)], lasted, placed.depth))
    more = f"; {len(parts) - _MAX_BARS} more spans are not shown" if len(parts) > _MAX_BARS else ""
    identity = tag("code", trace.spans[0].span.trace_id)
    caption = tag("figcaption", f"version {version}, trace ", identity, "; blue: on the critical path, red: failed", more)
    return tag("figure", rows("waterfall of the slowest trace", drawn), caption)


def _drawing_order(trace: Trace) -> list[PlacedSpan]:
    """Return spans in drawing order: parents before children, children by start."""
    present = {placed.span.span_id for placed in trace.spans}
    below: dict[str | None, list[PlacedSpan]] = {}
    for placed in trace.spans:
        parent = placed.span.parent_id if not placed.top and placed.span.parent_id in present else None
        below.setdefault(parent, []).append(placed)
    for parts in below.values():
        parts.sort(key=lambda placed: (placed.depth, placed.start_ns))
    ordered: list[PlacedSpan] = []
    waiting = below.get(None, [])[::-1]
    while waiting:
        placed = waiting.pop()
        ordered.append(placed)
        waiting += below.get(placed.span.span_id, [])[::-1]
    return ordered
