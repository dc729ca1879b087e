"""Who is told of an incident, and what: against a real HTTP server and a real Alertmanager."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, AsyncCallback, BaseNotifier, DeadlineAlert, DeadlineReference

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.incidents import Incident
from airflow_slo_provider.notifications.incident import IncidentNotifier, run_url
from tests.services.alertmanager_server import running_alertmanager
from tests.services.prometheus_server import free_port

INCIDENT = Incident(
    id="checkout-page-1", subject="checkout", severity="page", started_at=datetime(2026, 11, 24, 5, tzinfo=UTC),
    message="the error budget burns at 20 times the sustainable rate",
    evidence={"slo": "checkout", "burn_rates": {"5m": 21.5, "1h": 20.0}, "model_version": "<script>"},
)  # fmt: skip


class Webhook(ThreadingHTTPServer):
    """Takes what is posted, or refuses it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[tuple[str, dict[str, str], Any]] = []
        self.status = 200
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def connection(self) -> dict[str, Any]:
        return {"conn_type": "http", "host": f"http://127.0.0.1:{self.server_address[1]}/hook"}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.taken.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"the token secret-token is wrong" if self.server.status >= 400 else b"")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    server = Webhook()
    extra = json.dumps({"token": "secret-token"})
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps({**server.connection, "extra": extra}))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/")
    yield server
    server.shutdown()
    server.server_close()


def context(**more: Any) -> dict[str, Any]:
    run = SimpleNamespace(dag_id="a dag", run_id="manual__1", conf={"incident": INCIDENT.to_dict()})
    return {"dag_run": run, "choice": {"title": "Model serving degradation", "severity": "critical"}, **more}


def send(notifier: IncidentNotifier, given: dict[str, Any], *, how: str) -> None:
    """As Airflow calls it: as a callback, or awaited."""
    if how == "sync":
        notifier(given)
        return

    async def wait() -> None:
        notifier.context = given
        await notifier

    asyncio.run(wait())


both = pytest.mark.parametrize("how", ["sync", "async"])


@both
def test_webhook_gets_all_fields(webhook: Webhook, how: str):
    notifier = IncidentNotifier(
        webhook_conn_id="hook", playbook_url="https://wiki/{{ incident.subject }}", text="call {{ choice.title }}"
    )
    send(notifier, context(), how=how)
    ((path, headers, body),) = webhook.taken
    assert (path, headers["Authorization"]) == ("/hook", "Bearer secret-token")
    assert body["title"] == "[critical] checkout: the error budget burns"
    assert body["text"].splitlines() == [
        "[critical] checkout: the error budget burns",
        "the error budget burns at 20 times the sustainable rate",
        "since 2026-11-24T05:00:00+00:00",
        "burn rates: 5m: 21.5, 1h: 20.0",
        "playbook: Model serving degradation",
        "playbook: https://wiki/checkout",
        "run: https://airflow.example/dags/a%20dag/runs/manual__1",
        "call Model serving degradation",
    ]
    assert (body["severity"], body["slo"], body["incident"]["id"]) == ("critical", "checkout", "checkout-page-1")
    assert body["run_url"] == "https://airflow.example/dags/a%20dag/runs/manual__1"


@both
def test_secret_in_exception_is_masked(webhook: Webhook, how: str):
    from airflow.sdk.log import mask_secret

    mask_secret("a-task-s-secret")
    # The first would be cut in the middle of the secret.
    for said in ("x" * 970 + " token=a-task-s-secret", "GET https://svc:hunter2@db.example/x failed; token=a-task-s-secret"):
        failed = {
            "exception": ConnectionError(said),
            "ti": SimpleNamespace(task_id="t"),
            "dag_run": {"dag_id": "d", "run_id": "r"},
        }
        send(IncidentNotifier(webhook_conn_id="hook", notifier=AsyncInnerNotifier()), failed, how=how)
        for all_of_it in (str(webhook.taken), str(InnerNotifier.said)):
            assert "a-task" not in all_of_it and "hunter2" not in all_of_it
    for text in (webhook.taken[-1][2]["text"], InnerNotifier.said[-1][1]):
        assert "ConnectionError: GET https://***@db.example/x failed; token=***" in text


