"""Readers that tests/airflow/test_secrets.py does not run: what a server quotes is in no error, no traceback and no result.

The servers quote credentials of others, which no connection of ours knows, and one of ours.
"""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest

from airflow_slo_provider.core.redaction import remember, secrets_of
from airflow_slo_provider.deployment.kubernetes.api import Cluster, Question, broken_off, fault_of_status, unreachable
from airflow_slo_provider.exceptions import MeasurementError, ReasonedError
from airflow_slo_provider.freshness.group_names import name_groups
from airflow_slo_provider.freshness.sources.prometheus import PrometheusQuery
from airflow_slo_provider.incidents.culprit import stands_out
from airflow_slo_provider.indicators import alertmanager
from airflow_slo_provider.indicators.prometheus.answers import Sample
from airflow_slo_provider.indicators.sql.source import SQLSource, dbapi_runner
from airflow_slo_provider.tracing.analysis.breakdown import breakdown
from tests.services.postgres import PostgresServer
from tests.services.test_answers_of_all_servers import READERS, answering
from tests.unit.indicators.sql_builders import BOUNDS, ask, ratio

OURS = "Ow1nTokenOfTheConnection"
FOREIGN = ("Fb1xBearerOfAnother", "Fq2yQueryToken", "Fp3zPasswordInUrl", "Fk4wApiKey", "AKIAFAKEFAKEFAKE1234")
SAID = (
    f"sent {OURS}; Authorization: Bearer {FOREIGN[0]}; GET /x?token={FOREIGN[1]}; postgresql://reader:{FOREIGN[2]}@db/x; "
    f"api_key={FOREIGN[3]}; key {FOREIGN[4]}"
)


@pytest.fixture(autouse=True)
def _connection() -> None:
    secrets_of(bearer=OURS)


def nothing_in(*texts: object) -> None:
    for text in map(str, texts):
        assert not [secret for secret in (OURS, *FOREIGN) if secret in text], text


def told(error: BaseException) -> str:
    return f"{error!s} {error!r} {vars(error)} {''.join(traceback.format_exception(error))}"


@pytest.mark.parametrize("reader", READERS)
def test_a_message_that_quotes_credentials_is_redacted_by_every_reader(reader: str) -> None:
    """As the whole answer, and as the message of each field in which these servers have one."""
    fields = dict.fromkeys(("message", "error", "detail", "errorType", "error_code", "reason", "msg"), SAID)
    for body in (SAID.encode(), json.dumps(fields).encode(), json.dumps([fields]).encode()):
        with answering(body) as url:
            try:
                READERS[reader](url)
            except Exception as error:
                nothing_in(told(error))


def test_an_error_of_a_database_is_redacted_and_its_driver_is_not_chained(
    postgres: PostgresServer, postgres_database: str
) -> None:
    """PostgreSQL quotes the value that it cannot read."""
    with postgres.connect(postgres_database) as connection:
        source = SQLSource(dbapi_runner(connection), name="connection it")
        query = (
            f"SELECT 1 AS good, max(v::int) AS total FROM (SELECT said AS v FROM quoted) q WHERE {BOUNDS.replace('ts', 'now()')}"
        )
        connection.execute("CREATE TABLE quoted (said text)")
        connection.execute("INSERT INTO quoted VALUES (%s)", (SAID,))
        connection.commit()
        (found,) = source.measure([ask(ratio(query), datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))])
    assert isinstance(found, MeasurementError)
    assert "invalid input syntax" in found.message
    assert found.__cause__ is None
    nothing_in(told(found))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 503])
def test_a_message_of_kubernetes_is_redacted(status: int) -> None:
    question = Question("patch", "deployments", "shop", "model")
    for body in (SAID, json.dumps({"kind": "Status", "message": SAID})):
        nothing_in(told(fault_of_status(status, body, question)))
    nothing_in(told(broken_off(OSError(SAID), question)), told(unreachable(OSError(SAID), question)))


