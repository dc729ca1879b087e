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

from airflow_slo_provider.documents.fields import Findings
from airflow_slo_provider.documents.nodes import Node, compose
from airflow_slo_provider.exceptions import DocumentError, Fault
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.documents.catalog_reader import read_documents

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


def load(path_or_text: Source) -> SLOCatalog:
    """Load SLO documents: OpenSLO v1, ErrorBudgetPolicy, and by import those of sloth and slo-generator.

    :param path_or_text: a file; a directory, whose ``*.yaml`` and ``*.yml`` files are read recursively, except hidden ones;
        several of those; or the YAML text itself
    :return: the catalog; it holds no SLO if the documents define only services, data sources or policies
    :raises DocumentError: with every error of every document, each with file, line, document and path; also when the file does
        not exist or holds no document
    """
    catalog, faults, _ = read(path_or_text)
    if catalog is None:
        raise DocumentError(faults)
    return catalog


def read(path_or_text: Source) -> Reading:
    """Read SLO documents as :func:`load` does, but return the errors instead of raising them.

    :param path_or_text: as for :func:`load`
    """
    findings = Findings()
    nodes: list[tuple[str, Node]] = []
    for file, text in _texts(path_or_text, findings):
        documents, wrong = compose(text, file=file)
        findings.faults.extend(wrong)
        if not documents and not wrong:
            findings.faults.append(Fault("holds no document", file=file))
        nodes.extend((file, document) for document in documents)
    catalog = read_documents(nodes, findings) if nodes else None
    # Annotations of one object may apply to several SLOs; their errors are reported once.
    faults = sorted(dict.fromkeys(findings.faults), key=_place)
    warnings = sorted(dict.fromkeys(findings.warnings), key=_place)
    if catalog is None or faults:
        return Reading(None, faults, warnings)
    return Reading(replace(catalog, warnings=tuple(warnings)), faults, warnings)


def _place(fault: Fault) -> tuple[str, int]:
    return fault.file, fault.line


def _texts(source: Source, findings: Findings) -> Iterator[tuple[str, str]]:
    """Yield file name and text of all sources."""
    if isinstance(source, str):
        if source.strip() and not names_a_path(source):
            yield from _checked_text(source, findings)
            return
        source = Path(source) if source.strip() else source
    if isinstance(source, str):
        findings.faults.append(Fault("is empty; give a file, a directory or the text of a document", file=TEXT))
        return
    paths = [source] if isinstance(source, os.PathLike) else list(source) if isinstance(source, Iterable) else None
    if paths is None or not all(isinstance(path, str | os.PathLike | DocumentText) for path in paths):
        raise TypeError(f"SLO documents are a path, paths or the YAML text, not {source!r}")
    if not paths:
        findings.faults.append(Fault("no path is given, so there is no document", file="<no files>"))
    for path in paths:
        if isinstance(path, DocumentText):
            yield path.file, path.text
        else:
            yield from _files(Path(path), findings)


def names_a_path(source: object) -> bool:
    """Return whether a source is a file path, existing or not, rather than the text of a document."""
    if not isinstance(source, str):
        return isinstance(source, os.PathLike)
    return "\n" not in source and bool(source.strip()) and (os.path.lexists(source) or _is_no_text(source))


def text_of(data: bytes, *, file: str) -> DocumentText:
    """Decode a file of an object store.

    :param data: the contents, of which at most :data:`MAX_BYTES` + 1 bytes need to be read
    :param file: name of the file, for messages
    :raises DocumentError: when the contents are not text, or too long
    """
    findings = Findings()
    texts = list(_decoded(data, len(data), file, findings))
    if findings.faults:
        raise DocumentError(findings.faults)
    return DocumentText(*texts[0])


def _is_no_text(text: str) -> bool:
    """Return whether a single line is the name of a missing file rather than a document."""
    return ": " not in text and not text.rstrip().endswith(":") and not text.lstrip().startswith(("{", "["))


def _checked_text(text: str, findings: Findings) -> Iterator[tuple[str, str]]:
    if len(text) > MAX_BYTES:
        findings.faults.append(Fault(_too_large(len(text)), file=TEXT))
    else:
        yield TEXT, text


def _too_large(size: int) -> str:
    return f"is larger than {MAX_BYTES // 1024 // 1024} MiB ({size:,} bytes); SLO documents are small: is this the right file?"


def _files(path: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        findings.faults.append(Fault(_explain(error), file=_shown(path)))
        return
    if not stat.S_ISDIR(mode):
        yield from _text(path, findings)
        return
    found = list(_below(path, (), findings))
    if not found and not findings.faults:
        findings.faults.append(Fault("no *.yaml or *.yml file is in this directory or below it", file=_shown(path)))
    if len(found) > MAX_FILES:
        findings.faults.append(Fault(f"more than {MAX_FILES:,} files: is this the right directory?", file=_shown(path)))
        return
    for file in found:
        yield from _text(file, findings)


def _below(directory: Path, above: tuple[str, ...], findings: Findings) -> Iterator[Path]:
    """Yield the YAML files below a directory, sorted, except hidden ones: editors and ConfigMap mounts keep copies there."""
    real = os.path.realpath(directory)
    if real in above:
        findings.faults.append(
            Fault("is a symbolic link to a directory it is in: it would be read forever", file=_shown(directory))
        )
        return
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        findings.faults.append(Fault(_explain(error), file=_shown(directory)))
        return
    for name in names:
        path = directory / name
        if name.startswith("."):
            continue
        try:
            below = path.is_dir()
        except OSError as error:
            findings.faults.append(Fault(_explain(error), file=_shown(path)))
            continue
        if below:
            yield from _below(path, (*above, real), findings)
        elif name.lower().endswith(SUFFIXES):
            yield path


def _text(path: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            findings.faults.append(Fault("is no regular file", file=_shown(path)))
            return
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        findings.faults.append(Fault(_explain(error), file=_shown(path)))
        return
    yield from _decoded(data, max(status.st_size, len(data)), _shown(path), findings)


def _decoded(data: bytes, size: int, file: str, findings: Findings) -> Iterator[tuple[str, str]]:
    if len(data) > MAX_BYTES:
        findings.faults.append(Fault(_too_large(size), file=file))
        return
    try:
        yield file, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        findings.faults.append(
            Fault(
                f"is not UTF-8: byte {data[error.start]:#04x} at position {error.start}; save it as UTF-8", file=file, line=line
            )
        )


def _explain(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file or directory"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return f"is no name of a file: {error}"


def _shown(path: Path) -> str:
    """Return the path as text that can be encoded anywhere, for messages."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
