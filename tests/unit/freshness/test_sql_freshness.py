"""Tables and queries, on a real SQLite; PostgreSQL is in tests/services."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.freshness.sources.sql import CustomQuery, TableQuery, quote
from airflow_slo_provider.sql.runner import DbApiRunner

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def database():
    with sqlite3.connect(":memory:", isolation_level=None) as connection:
        yield connection
    connection.close()


@pytest.fixture
def run(database):
    return DbApiRunner(database, windowed=False)


def table(**arguments):
    return TableQuery(**{"table": "features", "timestamp_column": "ts", **arguments})


def fill(database, *moments, kind="TEXT"):
    database.execute(f"CREATE TABLE features (entity TEXT, ts {kind})")
    database.executemany("INSERT INTO features VALUES (?, ?)", [(f"e{n}", moment) for n, moment in enumerate(moments)])


@pytest.mark.parametrize(
    ("kind", "write", "zone"),
    [
        ("TEXT", lambda moment: moment.isoformat(), None),
        ("TEXT", lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"), UTC),
        ("TEXT", lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"), None),
        ("INTEGER", lambda moment: int(moment.timestamp()), None),
        ("REAL", lambda moment: moment.timestamp(), None),
    ],
)
def test_timestamp_in_every_form_is_observed(database, run, kind, write, zone):
    fill(database, write(NOW - 5 * HOUR), None, write(NOW - 2 * HOUR), write(NOW - 9 * HOUR), kind=kind)
    found = table(zone=zone).observe(run, dialect="sqlite", where="here")
    assert found.observed_at == NOW - 2 * HOUR
    assert found.source == "MAX(ts) of table features, here"


def test_naive_text_without_zone_is_invalid(database, run):
    fill(database, "2026-11-24 10:00:00")
    with pytest.raises(InvalidMeasurement, match="column ts: 2026-11-24 10:00:00 has no time zone"):
        table().observe(run, dialect="sqlite", where="here")


def test_mixed_zones_are_never_fresher(database, run):
    # As text the first is greater; in time the second is later.
    fill(database, "2026-11-24T13:00:00+05:00", "2026-11-24T11:59:00+00:00")
    found = table().observe(run, dialect="sqlite", where="here")
    assert found.observed_at == datetime(2026, 11, 24, 8, tzinfo=UTC)


@pytest.mark.parametrize("rows", [(), (None, None)])
def test_empty_table_or_null_is_unknown(database, run, rows):
    fill(database, *rows)
    found = table().observe(run, dialect="sqlite", where="here")
    assert found.observed_at is None
    assert "empty, or ts is NULL in every row" in found.note


def test_rows_are_grouped_by_column(database, run):
    fill(database, (NOW - HOUR).isoformat(), (NOW - 2 * HOUR).isoformat(), None)
    database.execute("INSERT INTO features VALUES ('e1', ?), (NULL, ?)", [NOW.isoformat()] * 2)
    found = table(group_by=("entity",)).observe(run, dialect="sqlite", where="here")
    assert found.groups == {"e0": NOW - HOUR, "e1": NOW, "e2": None, "NULL": NOW}
    assert found.observed_at is None  # one of them is not known


def test_rows_are_grouped_by_several_columns(database, run):
    database.execute("CREATE TABLE features (a TEXT, b INTEGER, ts INTEGER)")
    database.executemany("INSERT INTO features VALUES (?, ?, ?)", [("x", 1, 10), ("x", 1, 20), ("x", 2, 5)])
    found = table(group_by=("a", "b")).observe(run, dialect="sqlite", where="here")
    assert {name: moment.timestamp() for name, moment in found.groups.items()} == {"x/1": 20, "x/2": 5}


def test_groups_with_the_same_name_are_quoted(database, run):
    database.execute("CREATE TABLE features (a, b, ts INTEGER)")
    rows = [("x/y", "z", 1), ("x", "y/z", 2), (None, "q", 3), ("NULL", "q", 4), (1, "r", 5), ("1", "r", 6), ("plain", "s", 7)]
    database.executemany("INSERT INTO features VALUES (?, ?, ?)", rows)
    found = table(group_by=("a", "b")).observe(run, dialect="sqlite", where="here")
    assert {name: moment.timestamp() for name, moment in found.groups.items()} == {
        "'x/y'/'z'": 1,
        "'x'/'y/z'": 2,
        "NULL/'q'": 3,
        "'NULL'/'q'": 4,
        "1/'r'": 5,
        "'1'/'r'": 6,
        "plain/s": 7,
    }


def test_unhashable_group_is_accepted():
    rows = [(["a", "b"], 1), ({"c": 1}, 2), (["a"], 3)]
    found = query("SELECT", group_by=("g",)).observe(lambda text, parameters: (["g", "t"], rows), now=NOW, where="x")
    assert list(found.groups) == ["['a', 'b']", "{'c': 1}", "['a']"]
    with pytest.raises(QueryError, match="has two rows"):
        query("SELECT", group_by=("g",)).observe(lambda text, parameters: (["g", "t"], rows * 2), now=NOW, where="x")


def test_group_named_like_a_quoted_one_is_rejected():
    rows = [("x/y", "z", 1), ("x", "y/z", 2), ("'x/y'", "'z'", 3)]
    with pytest.raises(QueryError, match="group 'x/y'/'z' has two rows"):
        query("SELECT", group_by=("a", "b")).observe(lambda text, parameters: (["a", "b", "t"], rows), now=NOW, where="x")


def test_missing_column_raises(database, run):
    # "nope" in double quotes would be the text 'nope' in SQLite.
    fill(database, NOW.isoformat())
    for question in (table(timestamp_column="nope"), table(group_by=("nope",)), table(table="nope")):
        with pytest.raises(QueryError, match="OperationalError: no such"):
            question.observe(run, dialect="sqlite", where="here")


@pytest.mark.parametrize(
    "name", ["select", "a b", 'quo"te', "back`tick", "semi;colon", "x); DROP TABLE features; --", "ünïcode", "50%"]
)
def test_names_in_a_statement_are_quoted(database, run, name):
    written = "`" + name.replace("`", "``") + "`"
    database.execute(f"CREATE TABLE {written} ({written} TEXT, {'`g:1`'} TEXT)")
    database.execute(f"INSERT INTO {written} VALUES (?, 'x')", [NOW.isoformat()])
    found = TableQuery(table=name, timestamp_column=name, group_by=("g:1",)).observe(run, dialect="sqlite", where="here")
    assert found.groups == {"x": NOW}


@pytest.mark.parametrize(
    ("dialect", "name", "quoted"),
    [
        ("postgresql", 'a"b', '"a""b"'),
        ("mysql", "a`b", "`a``b`"),
        ("mssql", "a]b", "[a]]b]"),
        ("snowflake", "features", '"FEATURES"'),
        ("snowflake", "Features", '"Features"'),
        (None, "x", '"x"'),
    ],
)
def test_name_is_quoted_for_each_dialect(dialect, name, quoted):
    assert quote(name, dialect) == quoted


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x00b"])
def test_invalid_name_is_rejected(name):
    with pytest.raises(ValueError):
        quote(name, "sqlite")


def test_schema_and_table_are_quoted_separately():
    assert table(table="dwh.features").text("postgresql") == 'SELECT MAX("ts") FROM "dwh"."features"'


def query(text, **arguments):
    return CustomQuery(query=text, **arguments)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 UNION ALL SELECT 2",
        "SELECT 1, 2",
        "SELECT 1 AS a, 2 AS b UNION ALL SELECT 3, 4",
    ],
)
def test_query_with_two_rows_or_columns_raises(run, text):
    with pytest.raises(QueryError, match="one row of one column is expected") as caught:
        query(text).observe(run, now=NOW, where="here")
    assert (caught.value.reason, caught.value.transient) == ("wrong_shape", False)


@pytest.mark.parametrize(("text", "note"), [("SELECT NULL", "returns NULL"), ("SELECT 1 WHERE 1 = 0", "no row")])
def test_query_without_result_is_unknown(run, text, note):
    found = query(text).observe(run, now=NOW, where="here")
    assert found.observed_at is None
    assert note in found.note


def test_query_that_returns_an_age_is_observed(run):
    assert query("SELECT 90.5", gives="age").observe(run, now=NOW, where="x").observed_at == NOW - timedelta(seconds=90.5)
    assert query("SELECT '60'", gives="age").observe(run, now=NOW, where="x").observed_at == NOW - timedelta(seconds=60)
    for text in ("SELECT 'old'", "SELECT '1 day'"):
        with pytest.raises(QueryError, match="not an age in seconds"):
            query(text, gives="age").observe(run, now=NOW, where="x")


@pytest.mark.parametrize("age", [90_000_000_000, timedelta(days=999_999_999), timedelta(days=-999_999_999)])
def test_age_out_of_range_is_invalid(age):
    with pytest.raises(InvalidMeasurement, match="beyond the years 1 to 9999") as caught:
        query("SELECT age", gives="age").observe(lambda text, parameters: (["age"], [(age,)]), now=NOW, where="x")
    assert (caught.value.reason, caught.value.query) == ("bad_timestamp", "SELECT age")


def test_negative_age_is_in_the_future(run):
    assert query("SELECT -7200", gives="age").observe(run, now=NOW, where="x").observed_at == NOW + 2 * HOUR


def test_query_with_groups_is_observed(run):
    text = "SELECT 100 AS written, 'a' AS Entity UNION ALL SELECT 200, 'b'"
    found = query(text, group_by=("entity",)).observe(run, now=NOW, where="x")
    assert {name: moment.timestamp() for name, moment in found.groups.items()} == {"a": 100, "b": 200}
    with pytest.raises(QueryError, match="return entity and one column with the timestamp"):
        query("SELECT 1 AS entity", group_by=("entity",)).observe(run, now=NOW, where="x")
    with pytest.raises(QueryError, match="group a has two rows"):
        query("SELECT 'a' AS entity, 1 AS t UNION ALL SELECT 'a', 2", group_by=("entity",)).observe(run, now=NOW, where="x")


@pytest.mark.parametrize(
    "text", ["DELETE FROM features", "SELECT 1; SELECT 2", "UPDATE features SET ts = 1", "SELECT :date_from"]
)
def test_query_that_writes_or_has_a_window_is_rejected(run, text):
    with pytest.raises(QueryError) as caught:
        query(text).observe(run, now=NOW, where="x")
    assert caught.value.reason == "bad_query"
