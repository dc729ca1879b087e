"""No password, token or secret header in a log, an XCom, a rendered field, a deferral, the ledger, a report or an exception.

Every operator that uses a connection, against servers that fail and repeat in their answer all that they were sent. Airflow's
own masking is not at work here: what is found would only be masked by luck.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseHook, BaseOperator

from airflow_slo_provider.hooks.model_registry import ModelRegistryHook
from airflow_slo_provider.hooks.prometheus import PrometheusHook
from airflow_slo_provider.hooks.trace_store import TraceStoreHook
from airflow_slo_provider.notifications.incident import IncidentNotifier
from airflow_slo_provider.operators.drift import DriftOperator
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator, HttpModel
from airflow_slo_provider.operators.latency import LatencyBreakdownOperator
from airflow_slo_provider.operators.metrics import PushLedgerMetricsOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor, ModelFreshnessSensor, PipelineFreshnessSensor
from airflow_slo_provider.triggers.burn_rate import AlertmanagerTrigger, BurnRateTrigger
from tests.airflow.canaries import (
    FOREIGN,
    HEADER,
    LOGIN,
    MODES,
    PASSWORD,
    TOKEN,
    RepeatingServer,
    files_in,
    found_in,
    left_behind,
    needles,
    repeating_server,
)
from tests.airflow.gates import data_source, policy, prometheus_documents, slo
from tests.airflow.golden_files import GoldenFiles
from tests.airflow.task_runs import in_dag, run_task

HOUR = timedelta(hours=1)
INTERVAL = (datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))


@pytest.fixture(scope="module")
def server() -> Iterator[RepeatingServer]:
    with repeating_server() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    return tmp_path


def _branch(home: Path) -> BaseOperator:
    gate = ErrorBudgetBranchOperator(
        task_id="gate", slos=prometheus_documents("it"), follow_task_ids_if_allowed="go", if_frozen="hold", if_unknown="ask"
    )
    return in_dag(gate, ("go", "hold", "ask"))


def _golden(home: Path) -> BaseOperator:
    files = GoldenFiles(home / "golden")
    model = HttpModel("it", path="/predict", retries=0, timeout=5)
    return GoldenSetEvaluationOperator(
        task_id="golden", golden_set=files.golden, features=["amount"], metrics=["accuracy"], thresholds={"accuracy": 0.9},
        name="fraud", predictor=model, replicates=100,
    )  # fmt: skip


def _golden_pushed(home: Path) -> BaseOperator:
    files = GoldenFiles(home / "golden")
    from airflow_slo_provider.operators.golden_set import PredictionFile

    return GoldenSetEvaluationOperator(
        task_id="golden", golden_set=files.golden, features=["amount"], metrics=["accuracy"], thresholds={"accuracy": 0.5},
        name="fraud", predictor=PredictionFile(files.predictions(0.05, "p.csv")), replicates=100, pushgateway_conn_id="it",
        report_path=str(home / "reports"),
    )  # fmt: skip


def _latency(home: Path) -> BaseOperator:
    return LatencyBreakdownOperator(task_id="latency", service="shop", trace_store_conn_id="it")


#: What runs, the type of its connection, and what more stands in its extra.
TASKS: dict[str, tuple[Callable[[Path], BaseOperator], str, dict[str, Any]]] = {
    "gate": (_branch, "prometheus", {"params": {"access_token": TOKEN}}),
    "budget sensor": (
        lambda home: ErrorBudgetSensor(task_id="wait", slos=prometheus_documents("it"), deferrable=True), "prometheus", {},
    ),
    "pipeline": (
        lambda home: PipelineFreshnessSensor(
            task_id="wait", external_dag_id="other", conn_id="it", max_age=HOUR, deferrable=True
        ), "http", {},
    ),
    "feature": (
        lambda home: FeatureFreshnessSensor(
            task_id="wait", query="time() - max(features_written)", query_gives="age", conn_id="it", max_age=HOUR,
            deferrable=True,
        ), "prometheus", {},
    ),
    "model": (
        lambda home: ModelFreshnessSensor(
            task_id="wait", model="fraud", alias="champion", conn_id="it", max_age=HOUR, deferrable=True
        ),
        "model_registry", {"kind": "mlflow"},
    ),
    "golden set": (_golden, "http", {}),
    "golden set's metrics": (_golden_pushed, "http", {}),
    "promote": (
        lambda home: PromoteModelOperator(task_id="promote", model="fraud", version="7", model_registry_conn_id="it"),
        "model_registry", {"kind": "mlflow"},
    ),
    "push": (lambda home: PushLedgerMetricsOperator(task_id="push", conn_id="it"), "http", {}),
    **{
        kind: (_latency, "trace_store", {"kind": kind})
        for kind in ("tempo", "jaeger", "mlflow", "phoenix")
    },
}  # fmt: skip


@pytest.mark.parametrize("form", ["url", "basic", "token"])
@pytest.mark.parametrize("name", TASKS)
def test_failing_server_that_repeats_credentials_leaks_none(name: str, form: str, server: RepeatingServer, home: Path) -> None:
    make, conn_type, extra = TASKS[name]
    for mode in MODES:
        place = home / mode
        place.mkdir()
        sent = len(server.seen)
        connections = {"it": server.connection(mode, form, conn_type, **extra)}
        ran = run_task(make(place), connections=connections, data_interval=INTERVAL, start_date=datetime.now(UTC))
        assert ran.error is not None or ran.skipped or ran.deferral is not None or ran.state == "success", (mode, ran.state)
        for where, text in left_behind(ran, home).items():
            assert not found_in(text), f"{mode}: {where} shows {found_in(text)}"
        if mode not in ("refused",):
            assert len(server.seen) > sent, f"{mode}: nothing was asked, so nothing was tried: {ran.error!r}"
            heard = "\n".join(server.seen[sent:])
            assert {"url": PASSWORD[:8], "basic": PASSWORD[:8], "token": TOKEN}[form] in heard or name in WITHOUT_A_TOKEN, heard


#: Connections of type http know no token; a password without a login is one.
WITHOUT_A_TOKEN = ("golden set", "golden set's metrics", "push")


@pytest.mark.parametrize("form", ["url", "basic", "token"])
@pytest.mark.parametrize("way", ["notify", "async_notify"])
@pytest.mark.parametrize("kind", ["webhook_conn_id", "alertmanager_conn_id"])
def test_failed_notification_leaks_no_secret(
    kind: str, way: str, form: str, server: RepeatingServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk import Connection

    for mode in MODES:
        fields = server.connection(mode, form, "http")
        connection = Connection(conn_id="it", **{**fields, "extra": json.dumps(fields["extra"])})

        async def aget(_: str, connection: Any = connection) -> Any:
            return connection

        monkeypatch.setattr(BaseHook, "get_connection", lambda _, connection=connection: connection)
        monkeypatch.setattr(BaseHook, "aget_connection", aget)
        notifier = IncidentNotifier(**{kind: "it"})
        try:
            if way == "notify":
                notifier.notify({})
            else:
                asyncio.run(notifier.async_notify({}))
        except Exception as error:
            import traceback

            said = "".join(traceback.format_exception(error)) + repr(vars(error))
            assert not found_in(said), f"{mode}: {said}"
        assert not found_in(caplog.text)


@pytest.mark.parametrize("form", ["url", "basic", "token"])
@pytest.mark.parametrize(
    ("hook", "conn_type", "extra"),
    [
        (PrometheusHook, "prometheus", {}),
        (ModelRegistryHook, "model_registry", {"kind": "mlflow"}),
        *((TraceStoreHook, "trace_store", {"kind": kind}) for kind in ("tempo", "jaeger", "mlflow", "phoenix")),
    ],
)
def test_connection_test_in_the_ui_leaks_no_secret(
    hook: Any, conn_type: str, extra: dict[str, Any], form: str, server: RepeatingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import Connection

    for mode in MODES:
        fields = server.connection(mode, form, conn_type, **extra)
        connection = Connection(conn_id="it", **{**fields, "extra": json.dumps(fields["extra"])})
        monkeypatch.setattr(hook, "get_connection", lambda *_, connection=connection: connection)
        fine, said = hook("it").test_connection()
        assert not fine, (mode, said)
        assert not found_in(said), (mode, said)


@pytest.mark.parametrize("form", ["url", "basic", "token"])
@pytest.mark.parametrize("mode", MODES)
def test_watching_triggers_leak_no_secret(
    mode: str, form: str, server: RepeatingServer, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What they log, what they tell a run (that nothing is known), and what they keep for after a restart."""
    monkeypatch.setenv("AIRFLOW_CONN_IT", json.dumps(server.connection(mode, form, "prometheus")))
    short = {"poll_interval": 1, "blind_after": 1}
    triggers = [
        BurnRateTrigger(slos=prometheus_documents("it"), **short),
        AlertmanagerTrigger(matchers="a=b", alertmanager_conn_id="it", **short),
    ]

    async def watch(trigger: Any) -> list[str]:
        told = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):  # it tells after 2 s; a machine that is busy may take long
                async for event in trigger.run():
                    told.append(f"{event.payload!r} {json.dumps(event.payload)}")
                    break
        return told

    async def both() -> list[list[str]]:
        return await asyncio.gather(*(watch(trigger) for trigger in triggers))

    told = asyncio.run(both())
    assert all(told), "a trigger that sees nothing says so"
    for text in (*itertools.chain(*told), caplog.text, *(map(repr, triggers)), *files_in(home).values()):
        assert not found_in(text), text[:2000]


