"""Measure drift in PostgreSQL and DuckDB, compared with the database's own quantile query over the same columns.

    python benchmarks/drift_sql.py --rows 1000000 --columns 10

PostgreSQL is a private cluster of the test suite. ``quantiles``: nine deciles of every column of one table, as the database
computes them. ``ours``: the current table counted at a stored profile's edges. ``both``: edges found in one
table, and two tables counted.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def tables(rows, columns):
    import numpy as np
    import pyarrow as pa

    for seed, shift in ((1, 0.0), (2, 0.1)):
        rng = np.random.default_rng(seed)
        yield pa.table({f"c{i}": rng.normal(shift, 1 + i, rows) for i in range(columns)})


@contextlib.contextmanager
def duckdb_database(rows, columns):
    import duckdb

    connection = duckdb.connect()
    for name, table in zip(("before_", "after_"), tables(rows, columns), strict=True):
        connection.register("arrow_table", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arrow_table")
    yield connection


@contextlib.contextmanager
def postgres_database(rows, columns):
    from tests.services.postgres import postgres

    running = postgres.__wrapped__() if hasattr(postgres, "__wrapped__") else postgres.__pytest_wrapped__.obj()
    server = next(running)
    try:
        with server.connect() as connection:
            for name, table in zip(("before_", "after_"), tables(rows, columns), strict=True):
                names = table.column_names
                connection.execute(f"CREATE TABLE {name} ({', '.join(f'{one} DOUBLE PRECISION' for one in names)})")
                with connection.cursor().copy(f"COPY {name} FROM STDIN") as copy:
                    for batch in table.to_batches(max_chunksize=50_000):
                        lines = zip(*(column.to_pylist() for column in batch.columns), strict=True)
                        copy.write("".join("\t".join(map(repr, line)) + "\n" for line in lines))
            connection.commit()
            connection.execute("ANALYZE")
            connection.commit()
            yield connection
    finally:
        running.close()


def timed(action, repeat):
    best = float("inf")
    for _ in range(repeat):
        started = time.monotonic()
        action()
        best = min(best, time.monotonic() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    from airflow_slo_provider import drift

    shares = ", ".join(str(i / 10) for i in range(1, 10))
    quantiles = {
        "duckdb": lambda x: f"quantile_disc({x}, [{shares}])",
        "postgresql": lambda x: f"percentile_disc(ARRAY[{shares}]) WITHIN GROUP (ORDER BY {x})",
    }
    print(f"{args.rows:,} rows, {args.columns} columns\n")
    print("| database | quantiles s | ours s | ratio | both s | ratio |\n|---|---|---|---|---|---|")
    for name, database in (("duckdb", duckdb_database), ("postgresql", postgres_database)):
        with database(args.rows, args.columns) as connection:
            query = f"SELECT {', '.join(quantiles[name](f'c{i}') for i in range(args.columns))} FROM before_"
            floor = timed(lambda connection=connection, query=query: connection.execute(query).fetchall(), args.repeat)
            before, after = drift.SQLData.of(connection, "before_"), drift.SQLData.of(connection, "after_")
            reference = before.profile()
            ours = timed(lambda after=after, reference=reference: drift.compare(reference, after), args.repeat)
            both = timed(lambda before=before, after=after: drift.compare(before, after), args.repeat)
            print(f"| {name} | {floor:.2f} | {ours:.2f} | {ours / floor:.2f} | {both:.2f} | {both / floor:.2f} |", flush=True)


if __name__ == "__main__":
    main()
