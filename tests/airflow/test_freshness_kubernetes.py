"""The age of a Deployment's rollout through Airflow's Kubernetes hook, over HTTP.

What is served was recorded on a real API server with its deployment controller (acceptance data). There were no nodes, so the
recordings end before a rollout is complete; the condition of a complete one is written as the controller writes it
[kubernetes/pkg/controller/deployment/progress.go].
"""

from __future__ import annotations

import copy
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_slo_provider.sensors.freshness import ModelFreshnessSensor
from tests.airflow.freshness_runs import HOUR, only
from tests.airflow.task_runs import run_task
from tests.support import acceptance


class Cluster(ThreadingHTTPServer):
    """Serves one namespace's Deployment and ReplicaSets to who brings the token."""

    daemon_threads = True

    def __init__(self, recorded: dict, namespace: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.deployment, self.replicasets, self.namespace = recorded["deployment"], recorded["replicasets"], namespace
        self.asked: list[str] = []

    @property
    def connection(self) -> dict:
        user = {"name": "u", "user": {"token": "t0ken"}}
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server_address[1]}"}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "users": [user], "contexts": [context]}
        extra = {"kube_config": json.dumps({**config, "current-context": "x"})}
        return {"kubernetes_default": {"conn_type": "kubernetes", "extra": extra}}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url, server = urlsplit(self.path), self.server
        server.asked.append(self.path)
        base = f"/apis/apps/v1/namespaces/{server.namespace}"
        if self.headers.get("Authorization") != "Bearer t0ken":
            self.answer(401, {"kind": "Status", "reason": "Unauthorized"})
        elif url.path == f"{base}/deployments/model-server":
            self.answer(200, server.deployment)
        elif url.path == f"{base}/replicasets" and "labelSelector" in parse_qs(url.query):
            self.answer(200, {"items": server.replicasets})
        else:
            self.answer(404, {"kind": "Status", "reason": "NotFound"})

    def answer(self, status: int, body: dict | bytes) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments) -> None: ...


@pytest.fixture
def cluster():
    scenario = json.loads(acceptance("kubernetes", "two-revisions.json").read_text())
    server = Cluster(copy.deepcopy(scenario["steps"][0]["after"]), scenario["namespace"])
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def run(cluster, name="model-server", **arguments):
    sensor = ModelFreshnessSensor(
        task_id="t", deployment=f"{cluster.namespace}/{name}", max_age=HOUR, deferrable=True, retries=2, **arguments
    )
    return run_task(sensor, connections=cluster.connection)


def complete(cluster, when: datetime) -> None:
    status = cluster.deployment["status"]
    wanted = cluster.deployment["spec"]["replicas"]
    status |= {"replicas": wanted, "updatedReplicas": wanted, "availableReplicas": wanted, "readyReplicas": wanted}
    status.pop("unavailableReplicas", None)
    written = when.strftime("%Y-%m-%dT%H:%M:%SZ")
    others = [one for one in status["conditions"] if one["type"] != "Progressing"]
    done = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "lastUpdateTime": written}
    status["conditions"] = [*others, {**done, "lastTransitionTime": written}]


def test_recorded_incomplete_rollout_is_unknown(cluster, ledger):
    ran = run(cluster)
    assert ran.state == "deferred"
    assert "DateTimeTrigger" in ran.deferral.classpath
    assert "the rollout is not complete" in ran.log
    assert only(ledger).result.verdict == "unknown"


def test_complete_rollout_has_an_age(cluster, ledger):
    complete(cluster, datetime.now(UTC) - HOUR / 2)
    ran = run(cluster)
    assert ran.state == "success", ran.error
    assert f"deployment {cluster.namespace}/model-server: 30 min" in ran.log
    found = only(ledger).result
    assert (found.name, found.verdict) == (f"deployment:{cluster.namespace}/model-server", "pass")
    assert found.evidence["revision"] == "3"
    assert found.evidence["images"]
    complete(cluster, datetime.now(UTC) - 2 * HOUR)
    assert run(cluster).state == "deferred"


def test_deployment_without_available_pod_is_unknown(cluster, ledger):
    complete(cluster, datetime.now(UTC))
    del cluster.deployment["status"]["availableReplicas"]
    ran = run(cluster)
    assert ran.state == "deferred"
    assert "no pod of it is available" in ran.log
    assert only(ledger).result.verdict == "unknown"


@pytest.mark.parametrize(
    ("body", "reason", "state"),
    [
        (b"<html>log in</html>", "not_json", "failed"),
        (b"", "not_json", "failed"),
        (b'{"meta', "truncated", "up_for_retry"),
        (b"\xff\xfe{", "not_json", "failed"),
        (b"[]", "wrong_shape", "failed"),
        (b"[" * 5_000 + b"]" * 5_000, "too_deep", "failed"),
    ],
)
def test_invalid_json_is_recorded_as_unknown(cluster, ledger, body, reason, state):
    cluster.deployment = body
    ran = run(cluster)
    assert ran.state == state
    found = only(ledger).result
    assert (found.verdict, found.evidence["reason"]) == ("unknown", reason)


def test_deployment_without_progress_deadline_uses_replicaset(cluster, ledger):
    complete(cluster, datetime.now(UTC))
    cluster.deployment["status"]["conditions"] = []
    revision = "deployment.kubernetes.io/revision"
    (current,) = [one for one in cluster.replicasets if one["metadata"]["annotations"][revision] == "3"]
    run(cluster, timeout=timedelta(days=1))
    seen = datetime.fromisoformat(only(ledger).result.evidence["observed_at"])
    assert seen == datetime.fromisoformat(current["metadata"]["creationTimestamp"])
    assert "labelSelector=" in cluster.asked[-1]


@pytest.mark.parametrize("wrong", ["name", "token", "down", "tls"])
def test_missing_or_unreachable_deployment_fails(cluster, ledger, wrong):
    if wrong == "name":
        ran = run(cluster, name="nope")
        assert ran.state == "failed"
        assert "there is no Deployment nope" in str(ran.error)
        return
    connection = json.loads(cluster.connection["kubernetes_default"]["extra"]["kube_config"])
    if wrong == "token":
        connection["users"][0]["user"]["token"] = "other"
    elif wrong == "down":
        connection["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    else:
        server = connection["clusters"][0]["cluster"]
        server["server"] = server["server"].replace("http:", "https:")
    sensor = ModelFreshnessSensor(task_id="t", deployment="a/b", max_age=HOUR, retries=2)
    kube = {"kubernetes_default": {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(connection)}}}
    ran = run_task(sensor, connections=kube)
    assert ran.state == ("up_for_retry" if wrong == "down" else "failed")
    assert "401" in str(ran.error) if wrong == "token" else "cannot be reached" in str(ran.error)
    assert only(ledger).result.verdict == "unknown"
