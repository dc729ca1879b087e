"""Spans into an OTLP-JSON file, a line per batch, as the OpenTelemetry collector's file exporter writes them.

For servers without a collector. Imports OpenTelemetry: only ever imported by :func:`airflow_slo_provider.tracing.configure`.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from airflow_slo_provider.tracing.otlp import ROTATED

_IDS = ("traceId", "spanId", "parentSpanId")


class FileExporter(SpanExporter):
    """Appends batches to a file; a file that grows too large is moved to ``<name>.1``, in place of the one before.

    Several processes may write to one file: each batch is one write of one line at its end, and one of them moves it.

    :param path: made where it is not there
    :param most_bytes: size from which the file is moved away
    """

    def __init__(self, path: Path, *, most_bytes: int = 1 << 28) -> None:
        self._path, self._most = path, most_bytes
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write a batch."""
        from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        document: dict[str, Any] = MessageToDict(encode_spans(spans))
        for resource in document.get("resourceSpans", ()):
            for scope in resource.get("scopeSpans", ()):
                for span in scope.get("spans", ()):
                    for link in (span, *span.get("links", ())):
                        # OTLP/JSON has ids in hex, where the mapping of protobuf has base64.
                        link.update({name: base64.b64decode(link[name]).hex() for name in _IDS if link.get(name)})
        line = (json.dumps(document, separators=(",", ":")) + "\n").encode()
        with self._lock:
            try:
                self._make_room(len(line))
                handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                try:
                    written = os.write(handle, line)
                finally:
                    os.close(handle)
            except OSError:
                return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS if written == len(line) else SpanExportResult.FAILURE

    def _make_room(self, more: int) -> None:
        """Move the file away where it would grow too large."""
        import fcntl

        try:
            handle = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            if os.fstat(handle).st_size + more <= self._most:
                return
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Looked at again under the lock: where another process has moved it, the file of that name is a new one.
            if os.path.samestat(os.fstat(handle), self._path.stat()):
                self._path.replace(self._path.with_name(self._path.name + ROTATED))
        except (BlockingIOError, FileNotFoundError):
            pass  # Another process is moving it just now. A batch that still goes to its end is not lost.
        finally:
            os.close(handle)

    def shutdown(self) -> None:
        """Nothing is held open."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits here."""
        return True
