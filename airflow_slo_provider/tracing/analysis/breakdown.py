"""Break request latency down by span and model version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_slo_provider.tracing.analysis.collector import Collector, RowKey
from airflow_slo_provider.tracing.analysis.samples import SECOND, Samples, quantile, seconds
from airflow_slo_provider.tracing.analysis.trace_tree import Trace
from airflow_slo_provider.tracing.analysis.version_order import version_order
from airflow_slo_provider.tracing.spans import to_datetime

#: Numbers of a breakdown that its collector counts.
_COUNTS = ("traces", "spans", "kept", "missing_parents", "skewed", "untimed", "duplicates")


@dataclass(frozen=True)
class SpanStats:
    """Latency statistics of the spans of one name and model version. Durations are in seconds.

    :param span: name of the spans
    :param model_version: version of the model; None if no span of the trace names one
    :param count: number of spans
    :param p50: median duration
    :param p95: 95th percentile
    :param p99: 99th percentile
    :param self_p50: median of the time not covered by child spans; None if children may be missing
    :param critical_share: share of the critical path of this version's requests, 0 to 1; over all spans of a version it sums
        to 1. None if unknown
    :param error_rate: share of spans with status ERROR, 0 to 1
    :param service: ``service.name`` of the process that recorded them
    :param self_p99: 99th percentile of the time not covered by child spans
    :param longest: longest duration
    :param top: whether these spans are whole requests rather than parts of one
    :param cache_hit_rate: share of true values among spans with a ``cache.hit`` attribute; None if no span has it
    """

    span: str
    model_version: str | None
    count: int
    p50: float
    p95: float
    p99: float
    self_p50: float | None
    critical_share: float | None
    error_rate: float
    service: str = ""
    self_p99: float | None = None
    longest: float = 0.0
    top: bool = False
    cache_hit_rate: float | None = None


@dataclass(frozen=True)
class LatencyBreakdown:
    """Latency statistics of a set of traces, by span and model version.

    :param rows: by model version in order, then by share of the critical path
    :param truncated: whether part of the requested data is missing; :attr:`notes` list what
    :param notes: limits of the data that affect the numbers
    :param traces: number of traces read
    :param spans: number of distinct spans read
    :param kept: traces that a rule kept although the head sampler had dropped them; excluded from the rows, because they would
        raise every percentile
    :param only_kept: whether all traces are kept ones: the rows then describe only those, not a typical request
    :param partial: traces with spans left out by the store (only durations are used), or whose spans arrived too far apart
    :param missing_parents: spans whose parent is named but was not read
    :param skewed: spans whose service's clock disagrees with their caller's
    :param untimed: spans without a usable end (they never ended, or ended before they began); not in the rows
    :param duplicates: spans that were read more than once
    :param resolution: time resolution of the store, in seconds
    :param start: start of the first span
    :param end: end of the last span
    :param versions: model versions, oldest first
    """

    rows: tuple[SpanStats, ...]
    truncated: bool
    notes: tuple[str, ...] = ()
    traces: int = 0
    spans: int = 0
    kept: int = 0
    only_kept: bool = False
    partial: int = 0
    missing_parents: int = 0
    skewed: int = 0
    untimed: int = 0
    duplicates: int = 0
    resolution: float = 1e-9
    start: datetime | None = None
    end: datetime | None = None
    versions: tuple[str | None, ...] = ()
    samples: Mapping[RowKey, Samples] = field(default_factory=dict, repr=False, compare=False)
    slowest: Mapping[str | None, Trace] = field(default_factory=dict, repr=False, compare=False)

    def row(self, span: str, model_version: str | None = None) -> SpanStats | None:
        """Return the row of a span and model version; None if there is none.

        :param span: name of the span
        :param model_version: the version; by default the newest
        """
        found = [row for row in self.rows if row.span == span and model_version in (None, row.model_version)]
        order = {version: index for index, version in enumerate(self.versions)}
        return max(found, key=lambda row: (order.get(row.model_version, -1), row.count), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dict without the samples."""
        from dataclasses import asdict

        from airflow_slo_provider.core.redaction import redact_value

        plain = (
            "truncated", "traces", "spans", "kept", "only_kept", "partial", "missing_parents", "skewed", "untimed", "resolution",
        )  # fmt: skip
        return {
            "rows": redact_value([asdict(row) for row in self.rows]),
            "notes": list(self.notes),
            **{name: getattr(self, name) for name in plain},
            "start": self.start.isoformat() if self.start else None,
            "end": self.end.isoformat() if self.end else None,
            "versions": list(self.versions),
        }


