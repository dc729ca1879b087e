"""SQL indicators on a real PostgreSQL, whose own time zone is New York's."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction as F
from typing import Any

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.sql.source import SQLSource, dbapi_runner
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from tests.services.postgres import PASSWORD, PostgresServer
from tests.unit.indicators.sql_builders import BOUNDS, DAY, HOUR, MINUTE, ONE_ROW, T0, limit, ratio, request_of, threshold

LOADED = """
CREATE TABLE requests (ts timestamptz, local timestamp, ok boolean, latency numeric, labels jsonb);
INSERT INTO requests
SELECT t, t AT TIME ZONE 'UTC', n % 10 <> 0, n / 100.0, '{"a": "50%"}'
FROM (SELECT n, timestamptz '2026-11-01 00:00:00Z' + n * interval '1 minute' AS t FROM generate_series(0, 59) n) x;
"""

COUNTED = f"SELECT COUNT(*) FILTER (WHERE ok) AS good, COUNT(*) AS total FROM requests WHERE {BOUNDS}"
SUMMED = f"SELECT SUM(ok::int) AS good, COUNT(*) AS total FROM requests WHERE {BOUNDS}"


@pytest.fixture(params=["psycopg", "psycopg2"])
def connection(request: pytest.FixtureRequest, postgres: PostgresServer, postgres_database: str) -> Iterator[Any]:
    with postgres.connect(postgres_database) as made:
        made.execute(LOADED)
    if request.param == "psycopg2":
        driver = pytest.importorskip("psycopg2")
        opened = driver.connect(host="127.0.0.1", port=postgres.port, user="slo", password=PASSWORD, dbname=postgres_database)
    else:
        opened = postgres.connect(postgres_database)
    yield opened
    opened.close()


@pytest.fixture
def sql(connection: Any) -> SQLSource:
    return SQLSource(dbapi_runner(connection), name="postgres")


def one(sql: SQLSource, request: Any) -> Measurement:
    (answer,) = sql.measure([request])
    if isinstance(answer, MeasurementError):
        raise answer
    return answer


def test_good_and_total_of_postgresql_are_measured(sql: SQLSource) -> None:
    assert one(sql, request_of(ratio(COUNTED))) == Measurement(F(9, 10), F(54), F(60), COUNTED)
    assert one(sql, request_of(ratio(SUMMED), T0 + MINUTE, T0 + 11 * MINUTE)).total == 10


def test_column_without_zone_is_compared_in_utc(sql: SQLSource) -> None:
    assert (
        one(sql, request_of(ratio(COUNTED.replace("ts >=", "local >=").replace("ts <", "local <")), T0, T0 + 10 * MINUTE)).total
        == 10
    )


def test_casts_percent_signs_and_comments_are_accepted(sql: SQLSource) -> None:
    query = (
        "SELECT SUM(ok::int) AS good, COUNT(*)::numeric(20, 5) AS total /* 100 % of :date_from */ FROM requests "
        "WHERE ts >= :date_from::timestamptz AND ts < (:date_to)::timestamptz AND labels->>'a' LIKE '50%' AND ':date_to' <> 'a' "
        "AND ('{1,2,3}'::int[])[1:2] = '{1,2}' AND 7 % 4 = 3 AND $$:date_from;$$ <> E'\\'' -- ; :nothing %s"
    )
    assert one(sql, request_of(ratio(query))).total == 60


def test_epoch_bounds_are_accepted(sql: SQLSource) -> None:
    query = COUNTED.replace("ts >=", "extract(epoch FROM ts) >=").replace("ts <", "extract(epoch FROM ts) <")
    assert one(sql, request_of(ratio(query, timeFormat="epoch"), T0, T0 + 10 * MINUTE)).total == 10


def test_result_without_rows_is_no_data(sql: SQLSource) -> None:
    for query in (COUNTED, SUMMED):
        with pytest.raises(NoData):
            one(sql, request_of(ratio(query), T0 + DAY, T0 + 2 * DAY))


def test_nan_is_refused(sql: SQLSource) -> None:
    for nan in ("'NaN'::numeric", "'NaN'::float8"):
        with pytest.raises(InvalidMeasurement, match="column good is NaN"):
            one(sql, request_of(ratio(COUNTED.replace("COUNT(*) FILTER (WHERE ok)", nan))))


def test_decimals_are_read_exactly(sql: SQLSource) -> None:
    query = f"SELECT SUM(latency) AS good, SUM(latency) * 3 AS total FROM requests WHERE {BOUNDS}"
    measured = one(sql, request_of(ratio(query)))
    assert (measured.ratio, measured.good) == (F(1, 3), F(1770, 100))


def test_points_slices_and_coverage_are_measured(sql: SQLSource) -> None:
    points = f"SELECT ts AS timestamp, latency AS value FROM requests WHERE {BOUNDS}"
    assert one(sql, request_of(threshold(points), **limit("lt", "0.30"))).ratio == F(1, 2)
    per_minute = SUMMED.replace("SELECT", "SELECT date_trunc('minute', ts) AS timestamp,") + " GROUP BY 1"
    for query in (per_minute, COUNTED):
        (slices,) = sql.slices([request_of(ratio(query), T0, T0 + 2 * HOUR)], 10 * MINUTE)
        assert not isinstance(slices, MeasurementError), slices
        assert [value and value.ratio for value in slices.values] == [F(9, 10)] * 6 + [None] * 6
    quarter, unknown = sql.coverage([request_of(ratio(per_minute), T0, T0 + 4 * HOUR), request_of(ratio(COUNTED))])
    assert quarter == F(1, 4)
    assert isinstance(unknown, MeasurementError)
    assert unknown.reason == "coverage_unknown"


def test_naive_timestamps_without_declared_zone_are_refused(sql: SQLSource) -> None:
    query = f"SELECT local AS timestamp, latency AS value FROM requests WHERE {BOUNDS}"
    with pytest.raises(InvalidMeasurement, match="has no time zone"):
        one(sql, request_of(threshold(query), **limit("lt", "0.30")))
    assert one(sql, request_of(threshold(query, timeZone="UTC"), **limit("lt", "0.30"))).total == 60


def test_invalid_query_does_not_affect_other_requests(sql: SQLSource) -> None:
    requests = [
        request_of(ratio(COUNTED)),
        request_of(ratio(COUNTED.replace("requests", "nowhere"))),
        request_of(ratio(ONE_ROW)),
        request_of(ratio(SUMMED)),
    ]
    first, second, third, fourth = sql.measure(requests)
    assert isinstance(first, Measurement)
    assert isinstance(fourth, Measurement)
    assert isinstance(second, QueryError)
    assert 'relation "nowhere" does not exist' in str(second)
    assert isinstance(third, QueryError)  # SUM(boolean)
    assert {(error.reason, error.transient) for error in (second, third)} == {("bad_query", False)}


def test_writes_are_refused(sql: SQLSource, connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM requests; SELECT 1'")
    connection.commit()
    with pytest.raises(QueryError, match="cannot execute DELETE in a read-only transaction") as caught:
        one(sql, request_of(ratio(COUNTED.replace("COUNT(*) AS total", "wipe() AS total"))))
    assert (caught.value.reason, caught.value.transient) == ("read_only", False)
    assert one(sql, request_of(ratio(COUNTED))).total == 60


def test_queries_of_one_call_see_one_snapshot(connection: Any, postgres: PostgresServer, postgres_database: str) -> None:
    runner = dbapi_runner(connection)

    class Meddling:
        session = staticmethod(runner.session)

        def __call__(self, query: str, parameters: Any, /) -> Any:
            answer = runner(query, parameters)
            with postgres.connect(postgres_database) as writer:
                writer.execute("INSERT INTO requests SELECT * FROM requests")
            return answer

    source = SQLSource(Meddling(), name="postgres")
    good = f"SELECT COUNT(*) AS good FROM requests WHERE ok AND {BOUNDS}"
    measured = one(source, request_of(ratio(good, f"SELECT COUNT(*) AS total FROM requests WHERE {BOUNDS}")))
    assert (measured.good, measured.total) == (54, 60)


def test_slow_query_is_interrupted(connection: Any) -> None:
    source = SQLSource(dbapi_runner(connection, timeout=0.3), name="postgres")
    first, second = source.measure(
        [request_of(ratio(COUNTED.replace("WHERE ts", "WHERE pg_sleep(20) IS NOT NULL AND ts"))), request_of(ratio(COUNTED))]
    )
    assert isinstance(first, QueryError)
    assert (first.reason, first.transient) == ("timeout", True)
    assert isinstance(second, Measurement)


def test_lost_connection_is_transient(sql: SQLSource, postgres: PostgresServer, connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    (pid,) = cursor.fetchone()
    connection.rollback()
    with postgres.connect(autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
    with pytest.raises(QueryError) as caught:
        one(sql, request_of(ratio(COUNTED)))
    assert (caught.value.reason, caught.value.transient) == ("connection", True)
