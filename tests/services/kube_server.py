"""An API server on a real socket that ``kubectl`` and the Python clients talk to: the part of Kubernetes that rollbacks touch.

It answers discovery, reads, lists with label selectors, creation, JSON- and merge-patches with dry run, the ``scale``
subresource, and 409 for a patch made from an old resourceVersion. ``faults`` makes it answer wrongly; ``watchers`` are called
before an answer is sent, to let something happen in between.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.services.kube_objects import JSON, ApiError, Objects, json_patch, merge_patch, strategic_patch

_PATH = re.compile(
    r"/(?:api/v1|apis/(?:apps/v1|autoscaling/v2))/namespaces/(?P<ns>[^/]+)/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>\w+))?$"
)
_KINDS = {"deployments": "Deployment", "replicasets": "ReplicaSet", "horizontalpodautoscalers": "HorizontalPodAutoscaler"}


@dataclass
class Fault:
    """One way to answer wrongly.

    :param method: requests with this method
    :param plural: to this resource, with ``/scale`` for the subresource
    :param how: a status, or ``reset`` (before acting), ``reset_after`` (after acting), ``half`` (half a body after acting),
        ``half_json`` (a whole answer that holds half an object)
    :param times: so many of them
    """

    method: str
    plural: str
    how: int | str
    times: int = 1_000_000
    message: str = ""


@dataclass
class KubeServer:
    """A context manager that runs the server."""

    objects: Objects = field(default_factory=Objects)
    faults: list[Fault] = field(default_factory=list)
    #: Called as watcher(method, resource) when the answer is ready, before it is sent.
    watchers: list[Callable[[str, str], None]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    patches: list[Any] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> KubeServer:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                owner._serve(self)

            do_POST = do_PATCH = do_DELETE = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                pass  # clients are killed on purpose

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self) -> JSON:
        """What a client needs to come here."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }

    def writes(self) -> int:
        """How many patches arrived that were no dry run and carried a lock, as those of this provider do."""
        locked = [one for one in self.patches if isinstance(one, list) and one[0]["path"] == "/metadata/resourceVersion"]
        return len(locked)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        match = _PATH.match(parts.path)
        resource = f"{match['plural']}{'/' + match['sub'] if match['sub'] else ''}" if match else parts.path
        self.requests.append((handler.command, resource))
        fault = self._fault(handler.command, resource)
        if fault is not None and fault.how == "reset":
            return _reset(handler)
        query = parse_qs(parts.query)
        if match and query.get("watch"):
            return self._watch(handler, match, query)
        try:
            if fault is not None and isinstance(fault.how, int):
                raise _refusal(fault, handler.command, resource, match)
            answer = self._act(handler, match, query, body) if match else _discovery(parts.path)
            status = 200
        except ApiError as error:
            status, answer = error.status, error.body
        for watcher in list(self.watchers):
            watcher(handler.command, resource)
        if fault is not None and fault.how == "reset_after":
            return _reset(handler)
        data = json.dumps(answer).encode()
        sent = data[: len(data) // 2] if fault is not None and fault.how in ("half", "half_json") else data
        length = len(sent) if fault is not None and fault.how == "half_json" else len(data)
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(sent)
        if len(sent) < length:
            handler.close_connection = True
        return None

    def _watch(self, handler: BaseHTTPRequestHandler, match: re.Match[str], query: dict[str, list[str]]) -> None:
        """Stream what is there now, and end the stream: whoever wants more asks again."""
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Connection", "close")
        handler.end_headers()
        items = self._act(handler, match, {**query, "watch": []}, b"")["items"]
        events = [{"type": "ADDED", "object": {"apiVersion": "apps/v1", "kind": _KINDS[match["plural"]], **one}} for one in items]
        if query.get("sendInitialEvents"):
            metadata = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
            bookmark = {"apiVersion": "apps/v1", "kind": _KINDS[match["plural"]], "metadata": metadata}
            events.append({"type": "BOOKMARK", "object": bookmark})
        for event in events:
            handler.wfile.write(json.dumps(event).encode() + b"\n")
        handler.close_connection = True

    def _fault(self, method: str, resource: str) -> Fault | None:
        for fault in self.faults:
            if (fault.method, fault.plural) == (method, resource) and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _act(self, handler: BaseHTTPRequestHandler, match: re.Match[str], query: dict[str, list[str]], body: bytes) -> JSON:
        objects, namespace, plural, name = self.objects, match["ns"], match["plural"], match["name"]
        if name is None and handler.command == "GET":
            selector = query.get("labelSelector", [""])[0]
            items = [one for one in objects.list(plural, namespace) if _selected(selector, one["metadata"].get("labels") or {})]
            named = query.get("fieldSelector", [""])[0].partition("metadata.name=")[2]
            items = [one for one in items if not named or one["metadata"]["name"] == named]
            return {
                "kind": f"{_KINDS[plural]}List",
                "apiVersion": "apps/v1",
                "metadata": {"resourceVersion": "1"},
                "items": items,
            }
        if name is None:
            return objects.create(plural, namespace, json.loads(body))
        with objects.lock:
            before = objects.get(plural, namespace, name)
            if handler.command == "DELETE":
                return objects.delete(plural, namespace, name)
            if handler.command == "GET":
                return _scale(before) if match["sub"] == "scale" else before
            dry_run = query.get("dryRun") == ["All"]
            patch = json.loads(body)
            if not dry_run:
                self.patches.append(patch)
            shown = _scale(before) if match["sub"] == "scale" else before
            kind = handler.headers["Content-Type"]
            apply = {"application/json-patch+json": json_patch, "application/strategic-merge-patch+json": strategic_patch}
            after = apply.get(kind, merge_patch)(shown, patch)
            if match["sub"] == "scale":
                version = after["metadata"]["resourceVersion"]
                scaled = {**before, "spec": {**before["spec"], "replicas": after["spec"]["replicas"]}}
                scaled["metadata"] = {**before["metadata"], "resourceVersion": version}
                return _scale(objects.update(plural, before, scaled, dry_run=dry_run))
            return objects.update(plural, before, after, dry_run=dry_run, status=match["sub"] == "status")


def _scale(deployment: JSON) -> JSON:
    metadata = {key: deployment["metadata"][key] for key in ("name", "namespace", "resourceVersion", "uid")}
    spec = {"replicas": deployment["spec"].get("replicas", 1)}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": spec}


def _selected(selector: str, labels: JSON) -> bool:
    for part in filter(None, re.split(r",(?![^(]*\))", selector)):
        listed = re.match(r"(\S+) (in|notin) \((.*)\)$", part)
        if listed:
            inside = labels.get(listed[1]) in listed[3].split(",")
            if inside != (listed[2] == "in"):
                return False
        elif "=" in part:
            key, _, value = part.partition("=")
            if labels.get(key) != value:
                return False
        elif (part.lstrip("!") in labels) == part.startswith("!"):
            return False
    return True


def _refusal(fault: Fault, method: str, resource: str, match: re.Match[str] | None) -> ApiError:
    verb = {"PATCH": "patch", "POST": "create"}.get(method, "get" if match and match["name"] else "list")
    name = f' "{match["name"]}"' if match and match["name"] else ""
    messages = {
        403: ("Forbidden", f'{resource}.apps{name} is forbidden: User "system:serviceaccount:airflow:worker" cannot {verb} '
                           f'resource "{resource}" in API group "apps" in the namespace "{match["ns"] if match else ""}"'),
        404: ("NotFound", f"{resource}.apps{name} not found"),
        409: ("Conflict", f"Operation cannot be fulfilled on {resource}.apps{name}: the object has been modified"),
        422: ("Invalid", f"Deployment.apps{name} is invalid: spec.template.spec.containers[0].image: Required value"),
        500: ("InternalError", "etcdserver: request timed out"),
        503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    }  # fmt: skip
    reason, message = messages.get(int(fault.how), ("Unknown", "unknown"))
    return ApiError(int(fault.how), reason, fault.message or message)


def _discovery(path: str) -> JSON:
    verbs = ["get", "list", "patch", "create"]
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        version = {"groupVersion": "apps/v1", "version": "v1"}
        groups = [{"name": "apps", "versions": [version], "preferredVersion": version}]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path == "/api/v1":
        return {"kind": "APIResourceList", "groupVersion": "v1", "resources": []}
    if path == "/apis/apps/v1":
        resources = [
            {"name": plural, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": verbs}
            for plural, kind in (("deployments", "Deployment"), ("replicasets", "ReplicaSet"))
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "apps/v1", "resources": resources}
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.2"}
    if path.startswith("/api/v1/namespaces"):  # they come and go unasked
        return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": path.rpartition("/")[2]}}
    raise ApiError(404, "NotFound", "the server could not find the requested resource")


def _reset(handler: BaseHTTPRequestHandler) -> None:
    """Break the connection off with a TCP reset."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()
