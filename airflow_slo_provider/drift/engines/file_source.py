"""Find the files of a path, glob, directory or URI, and read Parquet column by column.

Each thread decodes about a million rows of one Parquet column at a time, so memory does not grow with rows or columns.
"""

from __future__ import annotations

import glob
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.drift.engines.arrow_source import ScanSource
from airflow_slo_provider.drift.engines.sources import PIECE, Consume, Filter, Source, Task, read_error, require_pyarrow
from airflow_slo_provider.drift.profiles.arrow_values import arrow_values, kind_of
from airflow_slo_provider.drift.profiles.artifact_files import is_uri
from airflow_slo_provider.exceptions import NoData, QueryError

_FORMATS = {
    **dict.fromkeys((".parquet", ".pq", ".parq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc"), "ipc"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **dict.fromkeys((".csv", ".txt"), "csv"),
    ".tsv": "tsv",
    ".orc": "orc",
}
#: Bytes of one column that are decoded at a time.
_MOST_BYTES = 64 * 1024 * 1024
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4", ".xz")


def open_files(data: Any, *, where: Filter | None = None) -> Source:
    """Open files as a source.

    :param data: path, glob, directory, URI, path object with a file system (``ObjectStoragePath``), or a list of paths
    :param where: (column, operator, value) conditions that rows must satisfy
    :raises QueryError: when no file is found, formats are mixed, or a file is damaged
    """
    require_pyarrow("reading files")
    import pyarrow as pa

    name = str(data) if not isinstance(data, (list, tuple)) else f"{len(data)} files"
    filesystem, files = _list_files(data)
    file_format: Any = _detect_format(files, name)
    if file_format == "parquet" and not where:
        return ParquetSource(files, filesystem, name=name)
    import pyarrow.csv as pc
    import pyarrow.dataset as ds

    if file_format == "tsv":
        file_format = ds.CsvFileFormat(parse_options=pc.ParseOptions(delimiter="\t"))
    try:
        dataset = ds.dataset(files, format=file_format, filesystem=filesystem, partitioning="hive")
        return ScanSource(dataset, where=where, name=name, remote=filesystem is not None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise read_error(error, f"{name} cannot be read", remote=filesystem is not None) from None


def _list_files(data: Any) -> tuple[Any, list[str]]:
    """Return the file system (None for the local one) and the files."""
    if isinstance(data, (list, tuple)):
        if not data:
            raise NoData("the list of files is empty")
        filesystems, lists = zip(*map(_list_files, data), strict=True)
        if any(filesystem is not filesystems[0] and filesystem != filesystems[0] for filesystem in filesystems):
            raise QueryError("files on different file systems in one list; compare them one by one", reason="bad_path")
        return filesystems[0], list(dict.fromkeys(itertools.chain(*lists)))
    if hasattr(data, "fs") and hasattr(data, "path"):
        return _list_remote_files(data.fs, str(data.path), str(data))
    text = os.fspath(data)
    if is_uri(text):
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(text)
        return _list_remote_files(filesystem, path, text)
    text = os.path.expanduser(text.removeprefix("file://"))
    if os.path.isdir(text):
        found = sorted(
            os.path.join(root, file)
            for root, _, files in os.walk(text)
            for file in files
            if not _is_hidden(os.path.relpath(os.path.join(root, file), text).replace(os.sep, "/"))
        )
    elif os.path.isfile(text):
        found = [text]
    else:
        found = sorted(path for path in glob.glob(text, recursive=True) if os.path.isfile(path))
    if not found:
        raise QueryError(f"no file matches {text} (looked in {os.getcwd()})", reason="not_found")
    return None, found


def _is_hidden(path: str) -> bool:
    """Return whether a path below a directory is not data: ``_temporary/`` of a running job, ``_SUCCESS``, ``.crc``."""
    return any(part.startswith(("_", ".")) for part in path.split("/"))


def _list_remote_files(filesystem: Any, path: str, text: str) -> tuple[Any, list[str]]:
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    try:
        if any(sign in path for sign in "*?["):
            found = [str(item) for item in filesystem.glob(path)]
        elif filesystem.isdir(path):
            found = [item for item in map(str, filesystem.find(path)) if not _is_hidden(item.removeprefix(path))]
        else:
            found = [path] if filesystem.exists(path) else []
    except OSError as error:
        raise QueryError(f"{text} cannot be listed: {server_text(error)}", reason="unreachable", transient=True) from None
    if not found:
        raise QueryError(f"no file matches {text}", reason="not_found")
    return PyFileSystem(FSSpecHandler(filesystem)), sorted(found)


def _detect_format(files: Sequence[str], name: str) -> str:
    examples: dict[str, str] = {}
    for file in files:
        stem, ending = os.path.splitext(file)
        if ending in _COMPRESSED:
            ending = os.path.splitext(stem)[1]
        if ending.lower() not in _FORMATS:
            known = ", ".join(sorted(_FORMATS))
            raise QueryError(f"{file}: {ending!r} is not the ending of a known format: {known}", reason="bad_format")
        examples.setdefault(_FORMATS[ending.lower()], file)
    if len(examples) > 1:
        raise QueryError(f"{name} mixes formats: {', '.join(sorted(examples.values()))}; set one of them", reason="bad_format")
    return next(iter(examples))


class ParquetSource:
    """Source for Parquet files with largely the same columns."""

    def __init__(self, files: Sequence[str], filesystem: Any, *, name: str) -> None:
        self.name = name
        self._files = list(files)
        self._filesystem = filesystem
        self._open = threading.local()
        self._metadata = [self._read(file, partial(self._open_parquet, file)).metadata for file in self._files]

    def _read(self, file: str, action: Callable[[], Any]) -> Any:
        """Call a function that reads a file, and convert its errors."""
        import pyarrow as pa

        try:
            return action()
        except FileNotFoundError:
            raise QueryError(f"{file} does not exist", reason="not_found") from None
        except (pa.ArrowException, OSError, ValueError) as error:
            remote = self._filesystem is not None
            raise read_error(error, f"{file} is not a readable Parquet file; it may be cut off", remote=remote) from None

    def _open_parquet(self, file: str, metadata: Any = None) -> Any:
        import pyarrow.parquet as pq

        fields = metadata.schema.to_arrow_schema() if metadata is not None else ()
        texts = [field.name for field in fields if kind_of(field.type) == "text"]
        return pq.ParquetFile(file, metadata=metadata, read_dictionary=texts, filesystem=self._filesystem, pre_buffer=False)

    def _thread_reader(self, index: int) -> Any:
        """Return this thread's reader of a file; a reader must not be shared between threads."""
        if getattr(self._open, "index", None) != index:
            file = self._files[index]
            self._open.reader = self._read(file, lambda: self._open_parquet(file, self._metadata[index]))
            self._open.index = index
        return self._open.reader

    def columns(self) -> Mapping[str, str]:
        """Return the types of the columns of all files, by name."""
        found: dict[str, str] = {}
        for metadata in self._metadata:
            for field in metadata.schema.to_arrow_schema():
                found.setdefault(field.name, str(field.type))
        return found

    def problems(self) -> dict[str, str]:
        """Return the problem of each column that some file lacks or has twice."""
        found: dict[str, str] = {}
        for file, metadata in zip(self._files, self._metadata, strict=True):
            names = Counter(metadata.schema.to_arrow_schema().names)
            for column in self.columns():
                if names[column] != 1:
                    found.setdefault(column, f"column {column} is {'twice' if names[column] else 'missing'} in {file}")
        return found

    def tasks(self, columns: Sequence[str], categorical: frozenset[str]) -> Iterator[Task]:
        """Yield one task per file, run of row groups, and column."""
        for index, metadata in enumerate(self._metadata):
            present = set(metadata.schema.to_arrow_schema().names)
            for groups, rows in _group_runs(metadata):
                sizes = _column_sizes(metadata, groups)
                for column in (column for column in columns if column in present):
                    batch = _batch_rows(rows, sizes[column])
                    yield Task(rows, self._column_reader(index, groups, batch, column, column in categorical))

    def _column_reader(
        self, index: int, groups: list[int], batch: int | None, column: str, categorical: bool
    ) -> Callable[[Consume], None]:
        """Return a function that reads a column of some row groups.

        :param batch: rows to decode at a time, None for all
        """

        def run(consume: Consume) -> None:
            file, parquet = self._files[index], self._thread_reader(index)
            if batch is None:
                table = self._read(file, lambda: parquet.read_row_groups(groups, columns=[column], use_threads=False))
                consume(column, arrow_values(table.column(0), categorical=categorical))
                return
            parts = parquet.iter_batches(batch_size=batch, row_groups=groups, columns=[column], use_threads=False)
            while (part := self._read(file, lambda: next(parts, None))) is not None:
                consume(column, arrow_values(part.column(0), categorical=categorical))

        return run


def _column_sizes(metadata: Any, groups: Sequence[int]) -> Counter[str]:
    """Return the decoded size of each column, in bytes."""
    sizes: Counter[str] = Counter()
    for group in groups:
        row_group = metadata.row_group(group)
        for number in range(row_group.num_columns):
            chunk = row_group.column(number)
            sizes[chunk.path_in_schema.partition(".")[0]] += int(chunk.total_uncompressed_size)
    return sizes


def _batch_rows(rows: int, size: int) -> int | None:
    """Return the rows to decode at a time: None for all, fewer for a huge row group or long texts."""
    if rows <= 2 * PIECE and size <= _MOST_BYTES:
        return None
    return max(1024, min(PIECE, rows * _MOST_BYTES // max(1, size)))


def _group_runs(metadata: Any) -> Iterator[tuple[list[int], int]]:
    """Yield runs of adjacent row groups with about :data:`PIECE` rows."""
    groups: list[int] = []
    rows = 0
    for number in range(metadata.num_row_groups):
        size = metadata.row_group(number).num_rows
        if groups and rows + size > PIECE:
            yield groups, rows
            groups, rows = [], 0
        groups.append(number)
        rows += size
    if groups:
        yield groups, rows