def breakdown(
    spans: Iterable[Any],
    *,
    version_keys: Sequence[str] = ("model_version",),
    max_open_spans: int = 50_000,
    max_values: int = 1_000_000,
) -> LatencyBreakdown:
    """Break latency down by span and model version. Memory is bounded by the arguments, not by the number of spans.

    :param spans: a store's stream (:class:`~airflow_slo_provider.tracing.spans.SpanStream`), or any iterable of
        :class:`~airflow_slo_provider.tracing.spans.Span`, of OTLP-JSON documents or of the OpenTelemetry SDK's spans. Spans of
        one trace may come in any order, and need not be adjacent
    :param version_keys: attributes that may hold the model version, in order of preference
    :param max_open_spans: maximum number of spans held while their trace is incomplete; a trace whose spans arrive further apart
        makes the result truncated
    :param max_values: spans whose times are kept per row; percentiles of a row with more are those of a uniform sample. The ids
        of as many traces are remembered, to recognise spans that arrive later
    :raises InvalidMeasurement: for an item that is not a span
    """
    collector = Collector(version_keys=version_keys, max_open_spans=max_open_spans, max_values=max_values)
    collector.add_all(spans)
    notes = list(getattr(spans, "notes", ()))
    truncated = bool(getattr(spans, "truncated", False)) or (collector.partial + collector.cut + collector.untimed) > 0
    rows = collector.rows or collector.kept_rows
    only_kept = not collector.rows and bool(collector.kept_rows)
    notes += _notes(collector, only_kept=only_kept)
    versions = version_order(_version_times(rows))
    totals: dict[str | None, int] = {}
    for key, samples in rows.items():
        totals[key.version] = totals.get(key.version, 0) + samples.critical_ns
    stats = [_span_stats(key, samples, totals[key.version]) for key, samples in rows.items()]
    stats.sort(key=lambda row: (versions.index(row.model_version), -(row.critical_share or 0.0), row.span, row.service))
    return LatencyBreakdown(
        rows=tuple(stats),
        truncated=truncated,
        notes=tuple(notes),
        **{name: getattr(collector, name) for name in _COUNTS},
        only_kept=only_kept,
        partial=collector.partial + collector.cut,
        resolution=collector.resolution_ns / SECOND,
        start=None if collector.first_ns is None else to_datetime(collector.first_ns),
        end=to_datetime(collector.last_ns) if collector.traces else None,
        versions=tuple(versions),
        samples=rows,
        slowest={version: trace for version, (_, trace) in collector.slowest.items()},
    )


def _version_times(rows: Mapping[RowKey, Samples]) -> dict[str | None, tuple[int, int]]:
    """Return when each version's first and last span started, in nanoseconds since 1970."""
    seen: dict[str | None, tuple[int, int]] = {}
    for key, samples in rows.items():
        first, last = min(samples.starts), max(samples.starts)
        before = seen.get(key.version, (first, last))
        seen[key.version] = (min(before[0], first), max(before[1], last))
    return seen


def _span_stats(key: RowKey, samples: Samples, total_ns: int) -> SpanStats:
    durations, selves = sorted(samples.durations), sorted(samples.selves)
    p50, p95, p99 = (seconds(quantile(durations, share)) for share in (0.50, 0.95, 0.99))
    self_p50, self_p99 = (seconds(quantile(selves, share)) if selves else None for share in (0.50, 0.99))
    lookups = samples.hits + samples.misses
    return SpanStats(
        span=key.span, model_version=key.version, service=key.service, top=samples.tops > 0, count=samples.count,
        p50=p50, p95=p95, p99=p99, longest=seconds(float(durations[-1])), self_p50=self_p50, self_p99=self_p99,
        critical_share=samples.critical_ns / total_ns if total_ns else None, error_rate=samples.errors / samples.count,
        cache_hit_rate=samples.hits / lookups if lookups else None,
    )  # fmt: skip


def _notes(collector: Collector, *, only_kept: bool) -> list[str]:
    notes = []
    if collector.partial:
        notes.append(f"{collector.partial} of {collector.traces} traces are incomplete: only durations are used")
    if collector.cut:
        notes.append(
            f"{collector.cut} of {collector.traces} traces arrived in parts too far apart: their own times are wrong; raise "
            "max_open_spans or narrow the interval"
        )
    if collector.untimed:
        notes.append(
            f"{collector.untimed} of {collector.spans} spans have no usable end (they never ended, or ended before they began): "
            "their duration is unknown, and they are left out"
        )
    if collector.flat:
        notes.append(
            f"{collector.flat} of {collector.traces} traces have no parent ids: their spans are treated as children of the "
            "longest, so self time and critical path are right only where no span nests deeper"
        )
    if collector.missing_parents:
        notes.append(f"{collector.missing_parents} spans have a parent that is missing")
    if collector.skewed:
        notes.append(f"{collector.skewed} spans were moved: their service's clock disagrees with their caller's")
    if only_kept:
        notes.append("every trace was kept by a rule (slow or failed): these numbers describe such requests only")
    elif collector.kept:
        notes.append(f"{collector.kept} traces that a rule kept (slow or failed) are left out of the numbers")
    if any(samples.sampled for samples in collector.rows.values()):
        notes.append("some percentiles are those of a uniform sample")
    if collector.lumped:
        notes.append(f"{collector.lumped} spans have too many different names; they are combined")
    return notes
