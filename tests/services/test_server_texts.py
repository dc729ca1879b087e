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

from airflow_slo_provider.core.redaction import collect_secrets, remember
from airflow_slo_provider.deployment.kubernetes.api import (
    Cluster,
    KubernetesRequest,
    status_error,
    truncated_answer_error,
    unreachable_error,
)
from airflow_slo_provider.exceptions import MeasurementError, ReasonedError
from airflow_slo_provider.freshness.group_names import name_groups
from airflow_slo_provider.freshness.sources.prometheus import PrometheusQuery
from airflow_slo_provider.incidents.culprit import find_outlier
from airflow_slo_provider.indicators import alertmanager
from airflow_slo_provider.indicators.prometheus.answers import Sample
from airflow_slo_provider.indicators.sql.source import SQLSource, dbapi_runner
from airflow_slo_provider.tracing.analysis.breakdown import breakdown
from tests.services.postgres import PostgresServer
from tests.services.test_answers_of_all_servers import READERS, answering
from tests.unit.indicators.sql_builders import BOUNDS, ratio, request_of

OWN_SECRET = "Ow1nTokenOfTheConnection"
OTHER_SECRETS = ("Fb1xBearerOfAnother", "Fq2yQueryToken", "Fp3zPasswordInUrl", "Fk4wApiKey", "AKIAFAKEFAKEFAKE1234")
SERVER_TEXT = (
    f"sent {OWN_SECRET}; Authorization: Bearer {OTHER_SECRETS[0]}; GET /x?token={OTHER_SECRETS[1]}; "
    f"postgresql://reader:{OTHER_SECRETS[2]}@db/x; api_key={OTHER_SECRETS[3]}; key {OTHER_SECRETS[4]}"
)


@pytest.fixture(autouse=True)
def remember_own_secret() -> None:
    collect_secrets(bearer=OWN_SECRET)


def assert_no_secret(*texts: object) -> None:
    for text in map(str, texts):
        assert not [secret for secret in (OWN_SECRET, *OTHER_SECRETS) if secret in text], text


def error_text(error: BaseException) -> str:
    return f"{error!s} {error!r} {vars(error)} {''.join(traceback.format_exception(error))}"


@pytest.mark.parametrize("reader", READERS)
def test_quoted_credentials_in_an_answer_are_redacted_by_every_reader(reader: str) -> None:
    """As the whole answer, and as the message of each field in which these servers have one."""
    fields = dict.fromkeys(("message", "error", "detail", "errorType", "error_code", "reason", "msg"), SERVER_TEXT)
    for body in (SERVER_TEXT.encode(), json.dumps(fields).encode(), json.dumps([fields]).encode()):
        with answering(body) as url:
            try:
                READERS[reader](url)
            except Exception as error:
                assert_no_secret(error_text(error))


def test_database_error_is_redacted_and_not_chained(postgres: PostgresServer, postgres_database: str) -> None:
    """PostgreSQL quotes the value that it cannot read."""
    with postgres.connect(postgres_database) as connection:
        source = SQLSource(dbapi_runner(connection), name="connection it")
        query = (
            f"SELECT 1 AS good, max(v::int) AS total FROM (SELECT said AS v FROM quoted) q WHERE {BOUNDS.replace('ts', 'now()')}"
        )
        connection.execute("CREATE TABLE quoted (said text)")
        connection.execute("INSERT INTO quoted VALUES (%s)", (SERVER_TEXT,))
        connection.commit()
        (found,) = source.measure([request_of(ratio(query), datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))])
    assert isinstance(found, MeasurementError)
    assert "invalid input syntax" in found.message
    assert found.__cause__ is None
    assert_no_secret(error_text(found))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 503])
def test_kubernetes_message_is_redacted(status: int) -> None:
    request = KubernetesRequest("patch", "deployments", "shop", "model")
    for body in (SERVER_TEXT, json.dumps({"kind": "Status", "message": SERVER_TEXT})):
        assert_no_secret(error_text(status_error(status, body, request)))
    errors = truncated_answer_error(OSError(SERVER_TEXT), request), unreachable_error(OSError(SERVER_TEXT), request)
    assert_no_secret(*map(error_text, errors))


