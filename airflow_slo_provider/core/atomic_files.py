"""Replace local files atomically."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Replace a local file atomically: a reader sees either the old or the new content.

    :param path: the file
    :param content: the new content
    :raises OSError: when it cannot be written; the old content stays
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:  # e.g. the disk is full: an incomplete draft must not take up space
        draft.unlink(missing_ok=True)
        raise
