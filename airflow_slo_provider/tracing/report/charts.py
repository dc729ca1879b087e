"""The report's two pictures, as SVG: the stacked critical path of each version, and the waterfall of one trace."""

from __future__ import annotations

from html import escape

from airflow_slo_provider.tracing.analysis.breakdown import LatencyBreakdown
from airflow_slo_provider.tracing.analysis.trace_tree import Part, Trace

_WIDTH, _LEFT, _BAR = 980, 190, 26
#: Colours that differ for colour-blind eyes too (Okabe and Ito), and hold dark text.
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#7ea6e0", "#b3b3b3")
_MOST_BARS = 60


def stacked(found: LatencyBreakdown) -> str:
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
    longest = max((sum(time for _, time in bar) for bar in bars.values()), default=0.0)
    if not longest:
        return ""
    # The same order of spans in every bar, and the same colour.
    totals: dict[str, float] = {}
    for bar in bars.values():
        for span, time in bar:
            totals[span] = totals.get(span, 0.0) + time
    order = sorted(totals, key=lambda span: -totals[span])
    colour = {span: _COLOURS[min(place, len(_COLOURS) - 1)] for place, span in enumerate(order)}
    scale = (_WIDTH - _LEFT - 90) / longest
    shapes, top = [], 4
    for version, bar in list(bars.items())[-20:]:
        left = float(_LEFT)
        shapes.append(f'<text x="{_LEFT - 8}" y="{top + 18}" text-anchor="end">{escape(_short(str(version), 24))}</text>')
        for span, time in sorted(bar, key=lambda item: order.index(item[0])):
            shapes.append(_box(left, top, time * scale, colour[span], span, f"{span}: {time:.3f} ms"))
            left += time * scale
        shapes.append(f'<text x="{left + 6:.1f}" y="{top + 18}">{sum(time for _, time in bar):.1f} ms</text>')
        top += _BAR + 8
    legend = " ".join(
        f'<span style="white-space:nowrap"><svg width="12" height="12"><rect width="12" height="12" fill="{colour[span]}"/></svg>'
        f" {escape(span)}</span>&ensp;"
        for span in order[:12]
    )
    return f"<figure>{_svg(top, shapes, 'critical path by version')}<figcaption>{legend}</figcaption></figure>"


def waterfall(trace: Trace, version: str | None) -> str:
    """Draw the spans of one trace over time, the critical path dark below them."""
    parts = _in_order(trace)[:_MOST_BARS]
    first = min(part.start_ns for part in trace.parts)
    last = max(part.start_ns + part.span.duration_ns for part in trace.parts)
    scale = (_WIDTH - _LEFT - 90) / max(1, last - first)
    shapes, top = [], 4
    for part in parts:
        span = part.span
        left = _LEFT + (part.start_ns - first) * scale
        width = max(1.5, span.duration_ns * scale)
        fill = "#e8827c" if span.error else _COLOURS[0] if part.critical_ns else "#b3b3b3"
        lasted = f"{span.duration_ns / 1e6:.3f} ms" if span.timed else "no end is known"
        told = f"{span.name} ({span.service}): {lasted}" + (", failed" if span.error else "")
        name = escape(_short(span.name, 24 - min(part.depth, 8)))
        shapes.append(f'<text x="{8 + 12 * min(part.depth, 8)}" y="{top + 15}">{name}</text>')
        shapes.append(_box(left, top, width, fill, "", told, height=18))
        shapes.append(f'<text x="{left + width + 5:.1f}" y="{top + 14}">{lasted}</text>')
        top += 23
    more = f"; {len(trace.parts) - len(parts)} more spans are not shown" if len(trace.parts) > len(parts) else ""
    identity = escape(trace.parts[0].span.trace_id)
    caption = f"version {escape(str(version))}, trace <code>{identity}</code>; blue: on the critical path, red: failed{more}"
    return f"<figure>{_svg(top, shapes, 'waterfall of the slowest trace')}<figcaption>{caption}</figcaption></figure>"


def _in_order(trace: Trace) -> list[Part]:
    """Return parents before their children, children by their start."""
    present = {part.span.span_id for part in trace.parts}
    below: dict[str | None, list[Part]] = {}
    for part in trace.parts:
        parent = part.span.parent_id if not part.top and part.span.parent_id in present else None
        below.setdefault(parent, []).append(part)
    for parts in below.values():
        parts.sort(key=lambda part: (part.depth, part.start_ns))
    ordered: list[Part] = []
    waiting = below.get(None, [])[::-1]
    while waiting:
        part = waiting.pop()
        ordered.append(part)
        waiting += below.get(part.span.span_id, [])[::-1]
    return ordered


def _box(left: float, top: float, width: float, fill: str, text: str, title: str, *, height: int = _BAR) -> str:
    room = int(width / 7)
    label = (
        f'<text class="in" x="{left + 5:.1f}" y="{top + 17}" fill="#111">{escape(_short(text, room))}</text>'
        if text and room > 5
        else ""
    )
    rect = (
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}" fill="{fill}" stroke="#fff" stroke-width="0.5"/>'
    )
    return f"<g><title>{escape(title)}</title>{rect}{label}</g>"


def _svg(height: float, shapes: list[str], title: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {_WIDTH} {height:.0f}" width="100%" '
        f'style="min-width:640px">{"".join(shapes)}</svg>'
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(1, most - 1)] + "…"
