"""Classification of the exceptions of database drivers."""

from __future__ import annotations

import sqlite3

import pytest

from airflow_slo_provider.core.database_faults import DatabaseFault, classify


class OperationalError(Exception):
    """As every DB-API driver has one."""


class ProgrammingError(Exception):
    """As every DB-API driver has one."""


def _with(attribute: str, value: str) -> Exception:
    error = OperationalError("x")
    setattr(error, attribute, value)
    return error


@pytest.mark.parametrize(
    ("error", "reason", "transient"),
    [
        (TimeoutError(), "timeout", True),
        (ConnectionRefusedError(), "connection", True),
        (OSError("no route"), "connection", True),
        (OperationalError("connection refused"), "connection", True),
        (OperationalError('FATAL:  password authentication failed for user "x"'), "access_denied", False),
        (OperationalError('FATAL:  database "x" does not exist'), "access_denied", False),
        (OperationalError(2003, "Can't connect"), "connection", True),
        (OperationalError(1045, "Access denied"), "access_denied", False),
        (OperationalError(1054, "Unknown column"), "bad_query", False),
        (ProgrammingError("syntax"), "bad_query", False),
        (ValueError("x"), "bad_query", False),
        (_with("sqlstate", "57014"), "timeout", True),
        (_with("sqlstate", "57P01"), "connection", True),
        (_with("sqlstate", "08006"), "connection", True),
        (_with("sqlstate", "53300"), "resources", True),
        (_with("sqlstate", "40P01"), "conflict", True),
        (_with("sqlstate", "55P03"), "locked", True),
        (_with("sqlstate", "25006"), "read_only", False),
        (_with("sqlstate", "42501"), "access_denied", False),
        (_with("sqlstate", "28P01"), "access_denied", False),
        (_with("pgcode", "42P01"), "bad_query", False),
        (_with("sqlite_errorname", "SQLITE_BUSY_SNAPSHOT"), "locked", True),
        (_with("sqlite_errorname", "SQLITE_READONLY_DBMOVED"), "read_only", False),
        (_with("sqlite_errorname", "SQLITE_ERROR"), "bad_query", False),
    ],
)
def test_classify_driver_errors_by_reason(error: Exception, reason: str, transient: bool) -> None:
    assert classify(error) == DatabaseFault(reason, transient)


def test_classify_errors_of_sqlite() -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(":memory:").execute("SELECT * FROM nowhere")
    assert classify(caught.value) == DatabaseFault("bad_query", False)
