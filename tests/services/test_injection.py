"""Every parameter that becomes part of a query, filled with what would end it and begin another: nothing is written, and no
number changes that belongs to somebody else.

Some of these parameters are SQL by their nature (a query, a condition). Whoever writes them may read what the connection may
read; that they cannot write is the second line of defence behind a database role that cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.operators.drift import DriftOperator
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator, PredictionFile
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from tests.airflow.gates import data_source, policy, slo
from tests.airflow.task_runs import in_dag, run_task
from tests.services.histories import END
from tests.services.postgres import PASSWORD, USER
from tests.unit.indicators.prometheus_requests import availability, ratio, request_over

HOUR = timedelta(hours=1)
INTERVAL = (datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
_END = "COMMIT; DROP TABLE victim; --"

#: What is put where a name of a table or a column is expected.
NAMES = [
    f"victim; {_END}",
    f'victim"; {_END}',
    f'victim" LIMIT 0; {_END}',
    f"victim`; {_END}",
    f"ts) FROM victim; {_END}",
    f'ts") FROM victim; {_END}',
    "victim WHERE 1 = (SELECT 1); DELETE FROM victim; COMMIT; --",
]
#: What is put where a condition is expected.
CONDITIONS = [
    f"1 = 1; {_END}",
    f"1 = 1) x; {_END}",
    f"$é$ ' $é$ = ''; {_END} '",
    f"1 = 1 /* /* */ ' */; {_END} '",
    f"1 = 1 --\r; {_END}",
    "EXISTS (WITH gone AS (DELETE FROM victim RETURNING 1) SELECT 1 FROM gone)",
]
#: What is put where a query is expected.
QUERIES = [
    f"SELECT 1; {_END}",
    f"SELECT 1 AS é$$; {_END} $$",
    f"SELECT $é$ ' $é$; {_END} '",
    f"SELECT 1 /* /* */ ' */; {_END} '",
    f"SELECT 1 --\r; {_END}",
    "WITH gone AS (DELETE FROM victim RETURNING 1) SELECT COUNT(*) FROM gone",
    "SELECT 1 INTO victim2 FROM victim",
    "DROP TABLE victim",
    "SELECT set_config('transaction_read_only', 'off', true), lo_create(0)",
]


@dataclass(frozen=True)
class Database:
    """A database with a table that must stay."""

    kind: str
    connection: dict[str, Any]
    open: Callable[[], Any]

    @property
    def rows(self) -> int:
        """Rows of the table."""
        with closing(self.open()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SELECT COUNT(*) FROM victim")
            return int(cursor.fetchone()[0])

    @property
    def tables(self) -> list[str]:
        """Names of all tables."""
        of = {
            "postgres": "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
            "sqlite": "SELECT name FROM sqlite_master ORDER BY 1",
        }
        with closing(self.open()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(of[self.kind])
            return [row[0] for row in cursor.fetchall()]


@pytest.fixture(params=["postgres", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "postgres":
        server, name = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_database")
        fields = {"host": "127.0.0.1", "port": server.port, "login": USER, "password": PASSWORD, "schema": name}
        made = Database("postgres", {"conn_type": "postgres", **fields}, lambda: server.connect(name))
    else:
        import sqlite3

        path = tmp_path / "shop.db"
        made = Database("sqlite", {"conn_type": "sqlite", "host": str(path)}, lambda: sqlite3.connect(path))
    with closing(made.open()) as connection:
        connection.execute("CREATE TABLE victim (ts TEXT, x DOUBLE PRECISION, label INTEGER)")
        rows = ", ".join(f"('{(datetime.now(UTC) - HOUR).isoformat()}', {n}, {n % 2})" for n in range(20))
        connection.execute(f"INSERT INTO victim VALUES {rows}")
        connection.commit()
    return made


def _freshness(**arguments: Any) -> BaseOperator:
    parameters = {"conn_id": "it", "max_age": 2 * HOUR, "mode": "reschedule", "deferrable": False, **arguments}
    return FeatureFreshnessSensor(task_id="wait", **parameters)


def _drift(**arguments: Any) -> BaseOperator:
    parameters = {"reference": "victim", "current": "victim", "sql_conn_id": "it", "engine": "sql", "min_rows": 1, **arguments}
    return DriftOperator(task_id="drift", **parameters)


def _golden(path: Path, text: str) -> BaseOperator:
    return GoldenSetEvaluationOperator(
        task_id="golden", golden_set=text, sql_conn_id="it", features=["x"], metrics=["accuracy"], name="x",
        thresholds={"accuracy": 0.5}, predictor=PredictionFile(str(path / "none.csv")),
    )  # fmt: skip


def _gate(text: str) -> BaseOperator:
    documents = policy() + data_source("SQL", "it") + slo(query="QUERY").replace('"QUERY"', repr(text).replace("\\'", "''"))
    gate = ErrorBudgetBranchOperator(task_id="gate", slos=documents, follow_task_ids_if_allowed="go", if_unknown="ask")
    return in_dag(gate, ("go", "ask"))


#: Where each parameter goes, by what it takes.
NAME_PARAMETERS: dict[str, Callable[[str], BaseOperator]] = {
    "FeatureFreshnessSensor(table)": lambda text: _freshness(table=text, timestamp_column="ts", timezone="UTC"),
    "FeatureFreshnessSensor(timestamp_column)": lambda text: _freshness(table="victim", timestamp_column=text, timezone="UTC"),
    "FeatureFreshnessSensor(group_by)": lambda text: _freshness(table="victim", timestamp_column="ts", group_by=[text]),
    "DriftOperator(reference)": lambda text: _drift(reference=text),
    "DriftOperator(current)": lambda text: _drift(current=text),
    "DriftOperator(columns)": lambda text: _drift(columns=[text]),
    "DriftOperator(time_column)": lambda text: _drift(current=None, time_column=text, reference_window=24 * HOUR),
}
CONDITION_PARAMETERS: dict[str, Callable[[str], BaseOperator]] = {
    "DriftOperator(where)": lambda text: _drift(where=text),
    "DriftOperator(reference_where)": lambda text: _drift(reference_where=text),
}


def _query_parameters(home: Path) -> dict[str, Callable[[str], BaseOperator]]:
    return {
        "FeatureFreshnessSensor(query)": lambda text: _freshness(query=text, query_gives="age"),
        "DriftOperator(reference)": lambda text: _drift(reference=text),
        "GoldenSetEvaluationOperator(golden_set)": lambda text: _golden(home, text),
        "an SLO document's query": _gate,
        "an SLO document's query with its window": lambda text: _gate(f"{text} WHERE ts > :date_from AND ts < :date_to"),
    }


def _run(operator: BaseOperator, database: Database, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{home / 'ledger of it.db'}")
    ran = run_task(operator, connections={"it": database.connection}, data_interval=INTERVAL)
    assert (database.rows, database.tables) == (20, ["victim"]), (ran.state, ran.error)
    return ran


@pytest.mark.parametrize("parameter", NAME_PARAMETERS)
def test_injection_name_is_quoted(parameter: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in NAMES:
        ran = _run(NAME_PARAMETERS[parameter](text), database, tmp_path, monkeypatch)
        # A drift check has a verdict of its own for columns that are not there and for no rows; whether that fails is the DAG's.
        no_verdict = ran.xcoms.get("drift", {}).get("verdict") in ("insufficient_data", "error")
        assert ran.error is not None or no_verdict, (text, ran.state, ran.xcoms)


@pytest.mark.parametrize("parameter", CONDITION_PARAMETERS)
def test_injection_condition_stays_one_condition(
    parameter: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in CONDITIONS:
        ran = _run(CONDITION_PARAMETERS[parameter](text), database, tmp_path, monkeypatch)
        assert ran.error is not None, (text, ran.state)


@pytest.mark.parametrize(
    "parameter",
    [
        "FeatureFreshnessSensor(query)", "DriftOperator(reference)", "GoldenSetEvaluationOperator(golden_set)",
        "an SLO document's query", "an SLO document's query with its window",
    ],
)  # fmt: skip
def test_injection_query_only_reads(parameter: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = _query_parameters(tmp_path)[parameter]
    for text in QUERIES:
        ran = _run(make(text), database, tmp_path, monkeypatch)
        assert "go" not in ran.xcoms.get("decision", {}).get("follow", ["ask"]), text
        assert ran.error is not None or "go" in ran.skipped, (text, ran.state)


def test_injection_texts_work_without_protection(postgres: Any, postgres_database: str) -> None:
    """Run as they stand, they do drop the table: the tests above can fail."""
    dropping = [text for text in QUERIES if _END in text and "WITH" not in text]
    assert len(dropping) == 5
    for text in dropping:
        with closing(postgres.connect(postgres_database)) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS victim (ts TEXT)")
            connection.commit()
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(text)
        with closing(postgres.connect(postgres_database)) as connection:
            left = connection.execute("SELECT COUNT(*) FROM pg_tables WHERE tablename = 'victim'").fetchone()
        assert left == (0,), text


_RAW = (
    'sum(rate(http_requests_total{service="steady",code!~"5.."}[{{.window}}]))'
    ' / sum(rate(http_requests_total{service="steady"}[{{.window}}]))'
)
#: PromQL that would answer for its neighbour, or swallow it.
HOSTILE = [
    'vector(0)) or label_replace((vector(0), "slo_q", "1", "", "")',
    'vector(0), "slo_q", "1", "", "") or label_replace(vector(0)',
    'label_replace(vector(0), "slo_q", "1", "", "")',
    "vector(0) # ",
    'vector(0) or label_replace(vector(0), "slo_q", "2", "", "") or vector(1',
    '"',
    "'",
    "`",
    "sum(up)) or (sum(up)",
    'sum(rate(http_requests_total[{{.window}}])) or label_join(vector(0), "slo_q", "", "slo_q")',
    "}",
    "count_values('slo_q', vector(1))",
]


def test_injection_prometheus_queries_stay_separate(prometheus_history: str) -> None:
    """Send several queries together; one that tries to break out of its label value changes no other result."""
    honest = [
        request_over(availability("steady"), END, timedelta(days=1)),
        request_over(ratio(raw=_RAW, raw_type="success"), END, HOUR),
    ]
    source = PrometheusSource(PrometheusClient(prometheus_history))
    alone = source.measure(honest)
    assert all(isinstance(one, Measurement) for one in alone), alone
    for text in HOSTILE:
        bad = request_over(ratio(raw=text, raw_type="success"), END, HOUR)
        windowed = request_over(ratio(raw=f"({_RAW}) * 0 + ({text})", raw_type="success"), END, HOUR)
        for order in ([bad, *honest], [*honest, bad], [honest[0], windowed, honest[1]], [windowed, bad, *honest, windowed]):
            found = source.measure(order)
            kept = [one for request, one in zip(order, found, strict=True) if request in honest]
            assert [(one.ratio, one.total) for one in kept if isinstance(one, Measurement)] == [
                (one.ratio, one.total) for one in alone if isinstance(one, Measurement)
            ], text
