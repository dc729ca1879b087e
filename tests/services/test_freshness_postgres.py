"""Freshness of tables on a real PostgreSQL, whose own time zone is New York's."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.freshness import Limits, assess
from airflow_slo_provider.runtime.freshness.checks import observe
from airflow_slo_provider.runtime.freshness.source_parameters import read_source
from tests.services.postgres import PASSWORD, USER

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=123456)


@pytest.fixture
def database(postgres, postgres_database, monkeypatch):
    connection = {"conn_type": "postgres", "host": "127.0.0.1", "port": postgres.port, "login": USER, "password": PASSWORD}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({**connection, "schema": postgres_database}))
    with postgres.connect(postgres_database, autocommit=True) as opened:
        yield opened


def table(**arguments):
    return observe(read_source({"table": "features", "timestamp_column": "ts", "conn_id": "warehouse", **arguments}))


def query(text, **arguments):
    return observe(read_source({"query": text, "conn_id": "warehouse", **arguments}))


@pytest.mark.parametrize(
    ("kind", "value", "timezone", "expected"),
    [
        ("timestamptz", NOW, None, NOW),
        ("timestamp", NOW.replace(tzinfo=None), "UTC", NOW),
        ("timestamp", datetime(2026, 7, 1, 12), "Europe/Berlin", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("bigint", int(NOW.timestamp()), None, NOW.replace(microsecond=0)),
        ("numeric", Decimal(str(NOW.timestamp())), None, NOW),
        ("double precision", NOW.timestamp(), None, NOW),
        ("text", NOW.isoformat(), None, NOW),
        ("text", NOW.strftime("%Y-%m-%d %H:%M:%S"), "UTC", NOW.replace(microsecond=0)),
        ("date", NOW.date(), "UTC", NOW.replace(hour=0, minute=0, second=0, microsecond=0)),
    ],
    # Names without the time of day: two processes of pytest-xdist must find the same tests.
    ids=[
        "timestamptz",
        "timestamp",
        "timestamp of Berlin",
        "bigint",
        "numeric",
        "double precision",
        "text",
        "naive text",
        "date",
    ],
)
def test_timestamp_in_every_form_is_observed(database, kind, value, timezone, expected):
    database.execute(f"CREATE TABLE features (ts {kind})")
    database.execute("INSERT INTO features VALUES (%s), (NULL)", [value])
    found = table(timezone=timezone)
    assert abs(found.observed_at - expected) < timedelta(microseconds=2)
    if timezone:
        with pytest.raises(InvalidMeasurement, match="has no time zone"):
            table()


@pytest.mark.parametrize("rows", [0, 2])
def test_empty_table_or_null_is_unknown(database, rows):
    database.execute("CREATE TABLE features (ts timestamptz)")
    database.execute("INSERT INTO features SELECT NULL FROM generate_series(1, %s)", [rows])
    assert table().observed_at is None


def test_stale_groups_are_named(database):
    database.execute('CREATE SCHEMA "Feature Store"')
    database.execute('CREATE TABLE "Feature Store"."select" (entity int, "updated At" timestamptz)')
    database.execute(
        """INSERT INTO "Feature Store"."select"
        SELECT entity, now() - CASE WHEN entity % 77 = 0 THEN interval '1 hour' * (2 + entity / 77) ELSE interval '1 minute' END
        FROM generate_series(1, 1000) AS entity, generate_series(1, 3)"""
    )
    # 1000 / 77: twelve of them; and one more that was never written.
    database.execute('UPDATE "Feature Store"."select" SET "updated At" = NULL WHERE entity = 1')
    seen = table(table="Feature Store.select", timestamp_column="updated At", group_by="entity")
    found = assess(seen, datetime.now(UTC), Limits(HOUR, quantile=0.99))
    assert (found.freshness.verdict, found.counts) == ("fail", (987, 1000))
    assert [name for name, _ in found.worst] == ["1", *(str(77 * n) for n in range(12, 0, -1))]
    assert "1 (no timestamp), 924 (14 h old), 847 (13 h old)" in found.message
    assert assess(seen, datetime.now(UTC), Limits(HOUR, quantile=0.987)).freshness.verdict == "pass"


@pytest.mark.parametrize(
    "arguments", [{"timestamp_column": "nope"}, {"table": "nope"}, {"group_by": "nope"}, {"table": "Features"}]
)
def test_missing_table_or_column_raises_without_retry(database, arguments):
    database.execute("CREATE TABLE features (ts timestamptz)")
    with pytest.raises(QueryError, match="does not exist") as caught:
        table(**arguments)
    assert (caught.value.reason, caught.value.transient, caught.value.source) == ("bad_query", False, "connection warehouse")


def test_custom_queries_are_observed(database):
    assert abs(
        query("SELECT now() - interval '5 minutes'").observed_at - (datetime.now(UTC) - timedelta(minutes=5))
    ) < 9 * timedelta(seconds=1)
    found = query("SELECT interval '5 minutes'", query_gives="age")
    assert timedelta(minutes=5) <= datetime.now(UTC) - found.observed_at < timedelta(minutes=5, seconds=9)
    with pytest.raises(QueryError, match="2 rows of 1 columns"):
        query("SELECT now() UNION ALL SELECT now() - interval '1 day'")
    with pytest.raises(QueryError) as caught:
        query("SELECT pg_sleep(1); DELETE FROM features")
    assert caught.value.reason == "bad_query"


def test_rejected_login_raises_without_password(database, postgres, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgres://{USER}:hunter2@127.0.0.1:{postgres.port}/postgres")
    with pytest.raises(QueryError) as caught:
        table()
    assert (caught.value.reason, caught.value.transient) == ("access_denied", False)
    assert "hunter2" not in str(caught.value)
