"""Open the ledger that Airflow's configuration names, and build the ledger key of a task instance."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import URL

    from airflow_slo_provider.ledger import Ledger, RunKey

log = logging.getLogger(__name__)


def open_default_ledger(*, for_display: bool = False) -> Ledger:
    """Open the configured ledger for the configured environment.

    ``[slo] ledger_conn_id`` (an Airflow connection) takes precedence over ``[slo] ledger_url`` (a SQLAlchemy URL); without both
    it is ``slo_ledger.db`` in ``AIRFLOW_HOME``. That file is rejected if tasks may run on several machines, because each
    machine would have its own ledger and would not see the freezes of the others.

    :param for_display: whether the ledger is only displayed, on a page or in a shell, and no decision depends on it
    :raises LedgerError: if it cannot be opened; reason ``not_shared`` if it is a file that other workers do not see
    """
    problem = "" if for_display else unshared_ledger()
    if problem:
        from airflow_slo_provider.exceptions import LedgerError

        raise LedgerError(problem, reason="not_shared")
    opened = open_for_tasks(default_ledger_url())
    if not for_display and opened.is_file:
        _warn_of_unshared_file(opened.where)
    return opened


def open_for_tasks(url: str | URL) -> Ledger:
    """Open a ledger in the configured environment; in a test run, as a test.

    :param url: SQLAlchemy URL of the ledger
    :raises LedgerError: if it cannot be opened
    """
    from airflow_slo_provider.ledger import open_ledger
    from airflow_slo_provider.runtime.executors import is_test_run

    return open_ledger(url, environment=environment(), test_run=is_test_run())


def environment() -> str:
    """Return the environment of this Airflow's rows in the ledger: ``[slo] environment``, empty if it is not set."""
    from airflow.sdk import conf

    return str(conf.get("slo", "environment", fallback="") or "").strip()


def unshared_ledger() -> str:
    """Return why workers do not share the ledger, and what to do; empty if they do or may do."""
    from airflow_slo_provider.runtime.executors import other_machines

    why = "" if _is_configured() else other_machines()
    if not why:
        return ""
    return (
        f"the ledger is the file {_own_file().database} of this machine, and tasks may run on other machines ({why}), which "
        "would not see what is recorded here. Set [slo] ledger_conn_id or [slo] ledger_url to a database that all workers, the "
        "triggerer and the API server reach: see docs/production.md, The ledger on PostgreSQL"
    )


def _is_configured() -> bool:
    from airflow.sdk import conf

    return any(conf.get("slo", option, fallback=None) for option in ("ledger_conn_id", "ledger_url"))


@cache
def _warn_of_unshared_file(where: str) -> None:
    """Warn once that several machines may not share the file, which cannot be detected from one of them."""
    from airflow_slo_provider.runtime.executors import other_machines

    if why := other_machines():
        advice = "A SQLite file is shared only if all of them run on one machine after all; use PostgreSQL"
        log.warning("The ledger is the SQLite file %s, and tasks may run on several machines (%s). %s", where, why, advice)


def _own_file() -> URL:
    """Return the URL of the ledger that is used if none is configured."""
    import os

    from airflow_slo_provider.ledger.engine import default_url

    return default_url(os.environ.get("AIRFLOW_HOME") or "~/airflow")


def default_ledger_url() -> str | URL:
    """Return the URL of the ledger that :func:`open_default_ledger` opens. It may hold a password: do not log it.

    :raises LedgerError: for a relative path of a SQLite file, and for a wrong connection
    """
    from airflow.sdk import conf

    conn_id = conf.get("slo", "ledger_conn_id", fallback=None)
    if conn_id:
        url: str | URL = connection_url(conn_id)
        _require_absolute(url, f"connection {conn_id}, [slo] ledger_conn_id")
        return url
    url = conf.get("slo", "ledger_url", fallback=None)
    if not url:
        return _own_file()
    _require_absolute(str(url), "[slo] ledger_url")
    return str(url)


def _require_absolute(url: str | URL, where: str) -> None:
    """Reject a relative path of a SQLite file, because processes with different working directories would use different ledgers.

    :raises LedgerError: for a SQLite file whose path is not absolute
    """
    import os

    from airflow_slo_provider.exceptions import LedgerError
    from airflow_slo_provider.ledger.engine import parse_url

    parsed = parse_url(url)
    file = (parsed.database or "").removeprefix("file:")
    if parsed.get_backend_name() == "sqlite" and not os.path.isabs(file):
        raise LedgerError(
            f"{where} names the SQLite file {file or '(none)'}, which is another one in each working directory; write an "
            "absolute path: four slashes in a URL (sqlite:////var/lib/airflow/slo_ledger.db), or the host of a connection",
            reason="relative_path",
        )


def connection_url(conn_id: str) -> URL:
    """Return the SQLAlchemy URL of an Airflow connection.

    :param conn_id: the Airflow connection
    :raises LedgerError: if there is no such connection, or its hook has no SQLAlchemy URL
    """
    from airflow.sdk import BaseHook
    from sqlalchemy import URL, make_url

    from airflow_slo_provider.core.redaction import server_text
    from airflow_slo_provider.exceptions import LedgerError

    try:
        connection = BaseHook.get_connection(conn_id)
        if connection.conn_type == "sqlite":
            return URL.create("sqlite", database=connection.host or connection.schema)
        hook: Any = connection.get_hook()  # type: ignore[no-untyped-call]
    except Exception as error:  # no such connection, or no hook for its type
        raise LedgerError(
            f"connection {conn_id}, where the ledger is, cannot be used ({type(error).__name__}: {server_text(error)})",
            reason="bad_connection",
        ) from None
    try:
        url: URL = hook.sqlalchemy_url
    except (NotImplementedError, AttributeError):
        try:
            url = make_url(hook.get_uri())
        except Exception:  # the error's text may hold the password
            raise LedgerError(
                f"connection {conn_id} of type {connection.conn_type} has no SQLAlchemy URL; "
                "use a SQLite or PostgreSQL connection, or [slo] ledger_url",
                reason="bad_url",
            ) from None
    if url.get_backend_name() == "postgresql":
        # The hook's URL lacks the options that get_conn() takes from the extra, e.g. sslmode.
        ignored = set(getattr(hook, "ignored_extra_options", ()))
        extra = {key: str(value) for key, value in connection.extra_dejson.items() if key not in ignored}
        url = url.update_query_dict(extra)
    return url


def environment_text(ledger: Ledger) -> str:
    """Describe the environment of a ledger for a log line, and whether this is a test run; empty for neither.

    :param ledger: the ledger
    """
    text = f", environment {ledger.environment}" if ledger.environment else ""
    return f"{text}; this is a test run, which is ignored everywhere else" if ledger.test_run else text


def run_key(context: Mapping[str, Any]) -> RunKey:
    """Return the ledger key of the task instance of a context.

    :param context: Airflow's task context
    """
    from airflow_slo_provider.ledger import RunKey

    instance = context["ti"]
    index = -1 if instance.map_index is None else instance.map_index
    uuid = str(getattr(instance, "id", None) or "")
    return RunKey(instance.dag_id, instance.run_id, instance.task_id, index, instance.try_number, instance=uuid)


def map_label(context: Mapping[str, Any]) -> dict[str, str]:
    """Return the rendered ``map_index_template`` of a mapped task as evidence; empty if there is none.

    :param context: Airflow's task context
    """
    from airflow_slo_provider.ledger.mapped_task_names import LABEL

    label = getattr(context["ti"], "rendered_map_index", None)
    return {LABEL: label} if isinstance(label, str) and label else {}
