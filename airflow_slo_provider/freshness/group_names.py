"""Build readable and unique names of groups from their columns or labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from airflow_slo_provider.core.redaction import redact


def join_cells(cells: Sequence[object]) -> str:
    """Join the columns or labels of a group into one name: ``DE/2026-11-24``."""
    return "/".join("NULL" if cell is None else str(cell) for cell in cells)


def redact_cell(cell: object) -> object:
    """Redact secrets in a label or column: names of groups go into logs, XCom and the ledger."""
    text = str(cell)
    redacted = redact(text, limit=None)
    return cell if redacted == text else redacted


def name_groups(
    rows: Iterable[tuple[Sequence[object], datetime | None]], *, repeated: Callable[[str], Exception]
) -> dict[str, datetime | None]:
    """Return the timestamp of each group by name. Groups that would share a plain name are quoted: ``'x/y'/'z'``.

    :param rows: the columns or labels of each group, and its timestamp
    :param repeated: builds the error for a group that occurs twice
    """
    groups: dict[tuple[str, ...], tuple[str, datetime | None]] = {}
    for cells, timestamp in rows:
        # Converted to text, since a database may return a list, which is not hashable.
        cells = [cell if cell is None or isinstance(cell, int | float) else redact_cell(cell) for cell in cells]
        key, plain = tuple("NULL" if cell is None else repr(cell) for cell in cells), join_cells(cells)
        if key in groups:
            raise repeated(plain)
        groups[key] = (plain, timestamp)
    counts = Counter(plain for plain, _ in groups.values())
    named: dict[str, datetime | None] = {}
    for key, (plain, timestamp) in groups.items():
        name = plain if counts[plain] == 1 else "/".join(key)
        if name in named:
            raise repeated(name)
        named[name] = timestamp
    return named
