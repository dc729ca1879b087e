"""Data model of the ledger: keys of task instances, recorded checks, and the conversion of checks to rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from airflow_slo_provider.core.slo_key import SLOKey, labels_text
from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.results import CheckResult, Verdict

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

#: DAG id of rows written by ``airflow slo backfill``, which belong to no DAG.
BACKFILL = "airflow slo backfill"
#: Maximum length of each indexed text column. Checked here because SQLite would accept more than PostgreSQL.
LENGTHS: dict[str, int] = {
    "dag_id": 250, "run_id": 250, "task_id": 250, "kind": 100, "name": 500, "instance": 64, "environment": 100, "labels": 500,
}  # fmt: skip
LONGEST_SERVICE = 250
#: Columns that hold a number, a text or a time of a check under the same name.
_NUMBERS = ("value", "good", "total", "target")
_TEXTS = ("unit", "message", "model_version")
_TIMES = ("checked_at", "interval_start", "interval_end")


@dataclass(frozen=True)
class RunKey:
    """The task instance that a check belongs to.

    A check made outside of a run uses the key to name its origin, e.g. ``RunKey("cli", "2026-11-24T05:00:00Z", "status")``.

    :param map_index: index of a mapped task; -1 for an unmapped task
    :param try_number: the try that wrote the row; not part of the row's identity, so that a retry replaces its own row
    :param attempt: number of earlier completed decisions of this task instance, from 0: a cleared task decides again, and its
        earlier decision is kept
    :param environment: environment of the row; set by the ledger that writes it
    :param test_run: whether ``dag.test()`` or ``airflow tasks test`` wrote it; set by the ledger that writes it
    :param instance: Airflow's id of the try, greater for later tries; empty if unknown. A run that was deleted and created again
        has the same run id, and counts its tries from 1
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    attempt: int = 0
    environment: str = ""
    test_run: bool = False
    instance: str = field(default="", compare=False)

    def identity(self, kind: str, name: str, labels: str = "", service: str = "") -> str:
        """Return the unique key of this task instance's row for a check: a digest, which fits any database's index.

        :param kind: kind of the check
        :param name: name of the check
        :param labels: labels of the check, as written by :func:`.labels_text`
        :param service: service of the check, if the task instance records checks of several services under this name
        """
        parts: list[Any] = [self.dag_id, self.run_id, self.task_id, self.map_index, kind, name]
        more = [self.environment, labels, self.attempt, int(self.test_run)]
        if any(more) or service:  # rows of older releases without these fields keep the digest that they were written with
            parts += more
        if service:
            parts.append(service)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


_KEY_FIELDS = tuple(item.name for item in fields(RunKey))


@dataclass(frozen=True)
class Recorded:
    """One recorded check: a row of the ledger.

    :param number: the database's row number: of two rows, the later written one has the greater number, regardless of clocks
    :param stored_identity: the row's key as stored; empty if the record was not read from a ledger
    """

    result: CheckResult
    key: RunKey
    recorded_at: datetime
    number: int = field(default=0, compare=False)
    stored_identity: str = field(default="", compare=False)

    @property
    def identity(self) -> str:
        """The row's key, see :meth:`RunKey.identity`."""
        computed = self.key.identity(self.result.kind, self.result.name, labels_text(self.result.labels))
        return self.stored_identity or computed


class Point(NamedTuple):
    """The fields of a recorded check that an indicator needs."""

    checked_at: datetime
    verdict: Verdict
    value: float | None
    good: float | None
    total: float | None


def microseconds(time: datetime, *, what: str = "time") -> int:
    """Convert an aware datetime to microseconds since 1970 in UTC, exactly. The same integer in every database.

    :raises LedgerError: for a naive datetime
    """
    if time.tzinfo is None:
        raise LedgerError(f"{what} {time} has no time zone; use an aware datetime", reason="naive_time")
    # Airflow uses pendulum datetimes, whose difference is not a plain timedelta.
    plain = datetime.combine(time.date(), time.timetz())
    return (plain - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Convert microseconds since 1970 back to an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=value)


