"""Read and write small files by local path, URI or path object."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError

#: Largest file that is read, in bytes.
MAX_BYTES = 256 * 1024 * 1024
_PIECE = 1 << 20


def is_uri(text: str) -> bool:
    """Return whether a text is a URI that needs a file-system library."""
    return "://" in text and not text.startswith("file://")


def local_path(uri: Any) -> Path | None:
    """Return the local path of ``uri``; None for a remote URI or a path object with its own file system."""
    if isinstance(uri, str):
        return None if is_uri(uri) else Path(uri.removeprefix("file://")).expanduser()
    if isinstance(uri, Path) and not hasattr(uri, "fs"):
        return uri
    return None


def write_bytes(uri: Any, data: bytes) -> str:
    """Write a file, atomically on a local disk.

    :param uri: a path, a URI that fsspec opens, or a path object with ``open``
    :param data: content of the file
    :return: where it was written
    """
    path = local_path(uri)
    if path is None:
        with _open(uri, "wb") as file:
            file.write(data)
        return str(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return str(uri)


def read_bytes(uri: Any, *, first: int | None = None) -> bytes:
    """Read a whole file, or its beginning.

    :param uri: a path, a URI that fsspec opens, or a path object with ``open``
    :param first: number of bytes to read; None for the whole file
    :raises QueryError: when the file does not exist, cannot be read, or is larger than :data:`MAX_BYTES` (256 MiB; reason
        ``too_large``)
    """
    path = local_path(uri)
    try:
        with path.open("rb") if path is not None else _open(uri, "rb") as file:
            data = file.read(first) if first is not None else _read_up_to(file, MAX_BYTES + 1)
    except FileNotFoundError:
        raise QueryError(f"{uri} does not exist", reason="not_found") from None
    except OSError as error:
        raise QueryError(f"{uri} cannot be read: {server_text(error)}", reason="unreadable", transient=path is None) from None
    if len(data) > MAX_BYTES:
        raise QueryError(f"{uri} is larger than {MAX_BYTES >> 20} MiB: is this the right file?", reason="too_large")
    return bytes(data)


def _read_up_to(file: Any, size: int) -> bytearray:
    """Read in pieces, because ``read(size)`` would allocate ``size`` bytes at once."""
    data = bytearray()
    while len(data) < size and (part := file.read(_PIECE)):
        data += part
    return data


def _open(uri: Any, mode: str) -> Any:
    if hasattr(uri, "open"):
        return uri.open(mode)
    import fsspec

    return fsspec.open(uri, mode)
