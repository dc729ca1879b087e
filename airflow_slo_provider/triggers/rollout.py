"""Trigger of the deployment operators: wait for a rollout without using a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_slo_provider.exceptions import DeploymentError
from airflow_slo_provider.runtime.deferral import wait_until

if TYPE_CHECKING:
    from airflow_slo_provider.deployment.kubernetes.rollout import Rollout


class RolloutTrigger(BaseTrigger):
    """Fire when a rollout is complete, when the Deployment gets another template, or at the deadline.

    The deployment operators create this trigger. A transient error (the API server restarts) is logged and polling goes on; any
    other error (no permission, no such Deployment) fires at once. Each message that differs from the previous one is written to
    the task's log.

    :param namespace: namespace of the Deployment
    :param name: name of the Deployment
    :param expected: digest of the expected pod template; None for any
    :param deadline: when to stop waiting (ISO 8601 with a time zone)
    :param interval: seconds between two polls
    :param kubernetes_conn_id: Airflow connection of the cluster
    :param not_before: earliest time to fire (ISO 8601 with a time zone); None for no limit
    """

    def __init__(
        self,
        *,
        namespace: str,
        name: str,
        expected: str | None,
        deadline: str,
        interval: float,
        kubernetes_conn_id: str,
        not_before: str | None = None,
    ) -> None:
        super().__init__()
        self.namespace, self.name, self.expected = namespace, name, expected
        self.deadline, self.interval, self.not_before = deadline, interval, not_before
        self.kubernetes_conn_id = kubernetes_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments of this trigger."""
        names = ("namespace", "name", "expected", "deadline", "interval", "kubernetes_conn_id", "not_before")
        return "airflow_slo_provider.triggers.rollout.RolloutTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the rollout until it is over or the deadline has passed, and yield one event."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook

        hook = AsyncKubernetesHook(conn_id=self.kubernetes_conn_id)
        deadline, logged = datetime.fromisoformat(self.deadline), ""
        while True:
            try:
                rollout = await self._read_rollout(hook)
                event: dict[str, Any] = {"progress": rollout.progress.value, "message": rollout.message}
                over = rollout.over
            except DeploymentError as error:
                event = {"progress": "unknown", "message": str(error), "reason": error.reason, "transient": error.transient}
                over = not error.transient
            if event["message"] != logged:
                self.log.info("%s", event["message"])
                logged = event["message"]
            left = (deadline - datetime.now(UTC)).total_seconds()
            if over or left <= 0:
                await wait_until(self.not_before)
                yield TriggerEvent(event)
                return
            await asyncio.sleep(min(self.interval, left))

    async def _read_rollout(self, hook: Any) -> Rollout:
        import aiohttp
        from kubernetes_asyncio.client import AppsV1Api

        from airflow_slo_provider.deployment.kubernetes import api
        from airflow_slo_provider.deployment.kubernetes.rollout import rollout_status

        question = api.KubernetesRequest("get", "deployments", self.namespace, self.name)
        try:
            async with hook.get_conn() as connection:
                api.remember_credentials(connection)
                answer = await AppsV1Api(connection).read_namespaced_deployment(
                    self.name, self.namespace, _preload_content=False, _request_timeout=api.ANSWER_SECONDS
                )
                body = await answer.read()
        except aiohttp.ClientPayloadError as error:
            raise api.truncated_answer_error(error, question) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise api.unreachable_error(error, question) from None
        if not 200 <= answer.status <= 299:
            raise api.status_error(answer.status, body, question)
        return rollout_status(api.parse(body, question), self.expected)