def to_rows(results: Iterable[CheckResult], key: RunKey, *, recorded_at: int) -> list[dict[str, Any]]:
    """Convert the checks of a task instance to rows; of two with the same identity the last one is kept.

    SLOs of several services may have the same name; only their rows have the service in their identity, so that all other rows
    keep the identity of older releases.

    :param results: the check results
    :param key: the task instance that recorded them
    :param recorded_at: microseconds since 1970
    :raises LedgerError: when an id or a name is longer than the ledger can index
    """
    rows = [to_row(result, key, recorded_at=recorded_at) for result in results]
    services: dict[str, set[str]] = {}
    for row in rows:
        services.setdefault(row["identity"], set()).add(row["service"])
    for row in rows:
        if len(services[row["identity"]]) > 1:
            row["identity"] = key.identity(row["kind"], row["name"], row["labels"], row["service"])
    return list({row["identity"]: row for row in rows}.values())


def to_row(result: CheckResult, key: RunKey, *, recorded_at: int) -> dict[str, Any]:
    """Convert a check to a row.

    :param result: the check result
    :param key: the task instance that recorded it
    :param recorded_at: microseconds since 1970
    :raises LedgerError: when an id or a name is longer than the ledger can index
    """
    labels = labels_text(result.labels)
    row: dict[str, Any] = {
        **{name: getattr(key, name) for name in _KEY_FIELDS},
        **{name: _to_number(getattr(result, name)) for name in _NUMBERS},
        **{name: _to_text(getattr(result, name)) for name in _TEXTS},
        **{name: None if (time := getattr(result, name)) is None else microseconds(time) for name in _TIMES},
        "identity": key.identity(result.kind, result.name, labels),
        "recorded_at": recorded_at,
        "kind": result.kind,
        "name": result.name,
        "verdict": result.verdict.value,
        "op": result.op,
        "evidence": json.dumps(_to_json(result.evidence), allow_nan=False),
        "result_version": result.schema_version,
        "service": service_column(SLOKey.of(result).service),
        "labels": labels,
        "test_run": int(key.test_run),
    }
    for column, longest in LENGTHS.items():
        length = len(row[column])
        if length > longest:
            message = f"check {result.kind}/{result.name}: {column} has {length} characters, the ledger holds {longest}"
            raise LedgerError(message, reason="too_long")
    return row


def service_column(service: str) -> str:
    """Truncate a service's name for its indexed column; the evidence holds the whole name."""
    return str(_to_text(service))[:LONGEST_SERVICE]


def from_row(row: Mapping[str, Any]) -> Recorded:
    """Convert a row to a recorded check."""
    values: dict[str, Any] = {name: row[name] for name in ("kind", "name", "op", *_NUMBERS, *_TEXTS)}
    for name in _TIMES:
        values[name] = None if row[name] is None else from_microseconds(row[name])
    result = CheckResult(
        **values,
        verdict=Verdict(row["verdict"]),
        evidence=json.loads(row["evidence"]),
        labels=json.loads(row["labels"]) if row["labels"] else {},
        schema_version=row["result_version"],
    )
    key = RunKey(**{**{name: row[name] for name in _KEY_FIELDS}, "test_run": bool(row["test_run"])})
    return Recorded(result, key, from_microseconds(row["recorded_at"]), row["id"], row["identity"])


def _to_number(value: Any) -> float | None:
    return None if value is None else float(value)


def _to_text(value: str | None) -> str | None:
    """Replace characters that a database rejects: PostgreSQL rejects NUL, UTF-8 lone surrogates; messages may contain both."""
    return None if value is None else value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _to_json(value: Any) -> Any:
    """Convert evidence to JSON types. Other values (Decimal, datetime, NaN) are kept as text."""
    if isinstance(value, Mapping):
        return {str(_to_text(str(key))): _to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_to_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    return _to_text(str(value))
