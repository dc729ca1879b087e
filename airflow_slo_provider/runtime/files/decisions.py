"""Replacing a small file that others read and write: a whole document at a time, one writer at a time where that is possible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOCAL = ("file", "local", "")


@contextmanager
def alone(file: Any, *, writing: bool) -> Iterator[None]:
    """Keep others on this machine from writing between our reading and our writing.

    Object stores and some network file systems have no such lock: of two who write in the same moment, one is lost there.
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


def replace(file: Any, text: str) -> None:
    """Put a file in place as a whole where the storage can: a reader sees the old document or the new one, never half of one."""
    if file.protocol in _LOCAL:
        import os
        from pathlib import Path

        path = Path(file.path)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(text)
        draft.replace(path)
    else:  # an object store puts an object in place when it is complete
        file.write_text(text)
