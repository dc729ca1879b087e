"""Read SLO documents from files, directories and text.

:func:`load` returns a catalog or raises an error with every reason; :func:`read` returns the reasons.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from airflow_slo_provider.documents.durations import Duration, as_duration
from airflow_slo_provider.documents.fields import Findings
from airflow_slo_provider.documents.nodes import Node, compose
from airflow_slo_provider.exceptions import DocumentError, Fault
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.documents.catalog_reader import read_documents
from airflow_slo_provider.slo.documents.sloth import PERIOD

#: Larger files are not SLO documents.
MAX_BYTES = 4 * 1024 * 1024
MAX_FILES = 10_000
SUFFIXES = (".yaml", ".yml")
TEXT = "<text>"


class DocumentText(NamedTuple):
    """The text of a file that was read elsewhere, for example from an object store.

    :param file: name of the file, for messages
    :param text: contents of the file
    """

    file: str
    text: str


#: A path, YAML text, several paths, or files that were read already.
Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str] | DocumentText]


class Reading(NamedTuple):
    """The result of reading SLO documents.

    :param catalog: the catalog; None if there is an error
    :param faults: all errors
    :param warnings: all warnings
    """

    catalog: SLOCatalog | None
    faults: list[Fault]
    warnings: list[Fault]


def load(path_or_text: Source, *, sloth_period: str | Duration | None = None) -> SLOCatalog:
    """Load SLO documents: OpenSLO v1, ErrorBudgetPolicy, and by import those of sloth, pyrra and slo-generator.

    :param path_or_text: a file; a directory, whose ``*.yaml`` and ``*.yml`` files are read recursively, except hidden ones;
        several of those; or the YAML text itself
    :param sloth_period: time window of sloth's SLOs, which is an option of sloth's command line; 30 days by default
    :return: the catalog; it holds no SLO if the documents define only services, data sources or policies
    :raises DocumentError: with every error of every document, each with file, line, document and path; also when the file does
        not exist or holds no document
    :raises ValueError: for a ``sloth_period`` that is not a fixed duration
    """
    catalog, faults, _ = read(path_or_text, sloth_period=sloth_period)
    if catalog is None:
        raise DocumentError(faults)
    return catalog


def read(path_or_text: Source, *, sloth_period: str | Duration | None = None) -> Reading:
    """Read SLO documents as :func:`load` does, but return the errors instead of raising them.

    :param path_or_text: as for :func:`load`
    :param sloth_period: as for :func:`load`
    """
    period = PERIOD if sloth_period is None else as_duration(sloth_period)
    if period.is_calendar:
        raise ValueError(f"the period of sloth's SLOs is {period}, which has no fixed length; write {30 * period.months}d")
    findings = Findings()
    nodes: list[tuple[str, Node]] = []
    for file, text in _texts(path_or_text, findings):
        documents, errors = compose(text, file=file)
        findings.errors.extend(errors)
        if not documents and not errors:
            findings.error("holds no document", file=file)
        nodes.extend((file, document) for document in documents)
    catalog = read_documents(nodes, findings, sloth_period=period) if nodes else None
    # Annotations of one object may apply to several SLOs; their errors are reported once.
    faults, warnings = (
        sorted(dict.fromkeys(found), key=lambda fault: (fault.file, fault.line)) for found in (findings.errors, findings.warnings)
    )
    if catalog is None or faults:
        return Reading(None, faults, warnings)
    return Reading(replace(catalog, warnings=tuple(warnings)), faults, warnings)


def _texts(source: Source, findings: Findings) -> Iterator[DocumentText]:
    """Yield file name and text of all sources."""
    if isinstance(source, str) and not source.strip():
        findings.error("is empty; give a file, a directory or the text of a document", file=TEXT)
        return
    if isinstance(source, str) and not is_path(source):
        if len(source) > MAX_BYTES:
            findings.error(_too_large(len(source)), file=TEXT)
        else:
            yield DocumentText(TEXT, source)
        return
    paths = [source] if isinstance(source, str | os.PathLike) else list(source) if isinstance(source, Iterable) else None
    if paths is None or not all(isinstance(path, str | os.PathLike | DocumentText) for path in paths):
        raise TypeError(f"SLO documents are a path, paths or the YAML text, not {source!r}")
    if not paths:
        findings.error("no path is set, so there is no document", file="<no files>")
    for path in paths:
        if isinstance(path, DocumentText):
            yield path
            continue
        for file in _files(Path(path), findings):
            try:
                yield _read_file(file)
            except DocumentError as error:
                findings.errors.extend(error.faults)


def is_path(source: object) -> bool:
    """Return whether a source is a file path, existing or not, rather than the text of a document."""
    if not isinstance(source, str):
        return isinstance(source, os.PathLike)
    is_yaml = ": " in source or source.rstrip().endswith(":") or source.lstrip().startswith(("{", "["))
    return "\n" not in source and bool(source.strip()) and (os.path.lexists(source) or not is_yaml)


def decode_text(data: bytes, *, file: str, size: int = 0) -> DocumentText:
    """Decode the contents of a file.

    :param data: the contents, of which at most :data:`MAX_BYTES` + 1 bytes need to be read
    :param file: name of the file, for messages
    :param size: size of the file, if more of it than ``data`` is known
    :raises DocumentError: when the contents are not text, or too long
    """
    if len(data) > MAX_BYTES:
        raise DocumentError([Fault(_too_large(max(size, len(data))), file=file)])
    try:
        return DocumentText(file, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        message = f"is not UTF-8: byte {data[error.start]:#04x} at position {error.start}; save it as UTF-8"
        raise DocumentError([Fault(message, file=file, line=data.count(b"\n", 0, error.start) + 1)]) from None


def _too_large(size: int) -> str:
    return f"is larger than {MAX_BYTES // 1024 // 1024} MiB ({size:,} bytes); SLO documents are small: is this the right file?"


def _files(path: Path, findings: Findings) -> Iterator[Path]:
    """Yield a file, or the YAML files of a directory."""
    try:
        is_directory = stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError) as error:
        findings.error(_explain(error), file=_encodable(path))
        return
    if not is_directory:
        yield path
        return
    found = list(_find_yaml_files(path, (), findings))
    if not found and not findings.errors:
        findings.error("no *.yaml or *.yml file is in this directory or below it", file=_encodable(path))
    if len(found) > MAX_FILES:
        findings.error(f"more than {MAX_FILES:,} files: is this the right directory?", file=_encodable(path))
    else:
        yield from found


def _find_yaml_files(directory: Path, above: tuple[str, ...], findings: Findings) -> Iterator[Path]:
    """Yield the YAML files below a directory, sorted, except hidden ones: editors and ConfigMap mounts keep copies there."""
    real = os.path.realpath(directory)
    if real in above:
        message = "is a symbolic link to a directory that contains it; remove it"
        findings.error(message, file=_encodable(directory))
        return
    try:
        names = sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except OSError as error:
        findings.error(_explain(error), file=_encodable(directory))
        return
    for path in (directory / name for name in names):
        try:
            is_directory = path.is_dir()
        except OSError as error:
            findings.error(_explain(error), file=_encodable(path))
            continue
        if is_directory:
            yield from _find_yaml_files(path, (*above, real), findings)
        elif path.name.lower().endswith(SUFFIXES):
            yield path


def _read_file(path: Path) -> DocumentText:
    name = _encodable(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DocumentError([Fault("is not a regular file", file=name)])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError([Fault(_explain(error), file=name)]) from None
    return decode_text(data, file=name, size=status.st_size)


def _explain(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file or directory"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return f"is not a file name: {error}"


def _encodable(path: Path) -> str:
    """Return the path as text that can be encoded anywhere, for messages."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