def test_the_clients_own_exception_is_not_chained_to_a_refusal_of_kubernetes() -> None:
    """It would print the answer's headers and body."""
    from kubernetes import client

    class Api:
        api_client = client.ApiClient(client.Configuration(host="http://x", api_key={"authorization": "Bearer Kube1Token"}))

        def read_namespaced_deployment(self, *_: Any, **__: Any) -> Any:
            error = client.ApiException(status=500, reason=SAID)
            error.body, error.headers = SAID + " Kube1Token", {"X-Token": SAID}
            raise error

    with pytest.raises(ReasonedError) as caught:
        Cluster(Api()).deployment("shop", "model")
    nothing_in(told(caught.value))
    assert "Kube1Token" not in told(caught.value)


def test_labels_and_annotations_of_an_alert_are_redacted() -> None:
    data = {
        "fingerprint": "1", "startsAt": "2026-11-01T00:00:00Z", "generatorURL": f"http://p/graph?token={FOREIGN[1]}",
        "labels": {"slo": "checkout", "api_key": FOREIGN[3], "said": SAID}, "annotations": {"summary": SAID},
    }  # fmt: skip
    alert = alertmanager._alert(data)
    nothing_in(repr(alert))
    assert alert.labels["slo"] == "checkout"


def test_names_of_groups_are_redacted_and_groups_that_look_alike_are_refused() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    named = name_groups([(["eu", f"token={FOREIGN[1]}"], at), (["us", "x"], at)], repeated=ValueError)
    nothing_in(named)
    assert set(named) == {"eu/token=***", "us/x"}
    with pytest.raises(ValueError, match=r"token=\*\*\*"):
        name_groups([([f"token={one}"], at) for one in FOREIGN[:2]], repeated=ValueError)


def test_a_query_for_freshness_that_answers_two_series_names_no_credential() -> None:
    question = PrometheusQuery(query="max(x)", gives="timestamp", group_by=("said",))
    samples = [Sample({"said": SAID, "n": n}, Fraction(1), "1") for n in "12"]
    with pytest.raises(MeasurementError) as caught:
        question.read(samples, at=datetime(2026, 11, 1, tzinfo=UTC), where="http://x")
    nothing_in(told(caught.value))


def test_a_culprit_is_named_without_a_credential() -> None:
    found = stands_out({SAID: Fraction(9), "v2": Fraction(1)}, at_least=Fraction(0), times=Fraction(2))
    nothing_in(found)
    assert found.name is not None


def test_rows_and_notes_of_a_breakdown_are_redacted() -> None:
    span = {
        "traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "name": f"GET /x?token={FOREIGN[1]}", "startTimeUnixNano": "1",
        "endTimeUnixNano": "2", "attributes": [{"key": "model_version", "value": {"stringValue": f"api_key={FOREIGN[3]}"}}],
    }  # fmt: skip
    document = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": [span]}]}]}
    found = breakdown([document])
    nothing_in(found.rows, found.to_dict())
    assert found.rows[0].span == "GET /x?token=***"


def test_a_token_that_a_server_gives_is_a_secret_from_then_on() -> None:
    from airflow_slo_provider.freshness.sources.http_client import ApiClient, ApiSettings
    from airflow_slo_provider.freshness.sources.http_steps import Call, read_object

    with answering(b'{"access_token": "Gv1enByTheServer", "detail": "you sent Gv1enByTheServer"}') as url:
        settings = ApiSettings(url=url, basic=("me", "pass-word"), token_path="/auth/token")
        with ApiClient(settings) as client:
            reply = client.send(Call("/x"))
            assert "Gv1enByTheServer" not in reply.text
            with pytest.raises(ReasonedError) as caught:
                read_object(reply, Call("/x"), accepted=())
    assert "Gv1enByTheServer" not in told(caught.value)


def test_the_path_of_a_webhook_is_secret() -> None:
    from types import SimpleNamespace

    from airflow_slo_provider.runtime.connections.webhook import post

    with answering(b"no such hook: T000/B000/Wh00kSecret") as url:
        connection: Any = SimpleNamespace(
            conn_id="it", host=f"{url}/T000/B000/Wh00kSecret", port=None, schema=None, login=None, password=None, extra=None
        )
        post(connection, "", {})
    remember("x")
    from airflow_slo_provider.core.redaction import redact

    assert "Wh00kSecret" not in redact("no such hook: T000/B000/Wh00kSecret")
