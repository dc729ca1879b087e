"""Classify the exceptions of any DB-API driver: the reason, and whether a retry may succeed.

No driver is imported, because drivers are optional.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import MeasurementError, QueryError

#: SQLSTATE prefixes [PostgreSQL 15 documentation, appendix A] -> reason and whether a retry may help.
_SQLSTATES: tuple[tuple[str, str, bool], ...] = (
    ("57014", "timeout", True),
    ("55P03", "locked", True),
    ("25006", "read_only", False),
    ("40", "conflict", True),
    ("08", "connection", True),
    ("53", "resources", True),
    ("57P", "connection", True),
    ("58", "server", True),
    ("28", "access_denied", False),
    ("3D", "access_denied", False),
    ("42501", "access_denied", False),
)

#: SQLite result codes [sqlite.org/rescode.html]; the longest matching prefix is listed first.
_SQLITE: tuple[tuple[str, str, bool], ...] = (
    ("SQLITE_BUSY", "locked", True),
    ("SQLITE_LOCKED", "locked", True),
    ("SQLITE_INTERRUPT", "timeout", True),
    ("SQLITE_FULL", "disk_full", True),
    ("SQLITE_READONLY", "read_only", False),
    ("SQLITE_CANTOPEN", "cannot_open", False),
    ("SQLITE_PERM", "cannot_open", False),
    ("SQLITE_NOTADB", "not_a_database", False),
    ("SQLITE_CORRUPT", "corrupt", False),
    ("SQLITE_IOERR", "disk", True),
)

#: MySQL reports these as OperationalError with the number first; its other OperationalErrors are wrong queries.
_MYSQL_TRANSIENT = frozenset({1040, 1053, 1158, 1159, 1160, 1161, 1205, 1213, 2002, 2003, 2005, 2006, 2013, 2055, 3024})
_MYSQL_ACCESS = frozenset({1044, 1045, 1049, 1142})

#: psycopg sets no SQLSTATE on a refused login, because no session was opened.
_LOGIN_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|(role|database) \".*\" does not exist", re.DOTALL
)


@dataclass(frozen=True)
class DatabaseFault:
    """The classification of a database error.

    :param reason: a stable slug: ``bad_query``, ``connection``, ``timeout``, ``locked``, ``access_denied``, ``read_only``, ...
    :param transient: whether the same statement may succeed later
    """

    reason: str
    transient: bool


def classify(error: BaseException) -> DatabaseFault:
    """Classify a driver's exception.

    :param error: an exception of a DB-API driver (PEP 249), or of the network below it
    :return: the reason, and whether the same statement may succeed later
    """
    if isinstance(error, TimeoutError):
        return DatabaseFault("timeout", True)
    if isinstance(error, ConnectionError):
        return DatabaseFault("connection", True)
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str) and state:
        return _by_prefix(state, _SQLSTATES)
    code = getattr(error, "sqlite_errorname", None)
    if isinstance(code, str) and code:
        return _by_prefix(code, _SQLITE)
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"OperationalError", "InterfaceError"}:
        number = error.args[0] if error.args else None
        if isinstance(number, int):
            if number in _MYSQL_TRANSIENT:
                return DatabaseFault("connection", True)
            return DatabaseFault("access_denied" if number in _MYSQL_ACCESS else "bad_query", False)
        if _LOGIN_REFUSED.search(str(error)):
            return DatabaseFault("access_denied", False)
        return DatabaseFault("connection", True)
    if isinstance(error, OSError):
        return DatabaseFault("connection", True)
    return DatabaseFault("bad_query", False)


def classify_connect_error(error: BaseException) -> DatabaseFault:
    """Classify an exception that was raised while a connection was opened; a query cannot be the cause.

    :param error: as for :func:`classify`
    """
    fault = classify(error)
    return DatabaseFault("bad_connection", fault.transient) if fault.reason == "bad_query" else fault


def database_error(error: Exception, *, query: str | None = None, source: str | None = None) -> MeasurementError:
    """Convert a driver's exception into a :class:`QueryError`.

    :param error: an exception of a driver (drivers have no common base class), or a :class:`MeasurementError`, which is
        returned itself with its missing ``query`` and ``source`` filled in
    :param query: the text of the statement
    :param source: name of the database, for messages
    """
    if isinstance(error, MeasurementError):
        error.source, error.query = error.source or source, error.query or query
        return error
    fault = classify(error)
    message = f"{type(error).__name__}: {server_text(error)}"
    return QueryError(message, reason=fault.reason, transient=fault.transient, query=query, source=source)


def _by_prefix(code: str, table: tuple[tuple[str, str, bool], ...]) -> DatabaseFault:
    for prefix, reason, transient in table:
        if code.startswith(prefix):
            return DatabaseFault(reason, transient)
    return DatabaseFault("bad_query", False)