def test_kubernetes_refusal_does_not_chain_the_clients_exception() -> None:
    """It would print the answer's headers and body."""
    from kubernetes import client

    class Api:
        api_client = client.ApiClient(client.Configuration(host="http://x", api_key={"authorization": "Bearer Kube1Token"}))

        def read_namespaced_deployment(self, *_: Any, **__: Any) -> Any:
            error = client.ApiException(status=500, reason=SERVER_TEXT)
            error.body, error.headers = SERVER_TEXT + " Kube1Token", {"X-Token": SERVER_TEXT}
            raise error

    with pytest.raises(ReasonedError) as caught:
        Cluster(Api()).deployment("shop", "model")
    assert_no_secret(error_text(caught.value))
    assert "Kube1Token" not in error_text(caught.value)


def test_alert_labels_and_annotations_are_redacted() -> None:
    data = {
        "fingerprint": "1", "startsAt": "2026-11-01T00:00:00Z", "generatorURL": f"http://p/graph?token={OTHER_SECRETS[1]}",
        "labels": {"slo": "checkout", "api_key": OTHER_SECRETS[3], "said": SERVER_TEXT}, "annotations": {"summary": SERVER_TEXT},
    }  # fmt: skip
    alert = alertmanager._read_alert(data)
    assert_no_secret(repr(alert))
    assert alert.labels["slo"] == "checkout"


def test_group_names_are_redacted_and_equal_names_refused() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    named = name_groups([(["eu", f"token={OTHER_SECRETS[1]}"], at), (["us", "x"], at)], repeated=ValueError)
    assert_no_secret(named)
    assert set(named) == {"eu/token=***", "us/x"}
    with pytest.raises(ValueError, match=r"token=\*\*\*"):
        name_groups([([f"token={one}"], at) for one in OTHER_SECRETS[:2]], repeated=ValueError)


def test_freshness_query_with_two_series_names_no_credential() -> None:
    question = PrometheusQuery(query="max(x)", gives="timestamp", group_by=("said",))
    samples = [Sample({"said": SERVER_TEXT, "n": n}, Fraction(1), "1") for n in "12"]
    with pytest.raises(MeasurementError) as caught:
        question.read(samples, at=datetime(2026, 11, 1, tzinfo=UTC), where="http://x")
    assert_no_secret(error_text(caught.value))


def test_incident_culprit_is_redacted() -> None:
    found = find_outlier({SERVER_TEXT: Fraction(9), "v2": Fraction(1)}, at_least=Fraction(0), times=Fraction(2))
    assert_no_secret(found)
    assert found.name is not None


def test_breakdown_rows_and_notes_are_redacted() -> None:
    span = {
        "traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "name": f"GET /x?token={OTHER_SECRETS[1]}", "startTimeUnixNano": "1",
        "endTimeUnixNano": "2", "attributes": [{"key": "model_version", "value": {"stringValue": f"api_key={OTHER_SECRETS[3]}"}}],
    }  # fmt: skip
    document = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": [span]}]}]}
    found = breakdown([document])
    assert_no_secret(found.rows, found.to_dict())
    assert found.rows[0].span == "GET /x?token=***"


def test_token_issued_by_a_server_is_redacted_afterwards() -> None:
    from airflow_slo_provider.freshness.sources.http_client import ApiClient, ApiSettings
    from airflow_slo_provider.freshness.sources.http_steps import Call, read_object

    with answering(b'{"access_token": "Gv1enByTheServer", "detail": "you sent Gv1enByTheServer"}') as url:
        settings = ApiSettings(url=url, basic=("me", "pass-word"), token_path="/auth/token")
        with ApiClient(settings) as client:
            reply = client.send(Call("/x"))
            assert "Gv1enByTheServer" not in reply.text
            with pytest.raises(ReasonedError) as caught:
                read_object(reply, Call("/x"), accepted=())
    assert "Gv1enByTheServer" not in error_text(caught.value)


def test_webhook_path_is_redacted() -> None:
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