SQL = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "schema": "shop", "login": LOGIN, "password": PASSWORD}


@pytest.mark.parametrize("name", ["gate", "feature", "drift", "golden set"])
def test_unreachable_database_leaks_no_secret(name: str, home: Path) -> None:
    connections = {"it": {**SQL, "extra": {"sslpassword": TOKEN, "options": "-c x=1"}}}
    documents = policy() + data_source("SQL", "it") + slo()
    rows = home / "rows.csv"
    rows.write_text("x\n1\n2\n")
    tasks: dict[str, Callable[[], BaseOperator]] = {
        "gate": lambda: in_dag(
            ErrorBudgetBranchOperator(task_id="gate", slos=documents, follow_task_ids_if_allowed="go", if_unknown="ask"),
            ("go", "ask"),
        ),
        "feature": lambda: FeatureFreshnessSensor(
            task_id="wait", table="features", timestamp_column="ts", conn_id="it", max_age=HOUR
        ),
        "drift": lambda: DriftOperator(task_id="drift", reference="old", current="new", sql_conn_id="it", engine="sql"),
        "golden set": lambda: GoldenSetEvaluationOperator(
            task_id="golden", golden_set="SELECT 1", sql_conn_id="it", features=["x"], metrics=["accuracy"],
            predictor=HttpModel("it"), name="fraud", thresholds={"accuracy": 0.5},
        ),
    }  # fmt: skip
    ran = run_task(tasks[name](), connections=connections, data_interval=INTERVAL)
    assert ran.error is not None or "go" in ran.skipped, ran.state
    for where, text in left_behind(ran, home).items():
        assert not found_in(text), f"{where} shows {found_in(text)}: {text[:2000]}"


