"""Connect to the ledger's database, run transactions, and convert database errors to LedgerError."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from airflow_slo_provider.core.database_faults import DatabaseFault, classify
from airflow_slo_provider.core.redaction import remember
from airflow_slo_provider.exceptions import LedgerError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

#: How long a writer waits for the lock. Writes take milliseconds; a longer wait means that the lock's holder is stuck.
LOCK_WAIT_SECONDS = 30
CONNECT_SECONDS = 10
READ_SECONDS = 60


def parse_url(url: str | URL) -> URL:
    """Parse a database URL.

    :raises LedgerError: when it is invalid, or names an in-memory database. The message omits the URL, which may hold a password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise LedgerError(
            "the ledger's URL is not a database URL; write e.g. sqlite:////var/lib/airflow/slo_ledger.db or "
            "postgresql://user:password@host/database, with special characters in the password percent-encoded",
            reason="bad_url",
        ) from None
    if parsed.get_backend_name() == "sqlite":
        name = parsed.database or ""
        memory = name in ("", ":memory:", "file:", "file::memory:") or "memory" in parsed.query.get("mode", "")
        if memory or parsed.query.get("vfs") == "memdb":
            raise LedgerError("an in-memory ledger is lost when the process ends; set a file", reason="bad_url")
    if parsed.drivername in ("postgres", "postgresql"):
        # SQLAlchemy's default driver differs between 2.0 and 2.1; use the installed one.
        parsed = parsed.set(drivername="postgresql+psycopg" if find_spec("psycopg") else "postgresql+psycopg2")
    remember(str(parsed.password or ""))
    return parsed


def describe(url: URL) -> str:
    """Return a readable name of a database, without user, password and query parameters."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{url.host or ''}{port}/{url.database or ''}"


def make_engine(url: URL) -> Engine:
    """Create the SQLAlchemy engine of a ledger.

    :raises LedgerError: when the driver is not installed, or SQLite's directory does not exist
    """
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import NoSuchModuleError

    backend = url.get_backend_name()
    if backend == "sqlite":
        _require_directory(url)
    arguments: dict[str, dict[str, Any]] = {
        "sqlite": {"timeout": LOCK_WAIT_SECONDS},
        "postgresql": {"connect_timeout": CONNECT_SECONDS, "application_name": "airflow-slo-provider"},
    }
    pre_ping, connect_args = backend != "sqlite", arguments.get(backend, {})
    try:
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=pre_ping, connect_args=connect_args)
    except (ImportError, NoSuchModuleError) as error:
        message = f"no driver for {url.drivername} is installed: {redact_password(str(error), url)}"
        raise LedgerError(message, reason="no_driver") from None
    if backend == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _require_directory(url: URL) -> None:
    name = str(url.database)
    if name.startswith("file:"):
        return
    directory = Path(name).resolve().parent
    if not directory.is_dir():
        message = f"ledger {name}: directory {directory} does not exist; create it or change [slo] ledger_url"
        raise LedgerError(message, reason="no_directory")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Disable the driver's implicit transactions, and enable WAL, so that readers are not blocked by a writer."""
    connection.isolation_level = None
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    # Unlike other statements, changing the journal mode does not wait for locks, so wait here.
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
                break  # the file system does not support WAL: the rollback journal is as correct, only slower
        except Exception as error:
            if not classify(error).transient or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later can fail however long it waits, so a writer takes the lock at once.
    writes = connection.get_execution_options().get("slo_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction(
    engine: Engine, url: URL, *, writes: bool, schema: int | None = None, patient: bool = False
) -> Iterator[Connection]:
    """Open one transaction; every database error is converted to a LedgerError.

    :param engine: engine of the database
    :param url: URL of the database, for messages
    :param writes: whether it will write; such a transaction waits at most :data:`LOCK_WAIT_SECONDS` for the lock
    :param schema: the schema version that the ledger was opened with; a ledger migrated since then is neither read nor written
    :param patient: whether a statement may take longer than :data:`READ_SECONDS`, for commands run in a shell
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with engine.connect() as plain:
            connection = plain.execution_options(slo_writes=writes)
            with connection.begin():
                if url.get_backend_name() == "postgresql":
                    connection.exec_driver_sql(_settings(writes=writes, patient=patient))
                if schema is not None:
                    _require_schema(connection, url, schema)
                yield connection
                if schema is not None and writes and url.get_backend_name() != "sqlite":
                    # Checked under the lock, since a migration may have been committed just before. On SQLite only one
                    # transaction writes at a time.
                    _require_schema(connection, url, schema)
    except SQLAlchemyError as error:
        # Not chained: the driver's message may contain the password, and a traceback would print it.
        raise ledger_error(error, url) from None


def _settings(*, writes: bool, patient: bool) -> str:
    """Return the statement that sets PostgreSQL's options for one transaction."""
    if writes:
        return f"SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'"
    limit = "0" if patient else f"{READ_SECONDS}s"
    # JIT compilation takes seconds for queries with a high estimated cost, while their index lookups take milliseconds.
    return f"SELECT set_config('statement_timeout', '{limit}', true), set_config('jit', 'off', true)"


def _require_schema(connection: Connection, url: URL, schema: int) -> None:
    found = connection.exec_driver_sql("SELECT MAX(version) FROM slo_ledger_schema").scalar()
    if found != schema:
        changed = f"ledger {describe(url)} has schema {found} now, and this process opened it with schema {schema}"
        message = f"{changed}: restart the process, with the same airflow-slo-provider as the others"
        raise LedgerError(message, reason="other_schema", transient=True)


_ADVICE = {
    "locked": "another process kept it locked for too long; the task may be retried",
    "read_only": "it is read-only for this user; make the file and its directory writable for the user that runs Airflow",
    "cannot_open": "the file cannot be opened; check that it and its directory belong to the user that runs Airflow",
    "disk_full": "there is no space left; free some and retry",
    "not_a_database": "the file is not a SQLite database; name another file",
    "corrupt": "the database is damaged; restore it from a backup",
    "connection": "the server could not be reached; the task may be retried",
    "timeout": "the database did not answer in time; the task may be retried",
    "access_denied": "the server refused the login or the right to use the table; check the connection",
}


def ledger_error(error: Exception, url: URL) -> LedgerError:
    """Convert a database error to a LedgerError with a message without credentials."""
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    original = getattr(error, "orig", None) or error
    fault = DatabaseFault("timeout", True) if isinstance(error, PoolTimeout) else classify(original)
    advice = _ADVICE.get(fault.reason, "the database refused a statement")
    details = f"{type(original).__name__}: {' '.join(redact_password(str(original), url).split())}"
    return LedgerError(f"ledger {describe(url)}: {advice} ({details})", reason=fault.reason, transient=fault.transient)


def redact_password(text: str, url: URL) -> str:
    """Redact the password in a driver's message, plain or percent-encoded."""
    secrets = [str(url.password)] if url.password else []
    secrets += [value for key, value in url.query.items() if "pass" in key.lower() and isinstance(value, str)]
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}:
            text = text.replace(form, "***")
    return text


def default_url(directory: str | os.PathLike[str]) -> URL:
    """Return the URL of the default ledger: the SQLite file ``slo_ledger.db`` in a directory."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(Path(directory).expanduser().resolve() / "slo_ledger.db"))