class InnerNotifier(BaseNotifier):
    template_fields = ("text",)
    said: list[tuple[str, str]] = []

    def __init__(self, text: str = "{{ incident_text }}", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def notify(self, context: Any) -> None:
        self.said.append(("sync", self.text))


class AsyncInnerNotifier(InnerNotifier):
    async def async_notify(self, context: Any) -> None:
        self.said.append(("async", self.text))


@both
@pytest.mark.parametrize("kind", [InnerNotifier, AsyncInnerNotifier])
@pytest.mark.parametrize("named", [False, True])
def test_airflow_notifier_renders_incident(how: str, kind: type[InnerNotifier], named: bool):
    InnerNotifier.said.clear()
    text = "{{ incident_title }} ({{ incident.id }})"
    if named:
        notifier = IncidentNotifier(notifier=f"{kind.__module__}.{kind.__qualname__}", notifier_arguments={"text": text})
    else:
        notifier = IncidentNotifier(notifier=kind(text=text))
    send(notifier, context(), how=how)
    expected = "async" if how == "async" and kind is AsyncInnerNotifier else "sync"
    assert InnerNotifier.said == [(expected, "[critical] checkout: the error budget burns (checkout-page-1)")]


HOSTILE = "{{ 7 * 7 }} {% for x in [1] %}run{% endfor %} {{ conn.secret.password }}"


@both
@pytest.mark.parametrize("kind", [InnerNotifier, AsyncInnerNotifier])
@pytest.mark.parametrize("named", [False, True])
def test_template_in_label_is_not_rendered(how: str, kind: type[InnerNotifier], named: bool, monkeypatch: pytest.MonkeyPatch):
    """What an alert says is rendered into a message, and the message is not rendered once more."""
    monkeypatch.setenv("AIRFLOW_CONN_SECRET", json.dumps({"conn_type": "http", "password": "hunter2"}))
    InnerNotifier.said.clear()
    text = "{{ incident_text }}"
    if named:
        notifier = IncidentNotifier(notifier=f"{kind.__module__}.{kind.__qualname__}", notifier_arguments={"text": text})
    else:
        notifier = IncidentNotifier(notifier=kind(text=text), text="{{ incident.message }}")
    send(notifier, context(incident={**INCIDENT.to_dict(), "message": HOSTILE}), how=how)
    ((_, said),) = InnerNotifier.said
    assert HOSTILE in said
    assert "49" not in said and "hunter2" not in said


@both
def test_alertmanager_gets_alert(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with running_alertmanager(tmp_path) as url:
        monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps({"conn_type": "prometheus", "host": url}))
        send(IncidentNotifier(alertmanager_conn_id="alerts", playbook_url="https://wiki/x"), context(), how=how)
        with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
            (alert,) = json.load(answer)
    assert alert["labels"] == {
        "alertname": "SLOIncident",
        "slo": "checkout",
        "severity": "critical",
        "incident": "checkout-page-1",
    }
    assert alert["annotations"]["runbook_url"] == "https://wiki/x"
    assert alert["startsAt"].startswith("2026-11-24T05:00:00")


@both
@pytest.mark.parametrize("status", [401, 503])
def test_failed_channel_raises_masked_error_after_other_channels(webhook: Webhook, how: str, status: int):
    webhook.status = status
    InnerNotifier.said.clear()
    notifier = IncidentNotifier(webhook_conn_id="hook", notifier=InnerNotifier())
    with pytest.raises(QueryError, match=f"HTTP {status}") as caught:
        send(notifier, context(), how=how)
    assert "secret-token" not in str(caught.value) and caught.value.transient is (status == 503)
    assert len(InnerNotifier.said) == 1


@both
def test_unreachable_channel_raises(how: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps({"conn_type": "http", "host": f"http://127.0.0.1:{free_port()}"}))
    with pytest.raises(QueryError, match="was not accepted"):
        send(IncidentNotifier(webhook_conn_id="hook"), context(), how=how)


@both
def test_failed_task_without_incident_is_reported(webhook: Webhook, how: str):
    run = SimpleNamespace(dag_id="train", run_id="r", conf={})
    given = {"dag_run": run, "ti": SimpleNamespace(task_id="fit"), "exception": ValueError("no rows")}
    send(IncidentNotifier(webhook_conn_id="hook"), given, how=how)
    ((_, _, body),) = webhook.taken
    assert body["title"] == "[unknown] train.fit: a task has failed" and "ValueError: no rows" in body["text"]


@both
def test_missed_deadline_is_reported(webhook: Webhook, how: str):
    given = {"dag_run": {"dag_id": "train", "dag_run_id": "r", "conf": {}}, "deadline": {"deadline_time": "2026-11-24T05:00:00Z"}}
    send(IncidentNotifier(webhook_conn_id="hook"), given, how=how)
    ((_, _, body),) = webhook.taken
    assert body["title"] == "[unknown] train: a deadline was missed" and "2026-11-24T05:00:00Z" in body["text"]
    assert body["run_url"].endswith("/dags/train/runs/r")


@both
@pytest.mark.parametrize("deadline", [False, True])
@pytest.mark.parametrize(
    "conf",
    ["checkout burns", {"slo": "x"}, {"id": "x", "started_at": "yesterday"}, {"id": "../x"}, {"id": "x", "evidence": "text"}],
)
def test_run_with_invalid_incident_is_reported(webhook: Webhook, how: str, deadline: bool, conf: Any):
    values = {"dag_id": "rollback", "run_id": "r", "conf": {"incident": conf}}
    given = {"dag_run": values if deadline else SimpleNamespace(**values), "ti": SimpleNamespace(task_id="open")}
    send(IncidentNotifier(webhook_conn_id="hook"), {**given, "exception": ValueError("no incident")}, how=how)
    ((_, _, body),) = webhook.taken
    assert body["title"] == "[unknown] rollback.open: a task has failed" and "ValueError: no incident" in body["text"]


@both
def test_missing_burn_rates_are_omitted(webhook: Webhook, how: str):
    send(IncidentNotifier(webhook_conn_id="hook"), context(incident={"id": "x", "evidence": {"burn_rates": "high"}}), how=how)
    assert len(webhook.taken) == 1


@both
def test_callbacks_of_one_try_have_own_incidents(webhook: Webhook, how: str):
    """Airflow gives all callbacks of a try one context."""
    given = {"dag_run": SimpleNamespace(dag_id="train", run_id="r", conf={}), "ti": SimpleNamespace(task_id="fit")}
    send(IncidentNotifier(webhook_conn_id="hook", text="{{ incident.kind }}"), given, how=how)
    assert not [name for name in given if name.startswith("incident")]
    given["exception"] = ValueError("no rows")
    send(IncidentNotifier(webhook_conn_id="hook", text="{{ incident.kind }}"), given, how=how)
    first, second = (body for _, _, body in webhook.taken)
    assert first["text"].endswith("notice") and second["text"].endswith("failure")
    assert second["title"] == "[unknown] train.fit: a task has failed"


def test_notifier_serializes_in_deadline_alert_and_callback():
    from airflow.serialization.serialized_objects import DagSerialization

    callback = AsyncCallback(IncidentNotifier, kwargs={"webhook_conn_id": "hook"})
    deadline = DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=timedelta(minutes=5), callback=callback)
    with DAG(
        "train", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), deadline=deadline,
        on_failure_callback=IncidentNotifier(webhook_conn_id="hook"),
    ) as dag:  # fmt: skip
        pass
    assert "airflow_slo_provider.notifications.incident.IncidentNotifier" in json.dumps(
        DagSerialization.to_dict(dag), default=str
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({}, "has no channel"), ({"notifier": InnerNotifier(), "notifier_arguments": {}}, "the dotted name of a notifier")],
)
def test_invalid_arguments_are_rejected(arguments: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        IncidentNotifier(**arguments)


def test_run_url_without_run_is_none():
    assert run_url({}) is None
    assert run_url({"dag_run": {}}) is None
