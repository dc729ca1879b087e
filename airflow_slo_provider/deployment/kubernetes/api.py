"""Send requests to a Kubernetes API server: raw JSON in and out, every failure as a DeploymentError.

Objects are read as raw JSON rather than as the client's models: a model drops fields that are newer than the client, which would
be lost when a template is written back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core import strict_json
from airflow_slo_provider.core.redaction import remember, server_text
from airflow_slo_provider.exceptions import DeploymentError
from airflow_slo_provider.http import caches as http_caches
from airflow_slo_provider.http.faults import TRANSIENT_STATUSES, status_reason, wire_fault

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, AppsV1Api  # type: ignore[import-untyped]

JSON = dict[str, Any]

#: Default number of seconds to wait for one answer, as the client has no timeout of its own.
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class KubernetesRequest:
    """A request in RBAC terms, so that an error can name the missing permission.

    :param verb: ``get``, ``list`` or ``patch``
    :param resource: e.g. ``deployments`` or ``deployments/scale``
    :param group: API group
    """

    verb: str
    resource: str
    namespace: str
    name: str = ""
    group: str = "apps"

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.namespace}{'/' + self.name if self.name else ''}"


class PatchConflict(DeploymentError):
    """The object changed since it was read."""


def status_error(status: int, body: str | bytes | None, request: KubernetesRequest) -> DeploymentError:
    """Build the error for an answer with a status other than 2xx.

    :param status: HTTP status
    :param body: body of the answer, usually a ``Status`` object
    :param request: the request
    """
    detail = _message(body)
    if status == 404:
        # kubectl's message, also if a proxy answers instead of the server.
        missing = f'{request.resource}.{request.group} "{request.name}" not found'
        message = (
            missing if not detail or missing in detail else f"{missing} in {request.namespace}. The server answered: {detail}"
        )
        return DeploymentError(message, reason="not_found", http_status=status)
    if status == 409:
        return PatchConflict(f"{request}: {detail or 'conflict'}", reason="conflict", transient=True, http_status=status)
    if status == 403 and not _is_admission_denial(detail, request):
        reason = "forbidden"
        message = (
            f"{request}: forbidden. The service account needs the verb {request.verb!r} on {request.resource!r} "
            f"(API group {request.group!r}) in namespace {request.namespace!r}. {detail}".rstrip()
        )
    elif status in (400, 403, 405, 415, 422):
        reason = {403: "denied", 422: "invalid"}.get(status, "bad_request")
        message = f"{request}: refused with {status}: {detail or 'no reason given'}"
    elif status == 401:
        reason, message = "unauthorized", f"{request}: the server does not accept the credentials (401). {detail}".rstrip()
    else:
        reason, message = status_reason(status), f"{request}: the server answered {status}: {detail or 'no reason given'}"
    # After a 401 the next try creates a new client, which renews an expired token.
    transient = status == 401 or status >= 500 or status in TRANSIENT_STATUSES
    return DeploymentError(message, reason=reason, transient=transient, http_status=status)


def remember_credentials(client: Any) -> None:
    """Register a client's tokens and password for redaction in all messages.

    :param client: an ``ApiClient`` of kubernetes or kubernetes_asyncio
    """
    configuration = getattr(client, "configuration", None)
    for token in (getattr(configuration, "api_key", None) or {}).values():
        remember(str(token), str(token).rpartition(" ")[2])
    remember(str(getattr(configuration, "password", None) or ""))


def parse(data: bytes | str, request: KubernetesRequest) -> JSON:
    """Read the body of a 2xx answer.

    :param data: the body
    :param request: the request
    :raises DeploymentError: when it is not a complete JSON object (reason ``cut_off``)
    """
    try:
        parsed = strict_json.loads(data)
    except strict_json.JSONContradiction as error:
        raise DeploymentError(
            f"{request}: the server answered 200 with invalid JSON: {error}{_unknown_outcome(request)}", reason=error.reason
        ) from None
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or ("items" if request.verb == "list" else "metadata") not in parsed:
        raise DeploymentError(
            f"{request}: the server answered 200 with {'a truncated' if data else 'an empty'} body "
            f"({len(data)} bytes, no complete object){_unknown_outcome(request)}",
            reason="cut_off",
            transient=True,
        )
    return parsed


def truncated_answer_error(error: BaseException, request: KubernetesRequest) -> DeploymentError:
    """Build the error for a 2xx answer whose body ended early."""
    return DeploymentError(
        f"{request}: the server's answer broke off: {server_text(error)}{_unknown_outcome(request)}",
        reason="cut_off",
        transient=True,
    )


def unreachable_error(error: BaseException, request: KubernetesRequest) -> DeploymentError:
    """Build the error for an answer that did not arrive, or ended early."""
    fault = wire_fault(error)
    return DeploymentError(
        f"{request}: no answer: {fault.message}{_unknown_outcome(request)}", reason=fault.reason, transient=fault.transient
    )


class Cluster:
    """Client for the requests of this provider to a Kubernetes cluster.

    :param api: ``kubernetes.client.AppsV1Api`` or ``ApiClient``
    :param timeout: seconds to wait for one answer
    """

    def __init__(self, api: AppsV1Api | ApiClient, *, timeout: float = ANSWER_SECONDS) -> None:
        if not hasattr(api, "read_namespaced_deployment"):
            from kubernetes.client import AppsV1Api

            api = AppsV1Api(api)
        self._apps: Any = api
        remember_credentials(getattr(api, "api_client", None))
        self._timeout = timeout

    def deployment(self, namespace: str, name: str) -> JSON:
        """Read a Deployment as raw JSON.

        :param namespace: namespace of the Deployment
        :param name: name of the Deployment
        :raises DeploymentError: when it does not exist or cannot be read
        """
        request = KubernetesRequest("get", "deployments", namespace, name)
        return self._send(request, self._apps.read_namespaced_deployment, name, namespace)

    def replica_sets(self, namespace: str, selector: str) -> list[JSON]:
        """Read all ReplicaSets that match a label selector.

        :param namespace: the namespace
        :param selector: label selector, as a query parameter
        :raises DeploymentError: when they cannot be read
        """
        request = KubernetesRequest("list", "replicasets", namespace)
        return self._list(request, self._apps.list_namespaced_replica_set, namespace, label_selector=selector)

    def autoscalers(self, namespace: str) -> list[JSON]:
        """Read all HorizontalPodAutoscalers of a namespace.

        :param namespace: the namespace
        :raises DeploymentError: when they cannot be read
        """
        from kubernetes.client import AutoscalingV2Api

        request = KubernetesRequest("list", "horizontalpodautoscalers", namespace, group="autoscaling")
        function = AutoscalingV2Api(self._apps.api_client).list_namespaced_horizontal_pod_autoscaler
        return self._list(request, function, namespace)

    def patch(self, namespace: str, name: str, operations: Sequence[Mapping[str, Any]], *, dry_run: bool) -> JSON:
        """Apply a JSON Patch to a Deployment atomically.

        :param namespace: namespace of the Deployment
        :param name: name of the Deployment
        :param operations: operations of the JSON Patch
        :param dry_run: validate on the server without storing the change
        :raises PatchConflict: when the resourceVersion in the patch is no longer current
        :raises DeploymentError: for any other failure
        """
        request = KubernetesRequest("patch", "deployments", namespace, name)
        options = _patch_options(operations, dry_run)
        return self._send(request, self._apps.patch_namespaced_deployment, name, namespace, **options)

    def scale(self, namespace: str, name: str) -> JSON:
        """Read the ``scale`` subresource of a Deployment.

        :param namespace: namespace of the Deployment
        :param name: name of the Deployment
        """
        request = KubernetesRequest("get", "deployments/scale", namespace, name)
        return self._send(request, self._apps.read_namespaced_deployment_scale, name, namespace)

    def patch_scale(self, namespace: str, name: str, operations: Sequence[Mapping[str, Any]], *, dry_run: bool) -> JSON:
        """Apply a JSON Patch to the ``scale`` subresource of a Deployment; parameters and errors as for :meth:`patch`."""
        request = KubernetesRequest("patch", "deployments/scale", namespace, name)
        options = _patch_options(operations, dry_run)
        return self._send(request, self._apps.patch_namespaced_deployment_scale, name, namespace, **options)

    def _list(self, request: KubernetesRequest, function: Callable[..., Any], namespace: str, **options: Any) -> list[JSON]:
        found: list[JSON] = []
        while True:
            page = self._send(request, function, namespace, **options)
            found += page.get("items") or []
            options["_continue"] = (page.get("metadata") or {}).get("continue")
            if not options["_continue"]:
                return found

    def _send(self, request: KubernetesRequest, function: Callable[..., Any], *arguments: Any, **options: Any) -> JSON:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = function(*arguments, _preload_content=False, _request_timeout=self._timeout, **options)
        except ApiException as error:
            if not error.status:
                raise unreachable_error(error, request) from None
            raise status_error(error.status, error.body, request) from None
        except (HTTPError, OSError) as error:
            raise unreachable_error(error, request) from None
        except AttributeError as error:
            # On a TLS failure the client fails while decoding the body of an answer that never arrived.
            if isinstance(error.__context__, ApiException):
                raise unreachable_error(error.__context__, request) from None
            raise
        fault = request.verb != "patch" and http_caches.age_fault(getattr(answer, "headers", None) or {})
        if fault:
            raise DeploymentError(f"{request}: {fault}", reason=http_caches.REASON, transient=True)
        try:
            return parse(answer.data, request)
        except (HTTPError, OSError) as error:
            raise truncated_answer_error(error, request) from None


def _patch_options(operations: Sequence[Mapping[str, Any]], dry_run: bool) -> dict[str, Any]:
    # The client sends a list as application/json-patch+json.
    return {"body": [dict(operation) for operation in operations]} | ({"dry_run": "All"} if dry_run else {})


def _is_admission_denial(detail: str, request: KubernetesRequest) -> bool:
    """Whether a 403 comes from an admission webhook or policy, which no permission can fix."""
    if request.verb != "patch" or f"cannot {request.verb}" in detail:
        return False
    return any(word in detail for word in ("denied", "violates", "exceeded"))


def _message(body: str | bytes | None) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        parsed = strict_json.loads(text)
    except ValueError:
        return server_text(text)
    return server_text(parsed.get("message") or "" if isinstance(parsed, dict) else text)


def _unknown_outcome(request: KubernetesRequest) -> str:
    if request.verb != "patch":
        return ""
    return "; whether the change was made is unknown: a retry with the same key finds out, and does not repeat it"
