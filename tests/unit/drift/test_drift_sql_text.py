"""SQL text for databases that are not tested as servers, and SQLite columns with values of several types."""

from __future__ import annotations

import sqlite3

import numpy as np
import pandas as pd
import pytest

from airflow_slo_provider import drift
from airflow_slo_provider.drift import SQLData
from airflow_slo_provider.drift.engines import sql
from airflow_slo_provider.drift.engines.sql_buckets import count_rows
from airflow_slo_provider.drift.engines.sql_dialects import DIALECTS
from airflow_slo_provider.drift.engines.sql_queries import (
    SQLColumn,
    SQLTable,
    cut_sums,
    distinct_query,
    quantile_query,
    rank_query,
    summary_query,
)
from airflow_slo_provider.drift.profiles.grid import code_value, value_code
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError

AMOUNT, COUNT, AT, WORD = (
    SQLColumn("amount", "number"),
    SQLColumn("n", "number", "int"),
    SQLColumn("at", "time", "int"),
    SQLColumn("word", "text"),
)
ROWS = SQLTable("shop.orders", "day = '2026-11-24'")
LARGEST = "1.7976931348623157e+308"


def finite(x: str, double: str) -> str:
    return f"{x} BETWEEN CAST('-{LARGEST}' AS {double}) AND CAST('{LARGEST}' AS {double})"


@pytest.mark.parametrize(
    ("name", "amount", "infinity", "at"),
    [
        (
            "snowflake",
            finite('"amount"', "DOUBLE"),
            "CAST('inf' AS DOUBLE)",
            'DATE_PART(epoch_microsecond, "at")',
        ),
        ("bigquery", finite("`amount`", "FLOAT64"), "CAST('inf' AS FLOAT64)", "UNIX_MICROS(TIMESTAMP(`at`))"),
        (
            "redshift",
            finite('"amount"', "DOUBLE PRECISION"),
            "CAST('Infinity' AS DOUBLE PRECISION)",
            "DATEDIFF(microsecond, TIMESTAMP '1970-01-01 00:00:00', \"at\")",
        ),
    ],
)
def test_summary_query_of_each_dialect(name, amount, infinity, at) -> None:
    dialect = DIALECTS[name]
    q = dialect.quote
    column = f"{q}amount{q}"
    assert summary_query(ROWS, [AMOUNT, AT, WORD], dialect) == (
        f"SELECT COUNT(*), COUNT({column}), SUM(CASE WHEN {amount} THEN 1 ELSE 0 END), "
        f"SUM(CASE WHEN {column} = {infinity} THEN 1 ELSE 0 END), SUM(CASE WHEN {column} = -{infinity} THEN 1 ELSE 0 END), "
        f"MIN(CASE WHEN {amount} THEN {column} END), MAX(CASE WHEN {amount} THEN {column} END), "
        f"COUNT({q}at{q}), SUM(CASE WHEN {q}at{q} IS NOT NULL THEN 1 ELSE 0 END), 0, 0, "
        f"MIN(CASE WHEN {q}at{q} IS NOT NULL THEN {at} END), MAX(CASE WHEN {q}at{q} IS NOT NULL THEN {at} END), "
        f"COUNT({q}word{q}) FROM shop.orders drift_rows WHERE (day = '2026-11-24'\n)"
    )


def test_summary_query_mysql_counts_no_infinity() -> None:
    dialect = DIALECTS["mysql"]
    assert summary_query(SQLTable("orders"), [AMOUNT], dialect) == (
        "SELECT COUNT(*), COUNT(`amount`), SUM(CASE WHEN `amount` IS NOT NULL THEN 1 ELSE 0 END), 0, 0, "
        "MIN(CASE WHEN `amount` IS NOT NULL THEN `amount` END), "
        "MAX(CASE WHEN `amount` IS NOT NULL THEN `amount` END) FROM orders drift_rows"
    )


