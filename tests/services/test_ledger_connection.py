"""The ledger and a SQL indicator through one Airflow connection to a real PostgreSQL."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from airflow_slo_provider.runtime.connections.sql import sql_source
from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from tests.services.postgres import PASSWORD, USER, PostgresServer
from tests.unit.indicators.sql_builders import HOUR, T0, ratio, request_of
from tests.unit.ledger.builders import check, key


def test_one_connection_serves_ledger_and_indicators(
    postgres: PostgresServer, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{postgres.port}/{postgres_database}?sslmode=prefer"
    monkeypatch.setenv("AIRFLOW_CONN_SLO_PG", uri)
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_CONN_ID", "slo_pg")
    with open_default_ledger() as ledger:
        assert ledger.where == f"postgresql://127.0.0.1:{postgres.port}/{postgres_database}"
        for number in range(4):
            ledger.record([check(at=T0, verdict="fail" if number == 0 else "pass")], key(f"r{number}"))
    query = (
        "SELECT COUNT(*) FILTER (WHERE verdict = 'pass') AS good, COUNT(*) AS total FROM checks "
        "WHERE checked_at >= extract(epoch FROM :date_from) * 1000000 AND checked_at < extract(epoch FROM :date_to) * 1000000"
    )
    (answer,) = sql_source("slo_pg").measure([request_of(ratio(query), T0, T0 + HOUR)])
    assert isinstance(answer, Measurement), answer
    assert (answer.good, answer.total) == (3, 4)
    with postgres.connect(postgres_database) as connection:
        open_now = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert open_now.fetchone() == (0,)
