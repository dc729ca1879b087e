"""Shared builders of the ledger's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import event

from airflow_slo_provider.ledger import Ledger, RunKey
from airflow_slo_provider.ledger.schema.migration_4 import INDEXES
from airflow_slo_provider.results import CheckResult

T0 = datetime(2025, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def check(name: str = "availability", *, kind: str = "slo", at: datetime = T0, verdict: str = "pass", **more: Any) -> CheckResult:
    """Make a check."""
    return CheckResult(kind=kind, name=name, verdict=verdict, checked_at=at, **more)  # type: ignore[arg-type]


def key(run: str = "r1", **more: Any) -> RunKey:
    """Make a key."""
    return RunKey(**{"dag_id": "gate", "run_id": run, "task_id": "check", **more})


def downgrade(ledger: Ledger, to: int) -> None:
    """Make a ledger look as the release of an older schema left it, 2 or 3; its rows stay, as far as they fit."""
    with ledger._engine.execution_options(slo_writes=True).begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("DROP TRIGGER checks_older_writer")
        connection.exec_driver_sql("DROP TABLE slo_corrections")
        for index in INDEXES:
            connection.exec_driver_sql(f"DROP INDEX {index}")
        for column in ("instance", "environment", "labels", "test_run", "attempt", *(["service"] if to == 2 else [])):
            connection.exec_driver_sql(f"ALTER TABLE checks DROP COLUMN {column}")
        for index, columns in INDEXES.items():
            before = ", ".join(one for one in columns if one not in ("environment", "labels"))
            if to > 2 or "service" not in columns:
                connection.exec_driver_sql(f"CREATE INDEX {index} ON checks ({before})")
        connection.exec_driver_sql(f"DELETE FROM slo_ledger_schema WHERE version > {to}")


def explain(ledger: Ledger, ask: Any) -> list[str]:
    """Run something on a ledger, and return the query plan of each statement it really sent about checks."""
    sent: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, _many: Any) -> None:
        if "checks" in statement:
            sent.append((statement, parameters))

    event.listen(ledger._engine, "before_cursor_execute", note)
    try:
        ask(ledger)
    finally:
        event.remove(ledger._engine, "before_cursor_execute", note)
    explained = "EXPLAIN QUERY PLAN " if ledger._engine.dialect.name == "sqlite" else "EXPLAIN "
    plans = []
    with ledger._engine.connect() as connection:
        for statement, parameters in sent:
            rows = connection.exec_driver_sql(explained + statement, parameters).all()
            plans.append("\n".join(str(row[-1]) for row in rows))
    assert plans
    return plans
