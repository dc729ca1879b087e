"""Names of groups: for people, and one for each group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from airflow_slo_provider.core.redaction import redact


def plain_name(cells: Sequence[object]) -> str:
    """Write what makes a group as one name: ``DE/2026-11-24``."""
    return "/".join("NULL" if cell is None else str(cell) for cell in cells)


def redacted_cell(cell: object) -> object:
    """Return a label or a column without a secret: names of groups go into logs, XCom and the ledger."""
    text = str(cell)
    shown = redact(text, limit=None)
    return cell if shown == text else shown


def by_name(
    rows: Iterable[tuple[Sequence[object], datetime | None]], *, twice: Callable[[str], Exception]
) -> dict[str, datetime | None]:
    """Return the moment of each group by its name. Groups that would share a plain name are quoted: ``'x/y'/'z'``.

    :param rows: what makes the group (columns, labels), and its moment
    :param twice: makes the error of a group that comes twice
    """
    groups: dict[tuple[str, ...], tuple[str, datetime | None]] = {}
    for cells, moment in rows:
        # By its text, since a database may answer a list, which is no key.
        cells = [cell if cell is None or isinstance(cell, int | float) else redacted_cell(cell) for cell in cells]
        key, plain = tuple("NULL" if cell is None else repr(cell) for cell in cells), plain_name(cells)
        if key in groups:
            raise twice(plain)
        groups[key] = (plain, moment)
    often = Counter(plain for plain, _ in groups.values())
    named: dict[str, datetime | None] = {}
    for key, (plain, moment) in groups.items():
        name = plain if often[plain] == 1 else "/".join(key)
        if name in named:
            raise twice(name)
        named[name] = moment
    return named
