"""What people look at of SLOs. An SLO is known by its service and its name: documents of several teams may use one name.

The service stands in the evidence, which no index knows. So rows are found by their name, as in
:mod:`airflow_slo_provider.ledger.browse`, and of a bounded number of them the service is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_slo_provider.ledger.browse import (
    COLUMN_LIST,
    FOUND,
    MOST_ROWS,
    NAMES_OF_DAGS,
    in_dags,
    last,
    rows_of,
    service_text,
    spans,
    table_of,
)
from airflow_slo_provider.ledger.records import Recorded, moment, recorded_of
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.slo_key import SLOKey

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.store import Ledger

#: So many of a DAG's newest checks of a name are asked for their services: gates beside each other in one DAG. Of names that
#: several services turn out to have it is the second number: mapped gates.
BREADTH, MOST_BREADTH = 8, 128
#: A name that several DAGs check counts once for each.
MOST_PLACES = 4 * MOST_ROWS
#: All DAGs, by stepping through the index.
_ALL_DAGS = """
dags(dag_id) AS (
    SELECT MIN(dag_id) FROM checks
    UNION ALL
    SELECT (SELECT MIN(c.dag_id) FROM checks c WHERE c.dag_id > dags.dag_id) FROM dags WHERE dags.dag_id IS NOT NULL
)"""
_PLACES = "found(dag_id, name) AS (SELECT dags.dag_id, names.name FROM dags CROSS JOIN names WHERE dags.dag_id IS NOT NULL)"


class Sample(NamedTuple):
    """The last check of a slice of time, without what a small chart does not need."""

    slo: SLOKey
    dag_id: str
    checked_at: datetime
    verdict: Verdict
    value: float | None
    field: float | None


def newest(
    ledger: Ledger, *, name: str | None = None, dags: Collection[str] | None = None, limit: int = MOST_PLACES
) -> list[Recorded]:
    """Return the newest check of each SLO, ordered by name and service.

    :param name: only those of that name
    :param limit: at most so many names are looked at, those of each DAG for themselves
    """
    if dags is not None and not dags:
        return []
    if name is not None:
        rows = _newest(ledger, [name], dags, limit, MOST_BREADTH)
    else:
        rows = _newest(ledger, (), dags, limit, BREADTH)
        shared = [one for one, services in Counter(row.result.name for row in rows).items() if services > 1]
        if shared:
            rows = [row for row in rows if row.result.name not in shared]
            rows += _newest(ledger, shared, dags, limit, MOST_BREADTH)
    return sorted(rows, key=lambda row: (row.result.name, SLOKey.of(row.result).service))


def _newest(ledger: Ledger, names: Sequence[str], dags: Collection[str] | None, limit: int, breadth: int) -> list[Recorded]:
    """The newest check of each SLO of some names, of all names where none is given."""
    values: dict[str, Any] = {"kind": "slo", "limit": limit, "breadth": breadth}
    ours = _ALL_DAGS if dags is None else table_of("dags", [(dag,) for dag in dags], values, "dag_id")
    theirs = NAMES_OF_DAGS
    if names:
        theirs = f"{table_of('names', [(one,) for one in names], values, 'name')}, {_PLACES}"
    where = "c.dag_id = found.dag_id AND c.kind = :kind AND c.name = found.name"
    seen = f"SELECT c.id FROM checks c WHERE {where} ORDER BY c.checked_at DESC, c.id DESC LIMIT :breadth"  # noqa: S608
    service = service_text(ledger)
    if ledger._engine.dialect.name == "postgresql":
        some = f"{FOUND} CROSS JOIN LATERAL ({seen.replace('c.id FROM', '* FROM')}) c"
        # The limit keeps it from reading the whole table for a join.
        whole = "placed CROSS JOIN LATERAL (SELECT * FROM checks c WHERE c.id = placed.id LIMIT 1) c"
    else:  # SQLite knows no LATERAL.
        some = f"{FOUND} CROSS JOIN checks c ON c.id IN ({seen})"
        whole = "placed JOIN checks c ON c.id = placed.id"
    place = f"ROW_NUMBER() OVER (PARTITION BY c.name, {service} ORDER BY c.checked_at DESC, c.id DESC) AS place"
    rows = rows_of(
        ledger,
        f"WITH RECURSIVE {ours}, {theirs}, placed AS (SELECT c.id, {place} FROM {some}) "  # noqa: S608 - only our own words
        f"SELECT {COLUMN_LIST} FROM {whole} WHERE placed.place = 1",
        values,
    )
    return [recorded_of(row) for row in rows]


def newest_with_value(ledger: Ledger, slos: Collection[SLOKey], *, dags: Collection[str] | None = None) -> list[Recorded]:
    """Return, for each SLO, the newest check that measured something: what was known before a source fell silent."""
    if not slos or (dags is not None and not dags):
        return []
    values: dict[str, Any] = {"kind": "slo"}
    where = f"c.kind = :kind AND c.name = slos.name AND c.value IS NOT NULL {in_dags(dags, values)}"
    found = last(ledger, COLUMN_LIST, "slos", where, service="slos.service")
    rows = rows_of(ledger, f"WITH {table_of('slos', slos, values, *SLOKey._fields)} {found}", values)
    return [recorded_of(row) for row in rows]


def samples(
    ledger: Ledger,
    slos: Collection[SLOKey],
    slices: Sequence[tuple[datetime, datetime]],
    *,
    field: str,
    dags: Collection[str] | None = None,
) -> list[Sample]:
    """Return the last check of each SLO in each slice of time, oldest first.

    :param slices: start and end (exclusive) of each
    :param field: a number of the evidence that comes along
    """
    if not slos or not slices or (dags is not None and not dags):
        return []
    values: dict[str, Any] = {"field": field}
    picked = "CAST(c.evidence AS json) ->> :field"
    if ledger._engine.dialect.name != "postgresql":
        picked, values["field"] = "json_extract(c.evidence, :field)", f'$."{field}"'
    columns = f"c.name, {service_text(ledger)} AS service, c.dag_id, c.checked_at, c.verdict, c.value, {picked} AS field"
    return [
        Sample(
            SLOKey(row["service"], row["name"]),
            row["dag_id"],
            moment(row["checked_at"]),
            Verdict(row["verdict"]),
            row["value"],
            _number(row["field"]),
        )
        for row in _last_of_slices(ledger, columns, slos, slices, dags, values)
    ]


def history(
    ledger: Ledger, slo: SLOKey, slices: Sequence[tuple[datetime, datetime]], *, dags: Collection[str] | None = None
) -> list[Recorded]:
    """Return the last check of an SLO in each slice of time, oldest first, with everything."""
    if not slices or (dags is not None and not dags):
        return []
    return [recorded_of(row) for row in _last_of_slices(ledger, COLUMN_LIST, [slo], slices, dags, {})]


def _last_of_slices(
    ledger: Ledger,
    columns: str,
    slos: Iterable[SLOKey],
    slices: Sequence[tuple[datetime, datetime]],
    dags: Collection[str] | None,
    values: dict[str, Any],
) -> list[dict[str, Any]]:
    values["kind"] = "slo"
    where = "c.kind = :kind AND c.name = slos.name AND c.checked_at >= slices.low AND c.checked_at < slices.high "
    found = last(ledger, columns, "slos CROSS JOIN slices", where + in_dags(dags, values), service="slos.service")
    tables = f"{table_of('slos', list(slos), values, *SLOKey._fields)}, {spans(slices)}"
    return rows_of(ledger, f"WITH {tables} {found} ORDER BY c.checked_at, c.id", values)


def _number(value: Any) -> float | None:
    """A number of evidence, which may hold anything."""
    import math

    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
