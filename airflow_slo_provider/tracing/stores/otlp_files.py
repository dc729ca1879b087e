"""Read traces from OTLP-JSON files, as written by the OpenTelemetry collector's file exporter.

A file holds one document per line or a single document. No server is needed: for tests and small installations.
"""

from __future__ import annotations

import glob
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.tracing import otlp
from airflow_slo_provider.tracing.otlp import ROTATED
from airflow_slo_provider.tracing.span_ids import parse_trace_id
from airflow_slo_provider.tracing.spans import Span, SpanStream
from airflow_slo_provider.tracing.stores.json_stream import read_documents
from airflow_slo_provider.tracing.stores.protocol import LIMIT, Search, SearchedStore, has_attributes, report_limit_reached


class FileStore(SearchedStore):
    """OTLP-JSON files, plain or gzipped.

    Spans are streamed in file order, so those of one trace may be far apart. A first pass over the files selects the traces, a
    second streams their spans; only trace ids are held in memory.

    A file that :class:`FileExporter` has moved to ``<name>.1`` is read before ``<name>``. The previous ``<name>.1`` was
    overwritten: an interval that begins before the oldest span is reported as truncated.

    :param path: a file, a directory (its ``*.json``, ``*.jsonl``, ``*.gz``), or a glob
    """

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)

    def spans(
        self,
        service: str = "",
        start: datetime | float = 0,
        end: datetime | float = 2**62,
        attributes: Mapping[str, Any] | None = None,
        limit: int = LIMIT,
        selected: Sequence[str] = (),
    ) -> SpanStream:
        """Stream the spans of a service; see :class:`~airflow_slo_provider.tracing.stores.protocol.TraceStore`.

        :param service: ``service.name`` of the requests; empty for all services
        :param start: start of the interval; by default unbounded
        :param end: end of the interval, exclusive; by default unbounded
        :param attributes: attributes to filter traces by
        :param limit: maximum number of traces
        :param selected: ignored, as files hold all attributes
        """
        return super().spans(service, start, end, attributes, limit, selected)

    def _search(self, stream: SpanStream, search: Search) -> Iterator[Span]:
        before = _inodes(self._files())
        chosen = self._choose_traces(stream, search)
        for span in self._all_spans():
            if int(span.trace_id, 16) in chosen:
                yield span
        if not before.items() <= _inodes(self._files()).items():
            stream.lack("files were moved away while they were read: spans may be missing; read them again")

    def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of one trace; empty if the files have no such trace."""
        identity = parse_trace_id(trace_id)
        return [span for span in self._all_spans() if span.trace_id == identity]

    def check(self) -> str:
        """Check that the files exist; return a sentence that describes them."""
        return f"{len(self._files())} files"

    def _choose_traces(self, stream: SpanStream, search: Search) -> set[int]:
        """Return the ids of the traces to stream, as integers; beyond the limit the earliest are kept."""
        service, first, last, limit = search.service, search.start, search.end, search.limit
        starts: dict[int, int] = {}
        matching: set[int] = set()
        for file in self._files():
            oldest: int | None = None
            for span in _read(file, stream):
                identity = int(span.trace_id, 16)
                starts[identity] = min(starts.get(identity, span.start_ns), span.start_ns)
                # Spans are written when they end: overwritten spans had ended before these.
                if span.timed:
                    oldest = span.end_ns if oldest is None else min(oldest, span.end_ns)
                if has_attributes([span], service, search.attributes):
                    matching.add(identity)
            if file.suffix == ROTATED and (oldest is None or first < oldest):
                stream.lack(f"{file}: older spans may have been overwritten, and the interval begins before; narrow the interval")
        inside = [identity for identity in matching if first <= starts[identity] < last]
        if len(inside) > limit:
            inside = sorted(inside, key=lambda identity: starts[identity])[:limit]
            report_limit_reached(limit, stream)
        return set(inside)

    def _files(self) -> list[Path]:
        path = Path(self._path)
        if path.is_dir():
            names = {_original_name(file) for file in path.iterdir() if _original_name(file).suffix in (".json", ".jsonl", ".gz")}
        elif path.is_file() or _rotated_name(path).is_file():
            names = {path}
        else:
            names = {_original_name(Path(name)) for name in glob.glob(self._path, recursive=True)}
        # Older files first.
        files = [file for name in sorted(names) for file in (_rotated_name(name), name) if file.is_file()]
        if not files:
            raise QueryError(f"{self._path}: there is no OTLP-JSON file", reason="not_found", source=self._path)
        return files

    def _all_spans(self) -> Iterator[Span]:
        for file in self._files():
            yield from _read(file, None)


def _read(file: Path, stream: SpanStream | None) -> Iterator[Span]:
    try:
        with _open(file) as text:
            for number, document in enumerate(read_documents(text), 1):
                try:
                    yield from otlp.read_document(document)
                except InvalidMeasurement as error:
                    raise QueryError(f"{file}: document {number}: {error}", reason="bad_file", source=str(file)) from None
    except strict_json.JSONContradiction as error:
        raise QueryError(f"{file}: {error}", reason=error.reason, source=str(file)) from None
    except json.JSONDecodeError as error:
        # The collector may still be writing the last line.
        if stream is not None:
            stream.lack(f"{file}: the rest is not JSON ({error.msg}); it may still be being written")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise QueryError(f"{file}: cannot be read: {error}", reason="bad_file", transient=True, source=str(file)) from None


def _rotated_name(file: Path) -> Path:
    return file.with_name(file.name + ROTATED)


def _original_name(file: Path) -> Path:
    """Return the name of a file before it was moved."""
    return file.with_suffix("") if file.suffix == ROTATED else file


def _inodes(files: Iterable[Path]) -> dict[Path, int]:
    """Return the inode of each file, to detect that one was moved while reading."""
    return {file: file.stat().st_ino for file in files if file.exists()}


def _open(file: Path) -> IO[str]:
    if _original_name(file).suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8")
    return file.open(encoding="utf-8")
