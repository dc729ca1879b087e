"""Record and read corrections: time ranges with an explanation, e.g. planned maintenance, by SLO or by service."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.slo_key import labels_text
from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger.records import LENGTHS, LONGEST_SERVICE, from_microseconds, microseconds
from airflow_slo_provider.ledger.schema.tables import slo_corrections

if TYPE_CHECKING:
    from airflow_slo_provider.ledger.store import Ledger


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A time range with an explanation, of one SLO or of a service.

    :param service: the service
    :param name: the SLO; empty for all SLOs of the service
    :param labels: labels of the group, if the SLO is evaluated by group; empty for all groups
    :param starts: start of the range (aware)
    :param ends: end of the range, exclusive (aware)
    :param reason: the reason
    :param by: the author
    :param recorded_at: when it was recorded; None if it is not recorded yet
    :raises ValueError: for a naive timestamp, an end that is not after the start, or an empty reason
    """

    service: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    starts: datetime
    ends: datetime
    reason: str
    by: str = ""
    recorded_at: datetime | None = None

    def __post_init__(self) -> None:
        what = f"correction of {self.service}/{self.name or '*'}"
        for name, bound in (("starts", self.starts), ("ends", self.ends)):
            if bound.tzinfo is None:
                raise ValueError(f"{what}: {name} {bound} has no time zone")
        if self.ends <= self.starts:
            raise ValueError(f"{what}: it ends at {self.ends.isoformat()}, which is not after {self.starts.isoformat()}")
        if not self.service or not self.reason.strip():
            raise ValueError(f"{what}: a service and a reason are required")


def record_correction(ledger: Ledger, correction: Correction) -> None:
    """Record a correction. A correction of the same SLO and group with the same start is replaced.

    :param ledger: the ledger
    :param correction: the correction
    :raises LedgerError: when a name is longer than the ledger can index
    """
    from sqlalchemy import insert, update

    table, row = slo_corrections(), _to_row(ledger, correction)
    with ledger._transaction(writes=True) as connection:
        changed = connection.execute(update(table).where(table.c.identity == row["identity"]).values(**row))
        if not changed.rowcount:
            connection.execute(insert(table).values(**row))


def corrections(ledger: Ledger, start: datetime, end: datetime, *, service: str | None = None) -> list[Correction]:
    """Return the corrections that overlap a window, ordered by start.

    :param ledger: the ledger
    :param start: start of the window (aware)
    :param end: end of the window, exclusive (aware)
    :param service: only those of this service; by default of all services
    """
    from sqlalchemy import select

    table = slo_corrections()
    query = select(table).where(
        table.c.environment == ledger.environment,
        table.c.ends > microseconds(start, what="start"),
        table.c.starts < microseconds(end, what="end"),
    )
    if service is not None:
        query = query.where(table.c.service == service)
    with ledger._transaction() as connection:
        rows = connection.execute(query.order_by(table.c.starts, table.c.id)).mappings()
        return [_from_row(dict(row)) for row in rows]


def correction_identity(environment: str, service: str, name: str, labels: str, starts: int) -> str:
    """Return the unique key of a correction's row.

    :param environment: environment of the ledger
    :param service: the service
    :param name: the SLO; empty for all SLOs of the service
    :param labels: labels of the group, as written by :func:`.labels_text`
    :param starts: microseconds since 1970
    """
    return hashlib.sha256(json.dumps([environment, service, name, labels, starts]).encode()).hexdigest()


def _to_row(ledger: Ledger, correction: Correction) -> dict[str, Any]:
    labels, starts = labels_text(correction.labels), microseconds(correction.starts)
    row = {
        "identity": correction_identity(ledger.environment, correction.service, correction.name, labels, starts),
        "environment": ledger.environment,
        "service": correction.service,
        "name": correction.name,
        "labels": labels,
        "starts": starts,
        "ends": microseconds(correction.ends),
        "reason": correction.reason,
        "recorded_by": correction.by,
        "recorded_at": time.time_ns() // 1000,
    }
    for column, longest in {"service": LONGEST_SERVICE, "name": LENGTHS["name"], "labels": LENGTHS["labels"]}.items():
        length = len(str(row[column]))
        if length > longest:
            message = f"correction of {correction.service[:100]}: {column} has {length} characters, the ledger holds {longest}"
            raise LedgerError(message, reason="too_long")
    return row


def _from_row(row: Mapping[str, Any]) -> Correction:
    return Correction(
        service=row["service"],
        name=row["name"],
        labels=json.loads(row["labels"]) if row["labels"] else {},
        starts=from_microseconds(row["starts"]),
        ends=from_microseconds(row["ends"]),
        reason=row["reason"],
        by=row["recorded_by"],
        recorded_at=from_microseconds(row["recorded_at"]),
    )
