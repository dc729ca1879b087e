"""Replace a small shared file atomically, with a lock against concurrent writers if the storage has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOCAL = ("file", "local", "")


@contextmanager
def exclusive_lock(file: Any, *, writing: bool) -> Iterator[None]:
    """Lock a file against other writers on this machine between reading and writing it.

    Object stores and some network file systems have no such lock: of two concurrent writes, one is lost there.

    :param file: the path object
    :param writing: whether the file will be written; without it nothing is locked
    """
    if not writing or file.protocol not in _LOCAL:
        yield
        return
    import fcntl
    import os
    from contextlib import suppress

    directory = os.open(os.path.dirname(file.path) or ".", os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def replace_file(file: Any, text: str) -> None:
    """Replace a file as a whole if the storage supports it: readers see the old or the new document, never a partial one.

    :param file: the path object
    :param text: the new content
    """
    if file.protocol in _LOCAL:
        from pathlib import Path

        from airflow_slo_provider.core import atomic_files

        atomic_files.replace_file(Path(file.path), text.encode())
    else:  # an object store replaces an object when the upload is complete
        file.write_text(text)
