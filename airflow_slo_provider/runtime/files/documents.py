"""Locate the documents and golden sets of a task: relative to its DAG file, at an absolute path, or in an object store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import DocumentError, Fault, QueryError

if TYPE_CHECKING:
    from airflow_slo_provider.slo.documents.document_files import DocumentText


def resolve_paths(source: Any, folder: str) -> Any:
    """Return paths with relative ones made absolute from the folder of the DAG file; texts and URIs are returned unchanged.

    The worker's current directory is not searched, because it may hold another file of the same name.

    :param source: a path, the text of a document, or several of these
    :param folder: the folder of the DAG file
    :raises DocumentError: for each relative path that does not exist
    """
    missing: list[Fault] = []
    if isinstance(source, list | tuple):
        found: Any = [_resolve_path(item, folder, missing) for item in source]
    else:
        found = _resolve_path(source, folder, missing)
    if missing:
        raise DocumentError(missing)
    return found


def is_relative_path(source: Any) -> bool:
    """Return whether a value is a relative path."""
    from airflow_slo_provider.slo.documents.document_files import is_path

    return is_path(source) and not is_uri(source) and not os.path.isabs(os.fspath(source))


def is_uri(source: Any) -> bool:
    """Return whether a value is the URI of a file in an object store, e.g. ``s3://bucket/slos``."""
    text = str(source) if isinstance(source, os.PathLike) else source
    return isinstance(text, str) and "\n" not in text and "://" in text.partition(" ")[0]


def _resolve_path(source: Any, folder: str, missing: list[Fault]) -> Any:
    text = os.fspath(source) if isinstance(source, os.PathLike) and not is_uri(source) else source
    if not isinstance(text, str) or "\n" in text or not text.strip() or is_uri(text) or os.path.isabs(text):
        return source
    path = os.path.normpath(os.path.join(folder or os.getcwd(), text))
    if os.path.lexists(path):
        return path
    if is_relative_path(source):  # otherwise a one-line document
        message = f"there is no such file or directory: {text!r} is relative to the folder of the DAG file, {folder}"
        if os.path.lexists(elsewhere := os.path.abspath(text)):
            message += f"; {elsewhere}, in the working directory, is not read: write its absolute path if it is meant"
        missing.append(Fault(message, file=path))
    return source


def dag_folder(dag: Any = None) -> str:
    """Return the folder of a DAG file, for files that are read while the DAG file is parsed.

    :param dag: the DAG; by default the one that is being defined
    """
    if dag is None:
        from airflow.sdk.definitions._internal.contextmanager import DagContext

        dag = DagContext.get_current()
    return "" if dag is None else str(dag.folder)


def read_stored(source: Any) -> Any:
    """Return SLO documents with those in object stores read, for :func:`airflow_slo_provider.slo.load`.

    :param source: a path, a URI such as ``s3://bucket/slos`` (``s3://conn_id@bucket/slos`` names the connection), the text of a
        document, or several of these
    :raises DocumentError: for a file that does not exist or is not a document
    :raises QueryError: if the store cannot be read; transient unless it denies access
    """
    items: Sequence[Any] = source if isinstance(source, list | tuple) else [source]
    if not any(map(is_uri, items)):
        return source
    return [text for item in items for text in (_read_uri(str(item)) if is_uri(item) else [item])]


def _read_uri(uri: str) -> list[DocumentText]:
    from airflow_slo_provider.core.redaction import public_url
    from airflow_slo_provider.runtime.files.object_storage import object_path
    from airflow_slo_provider.runtime.secret_masks import masked
    from airflow_slo_provider.slo.documents.document_files import MAX_BYTES, MAX_FILES, SUFFIXES, decode_text

    shown = public_url(uri)
    try:
        root = object_path(uri)
        storage = root.fs
        storage.invalidate_cache()  # an older listing may be cached
        names = [root.path] if storage.isfile(root.path) else _yaml_files(storage, root.path, SUFFIXES)
        if not names:
            exists = storage.exists(root.path)
            what = "no *.yaml or *.yml file is in this directory or below it" if exists else "there is no such file or directory"
            raise DocumentError([Fault(what, file=shown)])
        if len(names) > MAX_FILES:
            raise DocumentError([Fault(f"more than {MAX_FILES:,} files: is this the right directory?", file=shown)])
        found = []
        for name in names:
            with storage.open(name, "rb") as file:
                found.append(decode_text(file.read(MAX_BYTES + 1), file=storage.unstrip_protocol(name)))
        return found
    except DocumentError:
        raise
    except (PermissionError, ValueError, ImportError) as error:
        reason = "forbidden" if isinstance(error, PermissionError) else "bad_path"
        raise QueryError(masked(f"{shown} cannot be read: {type(error).__name__}: {error}"), reason=reason) from error
    except Exception as error:  # each storage client has its own exceptions
        message = masked(f"{shown} cannot be read: {type(error).__name__}: {error}")
        raise QueryError(message, reason="storage", transient=True) from error


def _yaml_files(storage: Any, directory: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the YAML files below a directory, sorted, without hidden ones, as for a local directory."""
    found = []
    for name in storage.find(directory):
        inside = str(name)[len(directory.rstrip("/")) :].strip("/").split("/")
        if inside[-1].lower().endswith(suffixes) and not any(part.startswith(".") for part in inside):
            found.append(str(name))
    return sorted(found)
