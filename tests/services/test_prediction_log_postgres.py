"""The prediction log in a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from airflow_slo_provider.tracing.prediction_log import Prediction, PredictionLog, read
from airflow_slo_provider.tracing.prediction_log.sinks import open_sink
from tests.services.postgres import PostgresServer

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_rows_go_in_once_and_come_back(postgres: PostgresServer, postgres_database: str):
    url = postgres.url(postgres_database)
    moment = datetime(2026, 11, 24, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    with PredictionLog(url, batch=50) as log:
        for number in range(120):
            log.write(
                request_id=f"r{number:03}", trace_id=TRACE, model_version="v1", prediction="a", latency=0.1,
                timestamp=moment + timedelta(seconds=number),
            )  # fmt: skip
    assert (log.written, log.dropped) == (120, 0)
    rows = read(url)
    assert rows[0] == Prediction("r000", TRACE, "v1", "a", 0.1, "ok", moment.astimezone(UTC))
    assert [row.request_id for row in rows] == [f"r{number:03}" for number in range(120)]
    sink = open_sink(url, table="predictions")
    sink.write(rows[:10])
    sink.close()
    assert len(read(url)) == 120
    assert [row.request_id for row in read(url, request_ids=["r007", "nobody"])] == ["r007"]


def test_a_server_that_comes_back_takes_what_waited(postgres: PostgresServer, postgres_database: str):
    url = postgres.url(postgres_database)
    with PredictionLog(url, every=0.05) as log:
        log.write(request_id="r1", trace_id=TRACE, model_version="v1", prediction="a", latency=0.1)
        assert log.flush()
        with postgres.connect("postgres", autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (postgres_database,))
        log.write(request_id="r2", trace_id=TRACE, model_version="v1", prediction="a", latency=0.1)
        assert log.flush()
    assert (log.written, log.dropped) == (2, 0)
    assert len(read(url)) == 2
