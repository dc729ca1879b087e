"""OTLP-JSON files: what the OpenTelemetry collector's file exporter writes (one document a line), or one document a file.

Nothing else need run: the embedded default, for tests and small installations.
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
from airflow_slo_provider.tracing.spans import Span, SpanStream, trace_id_of
from airflow_slo_provider.tracing.stores.json_stream import documents
from airflow_slo_provider.tracing.stores.protocol import LIMIT, SearchedStore, as_text, lack_others


class FileStore(SearchedStore):
    """OTLP-JSON files, plain or gzipped.

    Spans are streamed as they stand in the files, those of one trace possibly far apart. A first pass over the files finds the
    traces that belong to the answer, a second streams their spans; what is remembered are trace ids.

    A file that our exporter has moved to ``<name>.1`` is read before the one of that name. What was in its place is gone: an
    interval that begins before its oldest span is truncated.

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
        """Stream the spans of a service's requests, see :class:`~airflow_slo_provider.tracing.stores.protocol.TraceStore`.

        :param service: empty for all services
        """
        return super().spans(service, start, end, attributes, limit)

    def _search(
        self,
        stream: SpanStream,
        service: str,
        first: int,
        last: int,
        attributes: dict[str, Any],
        limit: int,
        selected: Sequence[str],
    ) -> Iterator[Span]:
        before = _identities(self._files())
        wanted = {key: as_text(value) for key, value in attributes.items()}
        chosen = self._choose(stream, service, first, last, wanted, limit)
        for span in self._all():
            if int(span.trace_id, 16) in chosen:
                yield span
        if not before.items() <= _identities(self._files()).items():
            stream.lack("files were moved away while they were read: spans may be missing; read them again")

    def trace(self, trace_id: str) -> list[Span]:
        """Return one whole trace; empty when the files hold none of that id."""
        identity = trace_id_of(trace_id)
        return [span for span in self._all() if span.trace_id == identity]

    def check(self) -> str:
        """Look for the files."""
        return f"{len(self._files())} files"

    def _choose(self, stream: SpanStream, service: str, first: int, last: int, wanted: dict[str, str], limit: int) -> set[int]:
        """Return the ids of the traces to stream, the earliest first."""
        starts: dict[int, int] = {}
        matching: set[int] = set()
        for file in self._files():
            oldest: int | None = None
            for span in _read(file, stream):
                identity = int(span.trace_id, 16)
                starts[identity] = min(starts.get(identity, span.start_ns), span.start_ns)
                # Spans are written when they end: those that are gone had ended before.
                if span.timed:
                    oldest = span.end_ns if oldest is None else min(oldest, span.end_ns)
                mine = not service or span.service == service
                if mine and all(key in span.attributes and as_text(span.attributes[key]) == text for key, text in wanted.items()):
                    matching.add(identity)
            if file.suffix == ROTATED and (oldest is None or first < oldest):
                stream.lack(
                    f"{file}: spans older than those in it may be gone, and the interval begins before; narrow the interval"
                )
        inside = [identity for identity in matching if first <= starts[identity] < last]
        if len(inside) > limit:
            inside = sorted(inside, key=lambda identity: starts[identity])[:limit]
            lack_others(limit, stream)
        return set(inside)

    def _files(self) -> list[Path]:
        path = Path(self._path)
        if path.is_dir():
            names = {_named(file) for file in path.iterdir() if _named(file).suffix in (".json", ".jsonl", ".gz")}
        elif path.is_file() or _rotated(path).is_file():
            names = {path}
        else:
            names = {_named(Path(name)) for name in glob.glob(self._path, recursive=True)}
        # The older first.
        files = [file for name in sorted(names) for file in (_rotated(name), name) if file.is_file()]
        if not files:
            raise QueryError(f"{self._path}: no OTLP-JSON file is there", reason="not_found", source=self._path)
        return files

    def _all(self) -> Iterator[Span]:
        for file in self._files():
            yield from _read(file, None)


def _read(file: Path, stream: SpanStream | None) -> Iterator[Span]:
    try:
        with _open(file) as text:
            for number, document in enumerate(documents(text), 1):
                try:
                    yield from otlp.read_document(document)
                except InvalidMeasurement as error:
                    raise QueryError(f"{file}: document {number}: {error}", reason="bad_file", source=str(file)) from None
    except strict_json.JSONContradiction as error:
        raise QueryError(f"{file}: {error}", reason=error.reason, source=str(file)) from None
    except json.JSONDecodeError as error:
        # The collector may be writing the last line just now.
        if stream is not None:
            stream.lack(f"{file}: the rest is no JSON ({error.msg}); it may still be being written")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise QueryError(f"{file}: cannot be read: {error}", reason="bad_file", transient=True, source=str(file)) from None


def _rotated(file: Path) -> Path:
    return file.with_name(file.name + ROTATED)


def _named(file: Path) -> Path:
    """Return the name a file had before it was moved."""
    return file.with_suffix("") if file.suffix == ROTATED else file


def _identities(files: Iterable[Path]) -> dict[Path, int]:
    """Return which file has which name."""
    return {file: file.stat().st_ino for file in files if file.exists()}


def _open(file: Path) -> IO[str]:
    if _named(file).suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8")
    return file.open(encoding="utf-8")
