"""Export spans to an OTLP-JSON file, one line per batch, in the format of the OpenTelemetry collector's file exporter.

For servers without a collector. Imports OpenTelemetry, so it is imported only by :func:`airflow_slo_provider.tracing.configure`.
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
    """Append batches to a file; a file that grows too large is moved to ``<name>.1``, replacing the previous one.

    Several processes may write to one file: each batch is appended as one line in one write, and one process moves the file.

    :param path: path of the file; created if missing
    :param most_bytes: size in bytes from which the file is moved
    """

    def __init__(self, path: Path, *, most_bytes: int = 1 << 28) -> None:
        self._path, self._most = path, most_bytes
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append a batch of spans."""
        from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        document: dict[str, Any] = MessageToDict(encode_spans(spans))
        for resource in document.get("resourceSpans", ()):
            for scope in resource.get("scopeSpans", ()):
                for span in scope.get("spans", ()):
                    for link in (span, *span.get("links", ())):
                        # OTLP/JSON requires ids in hex, the protobuf mapping writes base64.
                        link.update({name: base64.b64decode(link[name]).hex() for name in _IDS if link.get(name)})
        line = (json.dumps(document, separators=(",", ":")) + "\n").encode()
        with self._lock:
            try:
                self._rotate_if_full(len(line))
                handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                try:
                    written = os.write(handle, line)
                finally:
                    os.close(handle)
            except OSError:
                return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS if written == len(line) else SpanExportResult.FAILURE

    def _rotate_if_full(self, more: int) -> None:
        """Move the file if it would grow too large."""
        import fcntl

        try:
            handle = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            if os.fstat(handle).st_size + more <= self._most:
                return
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Checked again under the lock: another process may have moved the file and started a new one.
            if os.path.samestat(os.fstat(handle), self._path.stat()):
                self._path.replace(self._path.with_name(self._path.name + ROTATED))
        except (BlockingIOError, FileNotFoundError):
            pass  # Another process is moving the file. A batch appended to the moved file is not lost.
        finally:
            os.close(handle)

    def shutdown(self) -> None:
        """Do nothing: no file stays open."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: spans are written at once."""
        return True