def test_quantile_query_uses_percentile_disc() -> None:
    value = f'CASE WHEN {finite(chr(34) + "amount" + chr(34), "DOUBLE")} THEN "amount" END'
    assert quantile_query(SQLTable("orders"), [AMOUNT], DIALECTS["snowflake"], 4) == (
        f"SELECT PERCENTILE_DISC(0.25) WITHIN GROUP (ORDER BY {value}), PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY {value}), "
        f"PERCENTILE_DISC(0.75) WITHIN GROUP (ORDER BY {value}) FROM orders drift_rows"
    )
    assert quantile_query(SQLTable("orders"), [COUNT, AT], DIALECTS["postgresql"], 4) == (
        'SELECT percentile_disc(CAST(ARRAY[0.25, 0.5, 0.75] AS DOUBLE PRECISION[])) WITHIN GROUP (ORDER BY "n") '
        'FILTER (WHERE "n" IS NOT NULL), percentile_disc(CAST(ARRAY[0.25, 0.5, 0.75] AS DOUBLE PRECISION[])) WITHIN GROUP '
        '(ORDER BY CAST(EXTRACT(EPOCH FROM "at") * 1000000 AS BIGINT)) FILTER (WHERE "at" IS NOT NULL) FROM orders drift_rows'
    )


def test_rank_query_without_quantile_functions() -> None:
    assert rank_query(ROWS, COUNT, DIALECTS["mysql"], [25, 50]) == (
        "SELECT r, v FROM (SELECT `n` AS v, ROW_NUMBER() OVER (ORDER BY `n`) AS r FROM shop.orders drift_rows "
        "WHERE (day = '2026-11-24'\n) AND `n` IS NOT NULL) drift_ranks WHERE r IN (25, 50) ORDER BY r"
    )


def test_table_condition_is_in_parentheses() -> None:
    rows = SQLTable("orders", "country = 'DE' OR country = 'AT' -- the north")
    assert rows.and_where("n IS NOT NULL") == (
        "FROM orders drift_rows WHERE (country = 'DE' OR country = 'AT' -- the north\n) AND n IS NOT NULL"
    )


def test_cut_sums_keep_every_digit() -> None:
    codes = [value_code(0.1, "float"), value_code(0.1, "float")]
    assert cut_sums(AMOUNT, DIALECTS["bigquery"], "float", codes, [False, True]) == [
        "SUM(CASE WHEN `amount` < CAST('0.1' AS FLOAT64) THEN 1 ELSE 0 END)",
        "SUM(CASE WHEN `amount` <= CAST('0.1' AS FLOAT64) THEN 1 ELSE 0 END)",
    ]
    assert cut_sums(COUNT, DIALECTS["redshift"], "int", [2**60 + 1], [True]) == [
        f'SUM(CASE WHEN "n" <= {2**60 + 1} THEN 1 ELSE 0 END)'
    ]


def test_distinct_query_quotes_names() -> None:
    odd = SQLColumn('a"; DROP TABLE x; --', "text")
    assert distinct_query(SQLTable("SELECT * FROM a;"), odd, DIALECTS["postgresql"]) == (
        'SELECT "a""; DROP TABLE x; --", COUNT(*) FROM (SELECT * FROM a) drift_rows WHERE "a""; DROP TABLE x; --" IS NOT NULL '
        'GROUP BY "a""; DROP TABLE x; --" LIMIT 200001'
    )
    assert "`a``b`" in distinct_query(SQLTable("t"), SQLColumn("a`b", "text"), DIALECTS["mysql"])


LATE_FRACTIONS = [*range(300), *(0.25 + number for number in range(200)), None]


