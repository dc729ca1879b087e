"""Query SLO results for the SLO pages. An SLO is identified by service and name, since several teams may use one name.

Names are found by stepping through an index, and so are the services of each name: one lookup per SLO, however many checks there
are, and however rarely an SLO is checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.ledger.queries.checks import (
    COLUMN_LIST,
    MOST_ROWS,
    NAMES,
    NAMES_OF_DAGS,
    before,
    in_dags,
    last,
    rows_of,
    spans,
    table_of,
)
from airflow_slo_provider.ledger.records import Recorded, moment, recorded_of, service_column
from airflow_slo_provider.results import Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.store import Ledger

#: Maximum number of SLOs to read; an SLO checked by several DAGs counts once per DAG.
MOST_PLACES = 4 * MOST_ROWS
#: All services of the found names.
_SERVICES = """
services(name, service) AS (
    SELECT f.name, (SELECT MIN(c.service) FROM visible_checks c WHERE c.kind = :kind AND c.name = f.name)
    FROM found f WHERE f.name IS NOT NULL
    UNION ALL
    SELECT services.name,
        (SELECT MIN(c.service) FROM visible_checks c
        WHERE c.kind = :kind AND c.name = services.name AND c.service > services.service)
    FROM services WHERE services.service IS NOT NULL
)"""
#: The same for each of some DAGs.
_SERVICES_OF_DAGS = """
services(dag_id, name, service) AS (
    SELECT f.dag_id, f.name,
        (SELECT MIN(c.service) FROM visible_checks c WHERE c.dag_id = f.dag_id AND c.kind = :kind AND c.name = f.name)
    FROM found f WHERE f.name IS NOT NULL
    UNION ALL
    SELECT services.dag_id, services.name,
        (SELECT MIN(c.service) FROM visible_checks c
        WHERE c.dag_id = services.dag_id AND c.kind = :kind AND c.name = services.name AND c.service > services.service)
    FROM services WHERE services.service IS NOT NULL
)"""
#: All groups of the found services.
_GROUPS = """
slos(name, service, labels) AS (
    SELECT s.name, s.service,
        (SELECT MIN(c.labels) FROM visible_checks c WHERE c.kind = :kind AND c.name = s.name AND c.service = s.service)
    FROM services s WHERE s.service IS NOT NULL
    UNION ALL
    SELECT slos.name, slos.service,
        (SELECT MIN(c.labels) FROM visible_checks c
        WHERE c.kind = :kind AND c.name = slos.name AND c.service = slos.service AND c.labels > slos.labels)
    FROM slos WHERE slos.labels IS NOT NULL
)"""
#: The same for each of some DAGs.
_GROUPS_OF_DAGS = """
slos(dag_id, name, service, labels) AS (
    SELECT s.dag_id, s.name, s.service,
        (SELECT MIN(c.labels) FROM visible_checks c
        WHERE c.dag_id = s.dag_id AND c.kind = :kind AND c.name = s.name AND c.service = s.service)
    FROM services s WHERE s.service IS NOT NULL
    UNION ALL
    SELECT slos.dag_id, slos.name, slos.service,
        (SELECT MIN(c.labels) FROM visible_checks c
        WHERE c.dag_id = slos.dag_id AND c.kind = :kind AND c.name = slos.name AND c.service = slos.service
            AND c.labels > slos.labels)
    FROM slos WHERE slos.labels IS NOT NULL
)"""
_PLACES = "found(dag_id, name) AS (SELECT dags.dag_id, names.name FROM dags CROSS JOIN names)"
_THIS = "c.kind = :kind AND c.name = slos.name AND c.service = slos.service AND c.labels = slos.labels"


class Sample(NamedTuple):
    """The last check of a time slice, with only the fields that a small chart needs."""

    slo: SLOKey
    dag_id: str
    checked_at: datetime
    verdict: Verdict
    value: float | None
    field: float | None


def newest(
    ledger: Ledger, *, name: str | None = None, dags: Collection[str] | None = None, limit: int = MOST_PLACES
) -> list[Recorded]:
    """Return the newest check of each SLO, ordered by name and service, except those more than a day in the future.

    :param ledger: the ledger
    :param name: only SLOs of this name
    :param dags: only checks of these DAGs; None for all
    :param limit: maximum number of SLOs to read, counted separately for each DAG
    """
    if dags is not None and not dags:
        return []
    values: dict[str, Any] = {"kind": "slo", "limit": limit, "before": before()}
    tables, where = [NAMES, _SERVICES, _GROUPS], f"{_THIS} AND c.checked_at < :before"
    if name is not None:
        tables[0] = table_of("found", [(name,)], values, "name")
    if dags is not None:
        tables = [table_of("dags", [(dag,) for dag in dags], values, "dag_id"), NAMES_OF_DAGS, _SERVICES_OF_DAGS, _GROUPS_OF_DAGS]
        if name is not None:
            tables[1] = f"{table_of('names', [(name,)], values, 'name')}, {_PLACES}"
        where += " AND c.dag_id = slos.dag_id"
    slos = "(SELECT * FROM slos WHERE labels IS NOT NULL LIMIT :limit) slos"
    rows = rows_of(
        ledger, f"WITH RECURSIVE {', '.join(tables)} {last(ledger, COLUMN_LIST, slos, where)} ORDER BY c.checked_at, c.id", values
    )
    # With several DAGs an SLO occurs once per DAG; the last one is the newest.
    found = {SLOKey.of(one.result): one for one in map(recorded_of, rows)}
    return sorted(found.values(), key=lambda row: (row.result.name, *SLOKey.of(row.result)))


def newest_with_value(ledger: Ledger, slos: Collection[SLOKey], *, dags: Collection[str] | None = None) -> list[Recorded]:
    """Return for each SLO the newest check with a value: the last known state before its source stopped reporting."""
    if not slos or (dags is not None and not dags):
        return []
    values: dict[str, Any] = {"kind": "slo", "before": before()}
    where = f"{_THIS} AND c.value IS NOT NULL AND c.checked_at < :before {in_dags(dags, values)}"
    rows = rows_of(ledger, f"WITH {_table(slos, values)} {last(ledger, COLUMN_LIST, 'slos', where)}", values)
    return [recorded_of(row) for row in rows]


def samples(
    ledger: Ledger,
    slos: Collection[SLOKey],
    slices: Sequence[tuple[datetime, datetime]],
    *,
    field: str,
    dags: Collection[str] | None = None,
) -> list[Sample]:
    """Return the last check of each SLO in each time slice, oldest first.

    :param ledger: the ledger
    :param slos: the SLOs
    :param slices: start and end (exclusive) of each slice
    :param dags: only checks of these DAGs; None for all
    :param field: name of a number in the evidence to return
    """
    if not slos or not slices or (dags is not None and not dags):
        return []
    values: dict[str, Any] = {"field": field}
    picked = "CAST(c.evidence AS json) ->> :field"
    if ledger._engine.dialect.name != "postgresql":
        picked, values["field"] = "json_extract(c.evidence, :field)", f'$."{field}"'
    columns = f"c.name, c.service, c.labels, c.dag_id, c.checked_at, c.verdict, c.value, {picked} AS field"
    return [
        Sample(
            SLOKey(row["service"], row["name"], row["labels"]),
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
    """Return the last check of an SLO in each time slice, oldest first, with full evidence.

    :param ledger: the ledger
    :param slo: the SLO
    :param slices: start and end (exclusive) of each slice
    :param dags: only checks of these DAGs; None for all
    """
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
    where = f"{_THIS} AND c.checked_at >= slices.low AND c.checked_at < slices.high {in_dags(dags, values)}"
    found = last(ledger, columns, "slos CROSS JOIN slices", where)
    return rows_of(ledger, f"WITH {_table(slos, values)}, {spans(slices)} {found} ORDER BY c.checked_at, c.id", values)


def _table(slos: Iterable[SLOKey], values: dict[str, Any]) -> str:
    return table_of("slos", [(service_column(slo.service), slo.name, slo.labels) for slo in slos], values, *SLOKey._fields)


def _number(value: Any) -> float | None:
    """Return a number of the evidence; None for any other type."""
    import math

    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
