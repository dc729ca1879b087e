"""Measure the SLO overview on a real Airflow API server: 500 SLOs, 2 million checks, a year of history, 20 concurrent readers.

    python -m benchmarks.slo_pages [--backend postgresql sqlite] [--slos 500] [--rows 2000000] [--readers 20] [--seconds 30]

For comparison the same rows are read by the simplest query: ``DISTINCT ON`` on PostgreSQL, ``GROUP BY`` with ``MAX`` on SQLite.
PostgreSQL is started for this run (Debian's ``postgresql``), with its default settings except ``fsync``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from demo import airflow_stack
from demo.airflow_stack import AirflowStack

YEAR = 365 * 86400 * 1_000_000
#: Evidence as the gate writes it; the remaining budget varies from row to row.
QUERY = 'sum(rate(http_requests_total{service="shop",code!~"5.."}[30d])) / sum(rate(http_requests_total{service="shop"}[30d]))'
EVIDENCE = {
    "service": "shop",
    "status": "HEALTHY",
    "objective": 0.999,
    "window": "30d",
    "sli": 0.99951,
    "remaining": "@",
    "remaining_seconds": 1300.5,
    "remaining_events": 45123.0,
    "burn_rate": 0.49,
    "time_to_exhaustion_seconds": 1290000.0,
    "coverage": 1.0,
    "method": "Occurrences",
    "tier": "1",
    "burn_rates": {"5m": 0.4, "30m": 0.42, "1h": 0.45, "2h": 0.45, "6h": 0.47, "1d": 0.49, "3d": 0.5},
    "outcome": "allowed",
    "action": "allow",
    "reasons": [],
    "policy_state": {"holding": [], "action": "allow", "blocked_since": None},
    "query": QUERY,
}


@contextlib.contextmanager
def backend(name: str) -> Iterator[str]:
    """Create an empty database and yield its SQLAlchemy URL."""
    if name == "sqlite":
        directory = Path(tempfile.mkdtemp(prefix="slo-bench-"))
        try:
            yield f"sqlite:///{directory / 'ledger.db'}"
        finally:
            shutil.rmtree(directory)
        return
    from tests.services.postgres import running_postgres

    with running_postgres() as server:
        with server.connect(autocommit=True) as connection:
            connection.execute("CREATE DATABASE ledger")
        yield server.url("ledger")


def fill(url: str, slos: int, rows: int) -> None:
    """Write a year of rows with one SQL statement: each SLO is checked ``rows / slos`` times, by one of ten DAGs."""
    from airflow_slo_provider.ledger import open_ledger

    before, after = json.dumps(EVIDENCE).split('"@"')
    start, step = time.time_ns() // 1000 - YEAR, YEAR // (rows // slos)
    with open_ledger(url) as ledger, ledger._engine.begin() as connection:
        postgres = connection.dialect.name == "postgresql"
        numbers = "generate_series(0, CAST(:rows AS bigint) - 1) AS n" if postgres else "numbers"
        head = (
            "" if postgres else "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows - 1) "
        )
        # Two concatenated digests: unique, and as long and as random as those that the ledger writes.
        identity = "md5(n::text) || md5((-n)::text)" if postgres else "lower(hex(randomblob(32)))"
        remaining = "(((n * 7919) % 1000) / 1000.0)"
        from sqlalchemy import text

        connection.execute(
            text(
                f"""INSERT INTO checks (
                    identity, dag_id, run_id, task_id, map_index, try_number, recorded_at,
                    kind, name, verdict, value, unit, good, total, target, op, message,
                    checked_at, interval_start, interval_end, model_version, evidence, result_version, service)
                {head}SELECT
                    {identity}, 'dag_' || (n % :slos % 10), 'scheduled__' || (n / :slos), 'gate', -1, 1,
                    :start + (n / :slos) * :step,
                    'slo', 'objective-' || (n % :slos), 'pass', 0.9995, 'ratio', 999500.0, 1000000.0, 0.999, 'gte', 'all is well',
                    :start + (n / :slos) * :step, :start, :start, NULL, :before || {remaining} || :after, 1, :service
                FROM {numbers}"""
            ),
            {
                "rows": rows,
                "slos": slos,
                "start": start,
                "step": step,
                "before": before,
                "after": after,
                "service": EVIDENCE["service"],
            },
        )
    with open_ledger(url) as ledger, ledger._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if postgres else "ANALYZE")


def timed(work: Callable[[], Any], repeat: int = 7) -> float:
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def in_process(url: str, slos: int) -> dict[str, float]:
    """Measure the parts of the page without a cache, and the simplest query for comparison."""
    from airflow_slo_provider.ledger import open_ledger
    from airflow_slo_provider.ledger.queries import checks as check_queries
    from airflow_slo_provider.ledger.queries import slos as slo_queries
    from airflow_slo_provider.plugins.slo_page.access import ReadableDags
    from airflow_slo_provider.plugins.slo_page.responses import Page, render
    from airflow_slo_provider.plugins.slo_page.slo_summaries import overview_values, read_overview, read_sparklines

    with open_ledger(url) as ledger:
        dags = frozenset(check_queries.dag_ids(ledger))
        everything = ReadableDags(dags, complete=True)
        some = ReadableDags(frozenset(sorted(dags)[:3]), complete=False)
        sparklines = read_sparklines(ledger, everything)
        overview = read_overview(ledger, everything, sparklines)
        assert len(overview.slos) == slos, len(overview.slos)
        assert all(len(slo.sparkline) > 20 for slo in overview.slos)

        def page() -> None:
            Page.from_html(render("overview.html", **overview_values(overview)))

        if ledger._engine.dialect.name == "postgresql":
            simplest_query = "SELECT DISTINCT ON (name) * FROM checks WHERE kind = 'slo' ORDER BY name, checked_at DESC"
        else:
            simplest_query = "SELECT *, MAX(checked_at) FROM checks WHERE kind = 'slo' GROUP BY name"

        def run_simplest_query() -> None:
            with ledger._engine.connect() as connection:
                assert len(connection.exec_driver_sql(simplest_query).all()) == slos

        return {
            "newest check of every SLO": timed(lambda: slo_queries.newest(ledger)),
            "the same, as one would write it first": timed(run_simplest_query, 3),
            "overview's data, all DAGs": timed(lambda: read_overview(ledger, everything, sparklines)),
            "overview's data, 3 of 10 DAGs": timed(lambda: read_overview(ledger, some, sparklines)),
            "small charts (every 60 s)": timed(lambda: read_sparklines(ledger, everything), 3),
            "rendering and compressing": timed(page),
        }


async def _read(url: str, token: str, readers: int, seconds: float) -> list[float]:
    import aiohttp

    took: list[float] = []
    headers = {"Cookie": f"_token={token}", "Accept": "text/html", "Accept-Encoding": "gzip"}
    end = time.perf_counter() + seconds
    async with aiohttp.ClientSession(headers=headers, auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def reader() -> None:
            while time.perf_counter() < end:
                started = time.perf_counter()
                async with session.get(url) as response:
                    body = await response.read()
                    assert response.status == 200, response.status
                    assert len(body) > 10_000
                took.append(time.perf_counter() - started)

        await asyncio.gather(*(reader() for _ in range(readers)))
    return took


def over_http(url: str, readers: int, seconds: float) -> tuple[float, list[float]]:
    """Measure the first response of a new API server, and the responses to many concurrent readers."""
    airflow_stack.COMPONENTS = ("api-server",)
    home = Path(tempfile.mkdtemp(prefix="slo-bench-airflow-"))
    stack = AirflowStack(home / "home", [home / "dags"], settings={"AIRFLOW__SLO__LEDGER_URL": url}, report=lambda text: None)
    try:
        (home / "dags").mkdir()
        stack.start_components()
        stack.wait_until_healthy(parts=("metadatabase",))
        stack.client.import_errors()  # logs in
        page, token = f"{stack.url}/slo/overview", str(stack.client._token)
        first = asyncio.run(_read(page, token, 1, 0.001))[0]
        return first, asyncio.run(_read(page, token, readers, seconds))
    finally:
        stack.stop()
        shutil.rmtree(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", nargs="+", default=["postgresql", "sqlite"], choices=["postgresql", "sqlite"])
    parser.add_argument("--slos", type=int, default=500)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    print(f"{options.slos} SLOs, {options.rows} checks over a year, {datetime.now(UTC):%Y-%m-%d}")
    for name in options.backend:
        with backend(name) as url:
            started = time.perf_counter()
            fill(url, options.slos, options.rows)
            print(f"\n{name}: filled in {time.perf_counter() - started:.0f} s\n\n| what | milliseconds |\n|---|---|", flush=True)
            for what, seconds in in_process(url, options.slos).items():
                print(f"| {what} | {seconds * 1000:.1f} |", flush=True)
            first, took = over_http(url, options.readers, options.seconds)
            print(f"| first answer of a fresh API server | {first * 1000:.0f} |")
            print(f"| {options.readers} readers at once: median of {len(took)} answers | {median(took) * 1000:.0f} |")
            print(f"| {options.readers} readers at once: 99th percentile | {quantiles(took, n=100)[98] * 1000:.0f} |")
            print(f"| {options.readers} readers at once: slowest | {max(took) * 1000:.0f} |", flush=True)


if __name__ == "__main__":
    main()