@pytest.mark.parametrize("url", [f"postgresql://{LOGIN}:{TOKEN}@127.0.0.1:1/x", f"mysql://{LOGIN}:{TOKEN}@[broken", "{"])
def test_unreachable_ledger_leaks_no_secret(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SLO__LEDGER_URL", url)
    ran = run_task(PushLedgerMetricsOperator(task_id="push", conn_id="it"), connections={"it": {"conn_type": "http"}})
    assert ran.error is not None
    for where, text in left_behind(ran, tmp_path).items():
        assert not found_in(text), f"{where}: {text[:2000]}"


def test_secret_search_finds_an_unredacted_secret(server: RepeatingServer, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A test that cannot fail is none: the needles are found where the secrets are."""
    import base64
    from urllib.parse import quote

    for text in (PASSWORD, quote(PASSWORD, safe=""), TOKEN, HEADER, TOKEN[:8]):
        assert found_in(f"x{text}y"), text
    for code in ("utf-8", "latin-1"):
        assert found_in(base64.b64encode(f"{LOGIN}:{PASSWORD}".encode(code)).decode())
    assert not found_in(f"the login {LOGIN} is none")
    assert len(needles()) == 5 + len(FOREIGN)
    for secret, said in FOREIGN.items():
        assert found_in(said), secret
    (home / "report.html").write_text(f"<p>{TOKEN}</p>")
    assert found_in(files_in(home)["report.html"])
    logging.getLogger("x").error("%s", TOKEN)
    assert found_in(caplog.text)