def mixed_rows() -> SQLData:
    """Return a SQLite table whose fractions come after the rows that kinds are detected from."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE prices (price NUMERIC, n NUMERIC, word)")
    connection.executemany("INSERT INTO prices VALUES (?, ?, ?)", [(price, i, i) for i, price in enumerate(LATE_FRACTIONS)])
    connection.execute("UPDATE prices SET word = 'none' WHERE n = 400")
    connection.commit()
    return SQLData.of(connection, "prices")


def test_sqlite_fractions_after_sampled_rows_are_kept() -> None:
    """A NUMERIC column stores whole numbers as integers, so the first rows do not determine the kind."""
    counted = mixed_rows().profile()
    assert counted["price"] == drift.profile(pd.DataFrame({"price": pd.array(LATE_FRACTIONS, dtype="Float64")}))["price"]
    assert counted["n"].distribution.kind == "int"
    assert (counted["word"].values, counted["word"].nan) == (500, 1)  # a text among numbers counts as NaN


def test_sqlite_fractions_after_sampled_rows_are_counted_below_edges(monkeypatch) -> None:
    monkeypatch.setattr(sql, "MOST_CELLS", 100)
    cuts = mixed_rows().profile(["price"])["price"].distribution
    held = sorted(price for price in LATE_FRACTIONS if price is not None)
    edges = [held[-(-len(held) * part // 20) - 1] for part in range(1, 20)]
    assert [code_value(int(code), "float") for code in cuts.codes] == edges
    assert cuts.counts.tolist() == [sum(price <= edge for price in held) for edge in edges]


def test_fraction_in_integer_column_raises() -> None:
    """A runner hides the fractions from the check of kinds."""
    plain = mixed_rows()._run

    def run(statement, parameters):
        names, rows = plain(statement, parameters)
        return names, [(0,) * len(row) if "typeof" in statement else row for row in rows]

    with pytest.raises(InvalidMeasurement, match=r"column price .*0\.25 later; .* casts it"):
        SQLData(run, "prices", dialect="sqlite").profile(["price"])


def test_categorical_numbers_in_database_are_counted_by_value() -> None:
    """``categorical`` has the same effect for a database as for files."""
    codes = [10_115 + number % 7 for number in range(2_000)]
    prices = [number % 3 / 2 for number in range(2_000)]
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE facts (code INTEGER, price REAL)")
    connection.executemany("INSERT INTO facts VALUES (?, ?)", zip(codes, prices, strict=True))
    connection.commit()
    rows = SQLData.of(connection, "facts")
    counted = drift.profile(rows, categorical=["code", "price"])
    held = drift.profile({"code": codes, "price": prices}, categorical=["code", "price"])
    assert {name: counted[name].categories for name in counted.columns} == {name: held[name].categories for name in held.columns}
    assert rows.profile()["code"].kind == "number"
    report = drift.compare(rows, rows, categorical="code")
    assert {name: column.kind for name, column in report.columns.items()} == {"code": "text", "price": "number"}
    assert drift.compare(held, rows, categorical=["code", "price"]).verdict == "ok"


def test_database_interrupted_while_fetching_raises_transient_error() -> None:
    """SQLite computes rows one by one, so the interrupt after the first row occurs while fetching."""
    connection = sqlite3.connect(":memory:")
    connection.create_function("reached", 1, lambda n: connection.interrupt() if n == 150 else n)
    connection.execute(
        "CREATE TABLE numbers AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 200) SELECT * FROM n"
    )
    connection.commit()
    with pytest.raises(QueryError, match=r"interrupted; query: SELECT .*; asked: numbers on disk") as caught:
        SQLData.of(connection, "SELECT x, reached(x) AS y FROM numbers", name="numbers on disk").profile()
    assert (caught.value.reason, caught.value.transient) == ("timeout", True)


def test_row_with_too_few_counts_is_invalid() -> None:
    edges = {"amount": ("float", np.array([1, 2]), np.array([True, True]))}
    with pytest.raises(InvalidMeasurement, match="returned 1 counts where 2 were requested"):
        list(count_rows(lambda text: (["n", "a"], [(10, 4)]), ROWS, DIALECTS["sqlite"], [AMOUNT], edges))
