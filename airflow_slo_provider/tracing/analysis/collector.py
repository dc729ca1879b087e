"""Assemble traces from a stream of spans in bounded memory, and collect the times of each breakdown row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from airflow_slo_provider.core.redaction import redact
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.tracing.analysis.samples import Samples
from airflow_slo_provider.tracing.analysis.trace_tree import PlacedSpan, Trace, analyse
from airflow_slo_provider.tracing.span_formats import read_spans
from airflow_slo_provider.tracing.spans import KEPT_ATTRIBUTE, Span

#: Name of the row that collects spans beyond ``max_rows``.
OTHERS = "(others)"


class RowKey(NamedTuple):
    """The key of a breakdown row."""

    span: str
    service: str
    version: str | None


class Collector:
    """Collect spans in any order, and keep the times of each row.

    :param version_keys: attributes that may hold the model version, in order of preference
    :param max_open_spans: maximum number of spans held while their trace is incomplete; beyond it the trace that has waited
        longest is closed as it is, and counted in :attr:`cut` if more of its spans arrive
    :param max_values: spans kept per row, see :class:`Samples`, and trace ids remembered as closed
    :param max_rows: maximum number of rows; spans of further names are combined as ``(others)``
    """

    def __init__(
        self,
        *,
        version_keys: Sequence[str] = ("model_version",),
        max_open_spans: int = 50_000,
        max_values: int = 1_000_000,
        max_rows: int = 500,
    ) -> None:
        self._keys = text_list(version_keys)
        self._max_open, self._max_values, self._max_rows = max_open_spans, max_values, max_rows
        self._open: dict[str, list[Span]] = {}
        self._waiting = 0
        self._names: dict[str, str] = {}
        #: Traces closed before the end of the stream, oldest first, and whether more of their spans came.
        self._closed_early: dict[int, bool] = {}
        #: Traces sampled by the head sampler, apart from those kept by a rule, which would raise every percentile.
        self.rows: dict[RowKey, Samples] = {}
        self.kept_rows: dict[RowKey, Samples] = {}
        self.slowest: dict[str | None, tuple[int, Trace]] = {}
        self.spans = self.traces = self.kept = self.partial = self.flat = 0
        self.missing_parents = self.skewed = self.duplicates = self.lumped = self.cut = self.untimed = 0
        self.resolution_ns = 1
        self.first_ns: int | None = None
        self.last_ns = 0

    def add_all(self, spans: Iterable[Any]) -> None:
        """Add all spans of a stream, and close every trace at its end."""
        for span in read_spans(spans):
            self.add(span)
        for trace in list(self._open):
            self._close(trace)

    def add(self, span: Span) -> None:
        """Add one span."""
        # Moved to the end, so that the trace without new spans for the longest time is closed first.
        group = self._open[span.trace_id] = self._open.pop(span.trace_id, [])
        group.append(span)
        self._waiting += 1
        while self._waiting > self._max_open:
            oldest = next(iter(self._open))
            self._close(oldest)
            # Many ids are remembered: the hash takes less memory than the text.
            self._closed_early.setdefault(hash(oldest), False)
            if len(self._closed_early) > self._max_values:
                del self._closed_early[next(iter(self._closed_early))]

    def _close(self, trace_id: str) -> None:
        group = self._open.pop(trace_id)
        self._waiting -= len(group)
        more = self._closed_early.get(hash(trace_id))
        if more is False:
            self._closed_early[hash(trace_id)] = True
            self.cut += 1
        trace = analyse(group, version_keys=self._keys, cut=more is not None)
        self.traces += more is None
        self.spans += len(trace.spans)
        self.missing_parents += trace.missing_parents
        self.skewed += trace.skewed
        self.duplicates += trace.duplicates
        self.partial += not trace.whole and more is None
        self.flat += not trace.nested
        kept = any(KEPT_ATTRIBUTE in placed.span.attributes for placed in trace.spans)
        self.kept += kept
        # Kept traces are in no row, so a span of theirs without an end removes nothing from the numbers.
        self.untimed += 0 if kept else trace.untimed
        rows = self.kept_rows if kept else self.rows
        for placed in trace.spans:
            span = placed.span
            if span.timed:
                self._row(rows, placed).add(placed)
            self.resolution_ns = max(self.resolution_ns, span.resolution_ns)
            self.first_ns = placed.start_ns if self.first_ns is None else min(self.first_ns, placed.start_ns)
            self.last_ns = max(self.last_ns, placed.start_ns + span.duration_ns)
        self._keep_slowest(trace)

    def _row(self, rows: dict[RowKey, Samples], placed: PlacedSpan) -> Samples:
        span, version = placed.span, placed.version
        key = RowKey(self._redact_name(span.name), self._redact_name(span.service), version and self._redact_name(version))
        samples = rows.get(key)
        if samples is None:
            if len(rows) >= self._max_rows:
                self.lumped += 1
                key = RowKey(OTHERS, "", None)
            samples = rows.setdefault(key, Samples(self._max_values))
        return samples

    def _redact_name(self, name: str) -> str:
        """Redact secrets in a span's name: rows go into logs, XCom and the ledger, and a name may contain a URL."""
        shown = self._names.get(name)
        if shown is None:
            shown = redact(name, limit=None)
            if len(self._names) < self._max_values:
                self._names[name] = shown
        return shown

    def _keep_slowest(self, trace: Trace) -> None:
        """Keep the slowest trace of each version, for the waterfall chart."""
        timed = (placed for placed in trace.spans if placed.top and placed.span.timed)
        longest = max(timed, key=lambda placed: placed.span.duration_ns, default=None)
        if longest is None:
            return
        best = self.slowest.get(longest.version)
        if (best is None and len(self.slowest) < self._max_rows) or (best is not None and longest.span.duration_ns > best[0]):
            self.slowest[longest.version] = (longest.span.duration_ns, trace)
