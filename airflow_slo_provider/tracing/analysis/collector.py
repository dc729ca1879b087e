"""Putting traces together from spans as they come, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from airflow_slo_provider.core.redaction import redact
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.tracing.analysis.samples import Samples
from airflow_slo_provider.tracing.analysis.trace_tree import Part, Trace, analyse
from airflow_slo_provider.tracing.span_formats import spans_of
from airflow_slo_provider.tracing.spans import KEPT, Span

#: What rows that no longer fit are called.
OTHERS = "(others)"


class RowKey(NamedTuple):
    """What makes a row of a breakdown."""

    span: str
    service: str
    version: str | None


class Collector:
    """Takes spans in, in any order, and keeps the times of each row.

    :param version_keys: attributes that may hold the model version, best first
    :param max_open_spans: spans that wait for the rest of their trace; beyond it the trace that has waited longest is taken as
        it is, and counted in :attr:`cut` when more of it comes
    :param max_values: spans kept per row, see :class:`Samples`, and traces that are remembered as taken
    :param max_rows: rows; spans of further names are put together as ``(others)``
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
        #: Traces that did not wait for their end, the oldest first, and whether more of them came.
        self._taken: dict[int, bool] = {}
        #: What the head sampler let through, and what a rule kept beside it: the second would make every percentile worse.
        self.rows: dict[RowKey, Samples] = {}
        self.kept_rows: dict[RowKey, Samples] = {}
        self.slowest: dict[str | None, tuple[int, Trace]] = {}
        self.spans = self.traces = self.kept = self.partial = self.flat = 0
        self.missing_parents = self.skewed = self.duplicates = self.lumped = self.cut = self.untimed = 0
        self.resolution_ns = 1
        self.first_ns: int | None = None
        self.last_ns = 0

    def add_all(self, spans: Iterable[Any]) -> None:
        """Take a stream of spans in, to its end."""
        for span in spans_of(spans):
            self.add(span)
        for trace in list(self._open):
            self._close(trace)

    def add(self, span: Span) -> None:
        """Take one span in."""
        # Moved to the end: the trace that has been silent longest is the first to go.
        group = self._open.pop(span.trace_id, None)
        if group is None:
            group = []
        group.append(span)
        self._open[span.trace_id] = group
        self._waiting += 1
        while self._waiting > self._max_open:
            taken = next(iter(self._open))
            self._close(taken)
            # The hash: many ids are kept, and a number is smaller.
            self._taken.setdefault(hash(taken), False)
            if len(self._taken) > self._max_values:
                del self._taken[next(iter(self._taken))]

    def _close(self, trace_id: str) -> None:
        group = self._open.pop(trace_id)
        self._waiting -= len(group)
        more = self._taken.get(hash(trace_id))
        if more is False:
            self._taken[hash(trace_id)] = True
            self.cut += 1
        trace = analyse(group, version_keys=self._keys, cut=more is not None)
        self.traces += more is None
        self.spans += len(trace.parts)
        self.missing_parents += trace.missing_parents
        self.skewed += trace.skewed
        self.duplicates += trace.duplicates
        self.partial += not trace.whole and more is None
        self.flat += not trace.nested
        kept = any(KEPT in part.span.attributes for part in trace.parts)
        self.kept += kept
        # What a rule kept is in no number: that one of its spans has no end takes nothing away.
        self.untimed += 0 if kept else trace.untimed
        rows = self.kept_rows if kept else self.rows
        for part in trace.parts:
            span = part.span
            if span.timed:
                self._row(rows, part).add(part)
            self.resolution_ns = max(self.resolution_ns, span.resolution_ns)
            self.first_ns = part.start_ns if self.first_ns is None else min(self.first_ns, part.start_ns)
            self.last_ns = max(self.last_ns, part.start_ns + span.duration_ns)
        self._remember(trace)

    def _row(self, rows: dict[RowKey, Samples], part: Part) -> Samples:
        key = RowKey(self._shown(part.span.name), self._shown(part.span.service), part.version and self._shown(part.version))
        found = rows.get(key)
        if found is None:
            if len(rows) >= self._max_rows:
                self.lumped += 1
                key = RowKey(OTHERS, "", None)
            found = rows.setdefault(key, Samples(self._max_values))
        return found

    def _shown(self, name: str) -> str:
        """Return a name without a secret: rows go into logs, XCom and the ledger, and a span may be named after an address."""
        shown = self._names.get(name)
        if shown is None:
            shown = redact(name, limit=None)
            if len(self._names) < self._max_values:
                self._names[name] = shown
        return shown

    def _remember(self, trace: Trace) -> None:
        """Keep the slowest trace of each version, for the waterfall."""
        timed = (part for part in trace.parts if part.top and part.span.timed)
        longest = max(timed, key=lambda part: part.span.duration_ns, default=None)
        if longest is None:
            return
        best = self.slowest.get(longest.version)
        if (best is None and len(self.slowest) < self._max_rows) or (best is not None and longest.span.duration_ns > best[0]):
            self.slowest[longest.version] = (longest.span.duration_ns, trace)
