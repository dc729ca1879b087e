"""Where Airflow says the ledger is, and how Airflow's SQL connections become indicators."""

from __future__ import annotations

import os
import sqlite3
import traceback
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_slo_provider.exceptions import LedgerError, MeasurementError, QueryError
from airflow_slo_provider.ledger import RunKey
from airflow_slo_provider.runtime.connections.sql import sql_source
from airflow_slo_provider.runtime.recording.ledger_connection import (
    connection_url,
    default_ledger_url,
    open_default_ledger,
    run_key,
)
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from tests.unit.indicators.sql_builders import HOUR, MINUTE, ONE_ROW, T0, ratio, request_of
from tests.unit.ledger.builders import check, key


def test_default_ledger_is_a_file_in_airflow_home() -> None:
    with open_default_ledger() as ledger:
        assert ledger.where == str(Path(os.environ["AIRFLOW_HOME"]).resolve() / "slo_ledger.db")
        ledger.record([check()], key())
        assert ledger.checks()


def test_ledger_url_is_read_from_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'a b.db'}")
    with open_default_ledger() as ledger:
        assert ledger.where == str(tmp_path / "a b.db")


@pytest.mark.parametrize("form", ["sqlite:///{path}", '{{"conn_type": "sqlite", "host": "{path}"}}'])
def test_ledger_connection_precedes_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", "sqlite:////nowhere/at/all.db")
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_CONN_ID", "slo_ledger")
    monkeypatch.setenv("AIRFLOW_CONN_SLO_LEDGER", form.format(path=tmp_path / "ledger.db"))
    with open_default_ledger() as ledger:
        ledger.record([check()], key())
    assert (tmp_path / "ledger.db").exists()


def test_postgres_connection_keeps_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", "postgresql://u:p%40s%3As%2F@db:5433/slo?sslmode=verify-full&sslrootcert=/ca.pem")
    url = connection_url("pg")
    assert (url.get_backend_name(), url.username, url.password, url.host, url.port, url.database) == (
        "postgresql",
        "u",
        "p@s:s/",
        "db",
        5433,
        "slo",
    )
    assert dict(url.query) == {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}


def test_connection_that_is_not_a_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WEB", "prometheus://u:hunter2@web:80/x")
    with pytest.raises(LedgerError, match="connection web of type prometheus has no SQLAlchemy URL") as ledger:
        connection_url("web")
    with pytest.raises(QueryError, match="connection web is of type prometheus, which is not a SQL database") as source:
        sql_source("web")
    for caught in (ledger, source):
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_unknown_connection_is_refused() -> None:
    with pytest.raises(LedgerError, match="connection nowhere, where the ledger is, cannot be used") as caught:
        connection_url("nowhere")
    assert not caught.value.transient


def test_error_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_CONN_ID", "pg")
    monkeypatch.setenv("AIRFLOW_CONN_PG", "postgresql://u:hunter2@127.0.0.1:1/slo")
    assert default_ledger_url() == connection_url("pg")
    with pytest.raises(LedgerError, match="could not be reached") as ledger:
        open_default_ledger()
    assert ledger.value.transient
    (answer,) = sql_source("pg").measure([request_of(ratio(ONE_ROW))])
    assert isinstance(answer, QueryError)
    assert (answer.reason, answer.transient, answer.source) == ("connection", True, "connection pg")
    for error in (ledger.value, answer):
        assert "hunter2" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(("map_index", "expected"), [(None, -1), (-1, -1), (0, 0), (7, 7)])
def test_run_key_is_read_from_the_task_instance(map_index: int | None, expected: int) -> None:
    instance = SimpleNamespace(dag_id="d", run_id="r", task_id="g.t", map_index=map_index, try_number=2)
    assert run_key({"ti": instance}) == RunKey("d", "r", "g.t", expected, 2)


def test_indicator_uses_an_airflow_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "requests.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE requests (ts TEXT, ok INTEGER)")
        rows = [((T0 + n * MINUTE).strftime("%Y-%m-%d %H:%M:%S"), n != 3) for n in range(10)]
        connection.executemany("INSERT INTO requests VALUES (?, ?)", rows)
    monkeypatch.setenv("AIRFLOW_CONN_LOG", f'{{"conn_type": "sqlite", "host": "{path}"}}')
    source = sql_source("log")
    for _ in range(2):
        first, second = source.measure([request_of(ratio(ONE_ROW)), request_of(ratio(ONE_ROW.replace("requests", "nowhere")))])
        assert isinstance(first, Measurement)
        assert (first.good, first.total) == (9, 10)
        assert isinstance(second, QueryError)
        assert second.reason == "bad_query"
    (slices,) = source.slices([request_of(ratio(ONE_ROW), T0, T0 + HOUR)], timedelta(minutes=5))
    assert not isinstance(slices, MeasurementError)
    assert [value and int(value.total or 0) for value in slices.values] == [5, 5, *[None] * 10]


@pytest.mark.parametrize("setting", ["sqlite:///slo.db", "sqlite:///file:slo.db?uri=true", "host"])
def test_relative_ledger_file_is_refused(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if setting == "host":
        monkeypatch.setenv("AIRFLOW_CONN_A_LEDGER", '{"conn_type": "sqlite", "host": "slo.db"}')
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_CONN_ID", "a_ledger")
    else:
        monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", setting)
    with pytest.raises(LedgerError, match="four slashes") as caught:
        open_default_ledger()
    assert (caught.value.reason, caught.value.transient) == ("relative_path", False)
