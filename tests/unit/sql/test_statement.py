"""Bind parameters in SQL text, and text that only resembles one."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.sql.statement import read_statement

BOUNDS = "ts >= :date_from AND ts < :date_to"
VALUES = {"date_from": "A", "date_to": "B"}


def bind(query: str, paramstyle: str) -> tuple[str, object]:
    return read_statement(query).bind(VALUES, paramstyle=paramstyle)


@pytest.mark.parametrize(
    ("paramstyle", "text", "values"),
    [
        ("qmark", "SELECT ? < ?, ?", ("A", "B", "A")),
        ("format", "SELECT %s < %s, %s", ("A", "B", "A")),
        ("numeric", "SELECT :1 < :2, :3", ("A", "B", "A")),
        ("pyformat", "SELECT %(date_from)s < %(date_to)s, %(date_from)s", VALUES),
        ("named", "SELECT :date_from < :date_to, :date_from", VALUES),
    ],
)
def test_bind_supports_every_paramstyle(paramstyle: str, text: str, values: object) -> None:
    assert bind("SELECT :date_from < :date_to, :date_from", paramstyle) == (text, values)
    with pytest.raises(ValueError, match="unknown DB-API paramstyle 'other'"):
        bind(f"SELECT 1 WHERE {BOUNDS}", "other")


@pytest.mark.parametrize(
    "decoy",
    [
        "ts::timestamptz",
        "'12:30:date_from'",
        "'it''s :date_to'",
        "E'it\\'s :date_to'",
        '":date_from"',
        '"a""b :date_to"',
        "`:date_from`",
        "-- :date_from; DROP\n 1",
        "/* :date_to ; :date_from ' */ 1",
        "$straße$ :date_from ' $straße$",
        "größe$$",
        "a #> b",
        "$$ :date_from ; $$",
        "$tag$ :date_from $$ ; $tag$",
        "'; DELETE FROM t'",
        "a[1:2]",
        "a[lo:hi]",
        "doc:field",
        "parse(doc):field",
        "replace(x, 'a', 'b')",
        "'?'",
        "delete_flag",
        "(updated)",
        "'into'",
    ],
)
@pytest.mark.parametrize("where", ["before", "after"])
def test_text_that_resembles_a_parameter_is_kept(decoy: str, where: str) -> None:
    query = f"SELECT {decoy} FROM t WHERE {BOUNDS}" if where == "before" else f"SELECT 1 FROM t WHERE {BOUNDS} AND x = {decoy}"
    expected = query.replace(BOUNDS, "ts >= ? AND ts < ?")
    assert bind(query, "qmark") == (expected, ("A", "B"))


def test_parameter_with_a_cast_is_bound() -> None:
    assert (
        bind("SELECT :date_from::timestamptz, x::text, :date_to::date", "qmark")[0] == "SELECT ?::timestamptz, x::text, ?::date"
    )


def test_percent_signs_are_doubled_for_drivers_that_format() -> None:
    query = f"SELECT 100 % 7, 'a%' -- 5 %\n FROM t WHERE {BOUNDS}"
    assert bind(query, "format")[0] == "SELECT 100 %% 7, 'a%%' -- 5 %%\n FROM t WHERE ts >= %s AND ts < %s"
    assert bind(query, "qmark")[0] == "SELECT 100 % 7, 'a%' -- 5 %\n FROM t WHERE ts >= ? AND ts < ?"


def test_backslashes_escape_quotes_only_where_enabled() -> None:
    query = f"SELECT '\\' FROM t WHERE {BOUNDS}"
    assert read_statement(query).names == ("date_from", "date_to")
    mysql = f"SELECT '\\' :date_from' FROM t WHERE {BOUNDS}"
    assert read_statement(mysql, backslashes=True).names == ("date_from", "date_to")


#: What ends in one place for one database and in another for the next: behind it could stand a second statement.
DISPUTED = [
    "/* /* */ ' */ ; COMMIT; DROP TABLE t; -- '",
    "/* /* */ INTO OUTFILE '/tmp/x' -- */ */",
    "-- x\r ; COMMIT; DROP TABLE t",
    "/*! INTO OUTFILE '/tmp/x' */",
    "/*!50000 INTO OUTFILE '/tmp/x' */",
    "/*M!100000 INTO OUTFILE '/tmp/x' */",
]
#: The same, where only MySQL and BigQuery differ.
ELSEWHERE = [
    "--1 INTO OUTFILE '/tmp/x'",
    "# '\n INTO OUTFILE \"/tmp/x\" # '",
    "AS $$ INTO OUTFILE '/tmp/x' -- $$",
]


@pytest.mark.parametrize("end", DISPUTED)
def test_comments_that_databases_read_differently_are_refused(end: str) -> None:
    with pytest.raises(QueryError, match="not a comment in every database") as caught:
        read_statement(f"SELECT 1 WHERE {BOUNDS} {end}")
    assert caught.value.reason == "bad_query"


@pytest.mark.parametrize("end", ELSEWHERE)
def test_text_that_mysql_reads_differently_is_refused_for_mysql(end: str) -> None:
    with pytest.raises(QueryError, match=r"(some|every) database"):
        read_statement(f"SELECT 1 WHERE {BOUNDS} {end}", backslashes=True)


@pytest.mark.parametrize(
    "end", ["$é$ ' $é$ ; COMMIT; DROP TABLE t; -- '", "AS é$$; DROP TABLE t; -- $$", "AS €$$; DROP TABLE t; -- $$"]
)
def test_second_statement_after_non_ascii_letters_is_refused(end: str) -> None:
    with pytest.raises(QueryError, match="more than one statement"):
        read_statement(f"SELECT 1 WHERE {BOUNDS} {end}")


@pytest.mark.parametrize("ending", [";", " ; ", ";;", "; -- done", ";\n/* done; */ ;"])
def test_closing_semicolon_is_removed(ending: str) -> None:
    assert bind(f"SELECT 1 WHERE {BOUNDS}{ending}", "qmark")[0].rstrip() == "SELECT 1 WHERE ts >= ? AND ts < ?"


@pytest.mark.parametrize(
    "begin", ["SELECT 1", "select 1", "(SELECT 1)", "-- why\nSELECT 1", "/* why */ WITH x AS (SELECT 1) SELECT 1"]
)
def test_select_statements_are_accepted(begin: str) -> None:
    assert read_statement(f"{begin} WHERE {BOUNDS}").names == ("date_from", "date_to")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "begins with nothing"),
        ("-- SELECT", "begins with nothing"),
        (f"DELETE FROM t WHERE {BOUNDS}", "begins with DELETE"),
        (f"EXPLAIN SELECT 1 WHERE {BOUNDS}", "begins with EXPLAIN"),
        (f"SELECT 1 WHERE {BOUNDS}; SELECT 2", "more than one statement"),
        (f"SELECT 1 WHERE {BOUNDS}; 2", "more than one statement"),
        (f"SELECT 1 WHERE {BOUNDS};-- x\n DROP TABLE t", "more than one statement"),
        (f"SELECT 1 WHERE {BOUNDS}; 'x'", "more than one statement"),
        (f"WITH x AS (DELETE FROM t RETURNING *) SELECT 1 WHERE {BOUNDS}", "DELETE writes"),
        (f"WITH x AS (SELECT 1) /* c */ UPDATE t SET a = 1 WHERE {BOUNDS}", "UPDATE writes"),
        (f"WITH x AS (SELECT 1) INSERT INTO t SELECT 1 WHERE {BOUNDS}", "INSERT writes"),
        (f"SELECT 1 INTO t WHERE {BOUNDS}", "INTO writes"),
        ("SELECT 1 WHERE ts > :date_form AND ts < :date_to", "unknown bind parameter :date_form; did you mean :date_from?"),
        ("SELECT 1 WHERE x = :zzz", "unknown bind parameter :zzz There are :date_from and :date_to"),
        ("SELECT 1 AS good, 2 AS total", "does not use :date_from and :date_to"),
        ("SELECT 1 WHERE ts > :date_from", "does not use :date_to"),
        ("SELECT 1 WHERE ts > ':date_from' AND ts < :date_to", "does not use :date_from"),
        (f"SELECT 'open WHERE {BOUNDS}", "' at character 7 is never closed"),
        (f"SELECT /* open WHERE {BOUNDS}", r"/\* at character 7 is never closed"),
        (f"SELECT $a$ open WHERE {BOUNDS}", r"\$a\$ at character 7 is never closed"),
    ],
)
def test_invalid_statement_is_refused(query: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        read_statement(query)
    assert (caught.value.reason, caught.value.transient, caught.value.query) == ("bad_query", False, query)


@given(st.text(max_size=30), st.text(max_size=30))
def test_bind_keeps_any_quoted_text(first: str, second: str) -> None:
    """SQLite is the judge: the bound statement returns the very strings, and the parameters."""
    texts = [text.replace("\x00", "").encode("utf-8", "ignore").decode() for text in (first, second)]
    quoted = ["'" + text.replace("'", "''") + "'" for text in texts]
    statement, values = bind(f"SELECT {quoted[0]}, :date_to, {quoted[1]} /* :date_from */, :date_from -- '", "qmark")
    assert sqlite3.connect(":memory:").execute(statement, values).fetchall() == [(texts[0], "B", texts[1], "A")]


def test_unwindowed_statement_with_bind_parameter_is_refused() -> None:
    statement = read_statement("SELECT MAX(ts) FROM t WHERE name = ':date_from'", windowed=False)
    assert statement.names == ()
    with pytest.raises(QueryError, match=":date_to: this query has no window"):
        read_statement("SELECT MAX(ts) FROM t WHERE ts < :date_to", windowed=False)
    with pytest.raises(QueryError, match="more than one statement"):
        read_statement("SELECT 1; SELECT 2", windowed=False)
