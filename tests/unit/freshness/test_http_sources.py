"""The questions to HTTP APIs, step by step: no server, no I/O. Real servers are in tests/services and tests/e2e."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.freshness.sources import http_steps as steps
from airflow_slo_provider.freshness.sources.airflow_api import last_success
from airflow_slo_provider.freshness.sources.feast_registry import last_materialisation
from airflow_slo_provider.freshness.sources.http_steps import Reply, run, run_async
from airflow_slo_provider.freshness.sources.kubernetes_rollout import current_rollout
from airflow_slo_provider.freshness.sources.mlflow_registry import version_of_alias


class Server:
    """Answers what a test says, in order, and remembers the questions."""

    def __init__(self, *answers):
        self.calls = []
        self._answers = list(answers)

    def send(self, call):
        self.calls.append((call.path, dict(call.params)))
        status, body = self._answers.pop(0)
        return Reply(status, body if not isinstance(body, str) else None, json.dumps(body), "http://server")

    async def asend(self, call):
        return self.send(call)


def ask(question, *answers):
    server = Server(*answers)
    found = run(question, server.send)
    return found, server.calls


RUN = {
    "dag_id": "etl",
    "state": "success",
    "dag_run_id": "manual__1",
    "end_date": "2026-11-24T10:00:00.5Z",
    "run_type": "manual",
    "logical_date": None,
}
TASK = {**RUN, "task_id": "load", "map_index": -1, "run_after": "2026-11-24T09:00:00Z"}


def mapped(run_id="r2", **more):
    return 200, {"task_instances": [{**TASK, "map_index": 17, "dag_run_id": run_id, **more}]}


def count(number):
    return 200, {"task_instances": [{}], "total_entries": number}


class TestAirflow:
    def test_last_success_is_observed_at_its_end(self):
        found, calls = ask(last_success("my dag"), (200, {"dag_runs": [{**RUN, "dag_id": "my dag"}], "total_entries": 1}))
        assert found.observed_at == datetime(2026, 11, 24, 10, 0, 0, 500_000, tzinfo=UTC)
        assert calls == [("/api/v2/dags/my%20dag/dagRuns", {"state": "success", "order_by": "-end_date", "limit": "1"})]
        assert found.note == "end of run manual__1"

    def test_last_success_of_one_task_is_observed(self):
        found, calls = ask(last_success("etl", "load"), (200, {"task_instances": [TASK]}))
        assert calls[0][0] == "/api/v2/dags/etl/dagRuns/~/taskInstances"
        assert calls[0][1]["task_id"] == "load"
        assert found.what == "task load of dag etl"
        assert found.observed_at is not None
        assert len(calls) == 1

    @pytest.mark.parametrize("other", [{"dag_id": "x"}, {"task_id": "x"}, {"state": "running"}, {"state": None}])
    def test_answer_about_another_object_raises(self, other):
        for task_id, key in (("load", "task_instances"), (None, "dag_runs")):
            if task_id or "task_id" not in other:
                with pytest.raises(QueryError, match=r"is about .* instead of dag_id etl, state success") as caught:
                    ask(last_success("etl", task_id), (200, {key: [{**TASK, **other}]}))
                assert (caught.value.reason, caught.value.transient) == ("wrong_shape", False)

    def test_mapped_task_succeeded_when_all_instances_did(self):
        found, calls = ask(last_success("etl", "load"), mapped(), count(100), count(100))
        assert (found.note, found.observed_at) == ("end of run r2", datetime(2026, 11, 24, 10, 0, 0, 500_000, tzinfo=UTC))
        of_run = "/api/v2/dags/etl/dagRuns/r2/taskInstances"
        assert calls[1:] == [
            (of_run, {"task_id": "load", "limit": "1"}),
            (of_run, {"task_id": "load", "limit": "1", "state": ("success", "skipped", "removed")}),
        ]

    def test_incomplete_run_of_mapped_task_does_not_hide_earlier_ones(self):
        before = mapped("r1", end_date="2026-11-24T08:00:00Z", run_after="2026-11-24T07:00:00Z")
        partial = [count(100), count(99)]
        answers = [mapped(), *partial, mapped(), *partial, before, count(3), count(3)]
        found, calls = ask(last_success("etl", "load"), *answers)
        assert (found.note, found.observed_at) == ("end of run r1", datetime(2026, 11, 24, 8, tzinfo=UTC))
        assert calls[3][1]["order_by"] == ("-run_after", "-end_date")
        assert calls[6][1]["run_after_lt"] == "2026-11-24T09:00:00Z"

    @pytest.mark.parametrize("runs", [1, 5])
    def test_mapped_task_without_complete_run_is_unknown(self, runs):
        answers = [mapped(), count(2), count(1)] * runs + [(200, {"task_instances": []})]
        found, _ = ask(last_success("etl", "load"), *answers[: 5 * 3 + 1])
        assert found.observed_at is None
        assert "not all of its mapped instances succeeded in run r2" in found.note

    def test_answer_without_instance_count_raises(self):
        with pytest.raises(QueryError, match="has no number of task instances"):
            ask(last_success("etl", "load"), mapped(), (200, {"task_instances": []}))

    def test_dag_without_success_is_unknown(self):
        found, calls = ask(last_success("etl"), (200, {"dag_runs": []}), (200, {"dag_id": "etl"}))
        assert found.observed_at is None
        assert found.note == "it never succeeded"
        assert calls[1] == ("/api/v2/dags/etl", {})

    @pytest.mark.parametrize("answers", [[(404, {"detail": "x"})], [(200, {"dag_runs": []}), (404, {"detail": "x"})]])
    def test_missing_dag_raises(self, answers):
        with pytest.raises(QueryError, match="there is no DAG etl") as caught:
            ask(last_success("etl"), *answers)
        assert (caught.value.reason, caught.value.transient) == ("not_found", False)

    def test_missing_task_raises(self):
        with pytest.raises(QueryError, match="there is no task load in DAG etl"):
            ask(last_success("etl", "load"), (200, {"task_instances": []}), (404, {}))

    @pytest.mark.parametrize(
        ("status", "reason", "transient"),
        [
            (401, "unauthorized", False),
            (403, "forbidden", False),
            (422, "query_failed", False),
            (429, "too_many_requests", True),
            (500, "server_error", True),
            (503, "server_error", True),
        ],
    )
    def test_refused_request_raises_with_hint(self, status, reason, transient):
        with pytest.raises(QueryError, match=str(status)) as caught:
            ask(last_success("etl"), (status, {"detail": "no"}))
        assert (caught.value.reason, caught.value.transient, caught.value.http_status) == (reason, transient, status)

    @pytest.mark.parametrize("body", ["<html>", None, [], {}, {"dag_runs": None}, {"dag_runs": ["x"]}, {"dag_runs": [{}]}])
    def test_answer_of_wrong_shape_raises(self, body):
        with pytest.raises(QueryError) as caught:
            ask(last_success("etl"), (200, body))
        assert caught.value.reason == "wrong_shape"


VERSION = {
    "version": "7",
    "status": "READY",
    "creation_timestamp": 1795508400123,
    "tags": [{"key": "promoted", "value": "2026-11-24T11:00:00Z"}],
}
NO_ALIAS = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias champion not found."}


class TestMlflow:
    def test_alias_is_observed_at_creation_of_its_version(self):
        found, calls = ask(version_of_alias("churn", "champion"), (200, {"model_version": VERSION}))
        assert found.observed_at == datetime(2026, 11, 24, 8, 20, 0, 123_000, tzinfo=UTC)
        assert found.model_version == "7"
        assert calls == [("/api/2.0/mlflow/registered-models/alias", {"name": "churn", "alias": "champion"})]

    def test_promotion_tag_is_observed(self):
        found, _ = ask(version_of_alias("churn", "champion", promotion_tag="promoted"), (200, {"model_version": VERSION}))
        assert found.observed_at == datetime(2026, 11, 24, 11, tzinfo=UTC)

    def test_version_without_promotion_tag_is_unknown(self):
        found, _ = ask(version_of_alias("churn", "champion", promotion_tag="other"), (200, {"model_version": VERSION}))
        assert found.observed_at is None
        assert "no tag other" in found.note

    @pytest.mark.parametrize("tag", [None, "promoted"])
    @pytest.mark.parametrize("status", ["PENDING_REGISTRATION", "FAILED_REGISTRATION", None])
    def test_version_not_ready_is_unknown(self, status, tag):
        answer = (200, {"model_version": {**VERSION, "status": status}})
        found, _ = ask(version_of_alias("churn", "champion", promotion_tag=tag), answer)
        assert (found.observed_at, found.note) == (None, f"version 7 is not ready: {status}")

    def test_missing_alias_is_unknown(self):
        found, _ = ask(version_of_alias("churn", "champion"), (400, NO_ALIAS))
        assert found.observed_at is None
        assert "there is no alias champion" in found.note

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid alias name"}),
            (400, {"error_code": "BAD_REQUEST", "message": "not found"}),
            (404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}),
            (200, {}),
            (200, {"model_version": {"version": "1"}}),
            (200, {"model_version": {"version": "1", "creation_timestamp": "soon"}}),
        ],
    )
    def test_unexpected_answer_raises(self, status, body):
        with pytest.raises(QueryError):
            ask(version_of_alias("churn", "champion"), (status, body))

    @pytest.mark.parametrize("created", [10**400, float("inf"), float("nan")])
    def test_timestamp_out_of_range_is_invalid(self, created):
        with pytest.raises((InvalidMeasurement, QueryError), match="creation_timestamp"):
            version = {**VERSION, "creation_timestamp": created}
            ask(version_of_alias("churn", "champion"), (200, {"model_version": version}))


def view(*ends):
    return {"spec": {"name": "v"}, "meta": {"materializationIntervals": [{"startTime": "x", "endTime": end} for end in ends]}}


class TestFeast:
    def test_last_materialisation_is_observed_at_its_end(self):
        question = last_materialisation("shop", ["v"])
        found, calls = ask(question, (200, view("2026-11-24T09:00:00Z", "2026-11-24T11:00:00Z", "2026-11-24T10:00:00Z")))
        assert found.observed_at == datetime(2026, 11, 24, 11, tzinfo=UTC)
        assert calls == [("/api/v1/feature_views/v", {"project": "shop", "allow_cache": "false"})]

    @pytest.mark.parametrize("body", [view(), {"spec": {}, "meta": {}}, {"spec": {}}])
    def test_view_without_materialisation_is_unknown(self, body):
        found, _ = ask(last_materialisation("shop", ["v"]), (200, body))
        assert found.observed_at is None
        assert "has no materialisation" in found.note

    def test_several_views_are_groups(self):
        found, _ = ask(last_materialisation("shop", ["a", "b"]), (200, view("2026-11-24T09:00:00Z")), (200, view()))
        assert found.groups == {"a": datetime(2026, 11, 24, 9, tzinfo=UTC), "b": None}

    @pytest.mark.parametrize(("status", "body"), [(404, {"detail": "no"}), (200, {}), (200, "text"), (500, {})])
    def test_unexpected_answer_raises(self, status, body):
        with pytest.raises(QueryError):
            ask(last_materialisation("shop", ["v"]), (status, body))


def deployment(reason="NewReplicaSetAvailable", status="True", *, generation=3, observed=3, conditions=True, **more):
    condition = {"type": "Progressing", "status": status, "reason": reason, "lastUpdateTime": "2026-11-24T10:00:00Z"}
    return {
        "metadata": {
            "name": "m",
            "uid": "u",
            "generation": generation,
            "annotations": {"deployment.kubernetes.io/revision": "4"},
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "m"}},
            "template": {"spec": {"containers": [{"image": "model:4"}]}},
        },
        "status": {
            "observedGeneration": observed,
            "replicas": 2,
            "updatedReplicas": 2,
            "availableReplicas": 2,
            "conditions": [condition] if conditions else [],
            **more,
        },
    }


def replicaset(revision, uid="u", made="2026-11-24T09:00:00Z"):
    return {
        "metadata": {
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [{"uid": uid}],
            "creationTimestamp": made,
        }
    }


class TestKubernetes:
    def test_complete_rollout_is_observed(self):
        found, calls = ask(current_rollout("serving", "m"), (200, deployment()))
        assert found.observed_at == datetime(2026, 11, 24, 10, tzinfo=UTC)
        assert calls == [("/apis/apps/v1/namespaces/serving/deployments/m", {})]
        assert found.evidence == {"revision": "4", "images": ["model:4"]}

    @pytest.mark.parametrize(
        "body",
        [
            deployment("ReplicaSetUpdated"),
            deployment("ProgressDeadlineExceeded", "False"),
            deployment(generation=4),
            deployment(conditions=False, updatedReplicas=1),
            deployment(conditions=False, replicas=3),
        ],
    )
    def test_incomplete_rollout_is_unknown(self, body):
        found, _ = ask(current_rollout("serving", "m"), (200, body))
        assert found.observed_at is None
        assert found.note

    @pytest.mark.parametrize("conditions", [True, False])
    def test_deployment_without_available_pod_is_unknown(self, conditions):
        for available in (0, None):
            body = deployment(conditions=conditions, availableReplicas=available)
            found, _ = ask(current_rollout("serving", "m"), (200, body))
            assert (found.observed_at, found.note) == (None, "no pod of it is available, so it serves no model")
        some, _ = ask(current_rollout("serving", "m"), (200, deployment(availableReplicas=1, unavailableReplicas=1)))
        assert some.observed_at is not None

    def test_deployment_without_progress_deadline_uses_replicaset(self):
        sets = {"items": [replicaset("3"), replicaset("4", uid="other", made="2030-01-01T00:00:00Z"), replicaset("4")]}
        found, calls = ask(current_rollout("serving", "m"), (200, deployment(conditions=False)), (200, sets))
        assert found.observed_at == datetime(2026, 11, 24, 9, tzinfo=UTC)
        assert calls[1] == ("/apis/apps/v1/namespaces/serving/replicasets", {"labelSelector": "app=m"})
        found, _ = ask(current_rollout("serving", "m"), (200, deployment(conditions=False)), (200, {"items": []}))
        assert found.observed_at is None

    def test_paused_deployment_uses_replicaset(self):
        body = deployment("DeploymentPaused", "Unknown")
        found, _ = ask(current_rollout("serving", "m"), (200, body), (200, {"items": [replicaset("4")]}))
        assert found.observed_at == datetime(2026, 11, 24, 9, tzinfo=UTC)

    def test_missing_deployment_raises(self):
        with pytest.raises(QueryError, match="there is no Deployment m in namespace serving"):
            ask(current_rollout("serving", "m"), (404, None))


def test_steps_run_in_an_event_loop():
    server = Server((200, {"dag_runs": []}), (200, {"dag_id": "etl"}))
    found = asyncio.run(run_async(last_success("etl"), server.asend))
    assert found == run(last_success("etl"), Server((200, {"dag_runs": []}), (200, {"dag_id": "etl"})).send)
    with pytest.raises(QueryError, match="401"):
        asyncio.run(run_async(last_success("etl"), Server((401, {})).asend))


def test_steps_without_observation_raise_type_error():
    def nothing():
        yield steps.Call("/")

    with pytest.raises(TypeError):
        run(nothing(), Server((200, {})).send)
