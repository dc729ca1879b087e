"""Calls that the runner makes to drivers whose databases are not available here."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.sql.runner import DbApiRunner


class Driver:
    """A connection and its cursor; remembers what it was asked."""

    description = (("n",),)

    def __init__(self, *, rollback: Exception | None = None, failing: str = "") -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._rollback, self._failing = rollback, failing

    def cursor(self) -> Driver:
        return self

    def execute(self, *arguments: Any) -> None:
        self.asked.append(arguments)
        if self._failing and self._failing in arguments[0]:
            raise ConnectionResetError("gone")

    def fetchall(self) -> list[tuple[int]]:
        return [(1,)]

    def rollback(self) -> None:
        self.asked.append(("ROLLBACK",))
        if self._rollback is not None:
            raise self._rollback

    def close(self) -> None:
        pass


def runner(driver: Driver, dialect: str) -> DbApiRunner:
    return DbApiRunner(driver, dialect=dialect, name="the warehouse", windowed=False, limited=False)


@pytest.mark.parametrize(("dialect", "asked"), [("snowflake", ("SELECT 7 % 2",)), ("postgresql", ("SELECT 7 %% 2", ()))])
def test_run_without_parameters_keeps_percent_signs(dialect: str, asked: tuple[Any, ...]) -> None:
    """A driver takes the doubled signs back only where it is given parameters; psycopg then refuses a second statement."""
    driver = Driver()
    assert runner(driver, dialect)("SELECT 7 % 2", {}) == (["n"], [(1,)])
    assert asked in driver.asked


def test_run_without_transactions_answers() -> None:
    driver = Driver(rollback=NotImplementedError("BigQueryConnection does not have transactions"))
    assert runner(driver, "bigquery")("SELECT 1", {}) == (["n"], [(1,)])


def test_run_after_failed_statement_begins_a_new_transaction() -> None:
    driver = Driver(failing="wrong")
    run = runner(driver, "postgresql")
    with run.session():
        with pytest.raises(QueryError, match="ConnectionResetError: gone; query: SELECT wrong; asked: the warehouse") as caught:
            run("SELECT wrong", {})
        assert caught.value.transient
        before = len(driver.asked)
        run("SELECT 2", {})
    assert [text for text, *_ in driver.asked[before : before + 2]] == [
        "ROLLBACK", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    ]  # fmt: skip
