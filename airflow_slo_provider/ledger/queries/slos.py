"""Query SLO results for the SLO pages. An SLO is identified by service and name, since several teams may use one name.

Names are found by stepping through an index, and so are the services of each name: one lookup per SLO, however many checks there
are, and however rarely an SLO is checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.ledger.queries import sql_text as sql
from airflow_slo_provider.ledger.records import Recorded, from_microseconds, from_row, service_column
from airflow_slo_provider.results import Verdict

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.store import Ledger

#: Maximum number of SLOs to read; an SLO checked by several DAGs counts once per DAG.
MOST_SLOS = 20_000
#: All services of the names, all groups of the services, and the same for each of some DAGs.
_SERVICES = sql.values_of("service", "services", "found", "name")
_SERVICES_OF_DAGS = sql.values_of("service", "services", "found", "dag_id", "name")
_GROUPS = sql.values_of("labels", "slos", "services", "name", "service")
_GROUPS_OF_DAGS = sql.values_of("labels", "slos", "services", "dag_id", "name", "service")
_NAME_OF_DAGS = "found(dag_id, name) AS (SELECT dags.dag_id, names.name FROM dags CROSS JOIN names)"
_SAME_SLO = "c.kind = :kind AND c.name = slos.name AND c.service = slos.service AND c.labels = slos.labels"


class SLOSample(NamedTuple):
    """The last check of a time slice, with only the fields that a small chart needs."""

    slo: SLOKey
    dag_id: str
    checked_at: datetime
    verdict: Verdict
    value: float | None
    field: float | None


def newest(
    ledger: Ledger, *, name: str | None = None, dags: Collection[str] | None = None, limit: int = MOST_SLOS
) -> list[Recorded]:
    """Return the newest check of each SLO, ordered by name and service, except those more than a day in the future.

    :param ledger: the ledger
    :param name: only SLOs of this name
    :param dags: only checks of these DAGs; None for all
    :param limit: maximum number of SLOs to read, counted separately for each DAG
    """
    if dags is not None and not dags:
        return []
    values: dict[str, Any] = {"kind": "slo", "limit": limit, "before": sql.latest_time()}
    tables, where = [sql.NAMES, _SERVICES, _GROUPS], f"{_SAME_SLO} AND c.checked_at < :before"
    if name is not None:
        tables[0] = sql.values_table("found", [(name,)], values, "name")
    if dags is not None:
        dag_table = sql.values_table("dags", [(dag,) for dag in dags], values, "dag_id")
        tables = [dag_table, sql.NAMES_OF_DAGS, _SERVICES_OF_DAGS, _GROUPS_OF_DAGS]
        if name is not None:
            tables[1] = f"{sql.values_table('names', [(name,)], values, 'name')}, {_NAME_OF_DAGS}"
        where += " AND c.dag_id = slos.dag_id"
    slos = "(SELECT * FROM slos WHERE labels IS NOT NULL LIMIT :limit) slos"
    statement = f"WITH RECURSIVE {', '.join(tables)} {sql.newest_of_each(ledger, sql.COLUMN_LIST, slos, where)}"
    rows = sql.read_rows(ledger, f"{statement} ORDER BY c.checked_at, c.id", values)
    # With several DAGs an SLO occurs once per DAG; the last one is the newest.
    found = {SLOKey.of(row.result): row for row in map(from_row, rows)}
    return sorted(found.values(), key=lambda row: (row.result.name, *SLOKey.of(row.result)))


def newest_with_value(ledger: Ledger, slos: Collection[SLOKey], *, dags: Collection[str] | None = None) -> list[Recorded]:
    """Return for each SLO the newest check with a value: the last known state before its source stopped reporting."""
    if not slos or (dags is not None and not dags):
        return []
    values: dict[str, Any] = {"kind": "slo", "before": sql.latest_time()}
    where = f"{_SAME_SLO} AND c.value IS NOT NULL AND c.checked_at < :before{sql.in_dags(dags, values)}"
    found = sql.newest_of_each(ledger, sql.COLUMN_LIST, "slos", where)
    return [from_row(row) for row in sql.read_rows(ledger, f"WITH {_slos_table(slos, values)} {found}", values)]


def samples(
    ledger: Ledger,
    slos: Collection[SLOKey],
    slices: Sequence[tuple[datetime, datetime]],
    *,
    field: str,
    dags: Collection[str] | None = None,
) -> list[SLOSample]:
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
        SLOSample(
            slo=SLOKey(row["service"], row["name"], row["labels"]),
            dag_id=row["dag_id"],
            checked_at=from_microseconds(row["checked_at"]),
            verdict=Verdict(row["verdict"]),
            value=row["value"],
            field=_to_number(row["field"]),
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
    return [from_row(row) for row in _last_of_slices(ledger, sql.COLUMN_LIST, [slo], slices, dags, {})]


def _last_of_slices(
    ledger: Ledger,
    columns: str,
    slos: Iterable[SLOKey],
    slices: Sequence[tuple[datetime, datetime]],
    dags: Collection[str] | None,
    values: dict[str, Any],
) -> list[dict[str, Any]]:
    values["kind"] = "slo"
    where = f"{_SAME_SLO} AND c.checked_at >= slices.low AND c.checked_at < slices.high{sql.in_dags(dags, values)}"
    found = sql.newest_of_each(ledger, columns, "slos CROSS JOIN slices", where)
    tables = f"{_slos_table(slos, values)}, {sql.slices_table(slices)}"
    return sql.read_rows(ledger, f"WITH {tables} {found} ORDER BY c.checked_at, c.id", values)


def _slos_table(slos: Iterable[SLOKey], values: dict[str, Any]) -> str:
    rows = [(service_column(slo.service), slo.name, slo.labels) for slo in slos]
    return sql.values_table("slos", rows, values, *SLOKey._fields)


def _to_number(value: Any) -> float | None:
    """Return a number of the evidence; None for any other type."""
    import math

    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
