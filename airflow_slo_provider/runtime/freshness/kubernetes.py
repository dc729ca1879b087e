"""Read the rollout time of a Kubernetes Deployment through an Airflow connection."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness import Observation
from airflow_slo_provider.http import caches as http_caches
from airflow_slo_provider.http.faults import wire_fault
from airflow_slo_provider.http.json_answers import read_json


def rollout(conn_id: str | None, namespace: str, name: str) -> Observation:
    """Return the time of a Deployment's current rollout.

    :param conn_id: a Kubernetes connection; ``kubernetes_default`` may be missing inside a cluster
    :param namespace: namespace of the Deployment
    :param name: name of the Deployment
    :raises MeasurementError: if the API server does not answer, or there is no such Deployment
    """
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    from airflow_slo_provider.deployment.kubernetes.api import remember_credentials
    from airflow_slo_provider.freshness.sources.http_steps import Call, Reply, run
    from airflow_slo_provider.freshness.sources.kubernetes_rollout import current_rollout

    client: Any = KubernetesHook(conn_id=conn_id).api_client
    remember_credentials(client)
    where = f"connection {conn_id}"

    def send(call: Call) -> Reply:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = client.call_api(
                call.path,
                "GET",
                query_params=list(call.params.items()),
                header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=30,
            )
        except ApiException as error:
            if error.status:
                return Reply(error.status, None, server_text(error.reason), where)
            raise _unreachable(error, where) from None
        except (HTTPError, OSError, AttributeError) as error:
            # The client raises an AttributeError for a TLS failure, because it decodes the body of a missing response.
            if isinstance(error, AttributeError) and not isinstance(error.__context__, ApiException):
                raise
            raise _unreachable(error, where) from None
        response = answer[0] if isinstance(answer, tuple) else answer
        if fault := http_caches.age_fault(response.headers):
            raise QueryError(fault, reason=http_caches.REASON, transient=True, source=where)
        text = server_text(response.data, limit=2000)
        body = read_json(response.data, source=where, status=response.status, what="the API server")
        return Reply(response.status, body, text, where)

    return run(current_rollout(namespace, name), send)


def _unreachable(error: Exception, where: str) -> QueryError:
    fault = wire_fault(error)
    message = f"the API server cannot be reached: {fault.message}"
    return QueryError(message, reason=fault.reason, transient=fault.transient, source=where)
