"""The async half of the operators that change Deployments: looks at a rollout until it is over, and holds no worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_slo_provider.runtime.deferral import wait_until

if TYPE_CHECKING:
    from airflow_slo_provider.deployment.kubernetes.rollout import Rollout


class RolloutTrigger(BaseTrigger):
    """Fires when a rollout is complete, when the Deployment was given another template, or when the time is up.

    Made by the operators of Deployments. A fault that may pass (the API server restarts) is logged and waited out; one that does
    not (no permission, no such Deployment) fires at once. Every message that differs from the one before goes to the task's log.

    :param expected: digest of the template that is waited for; None for whichever it has
    :param deadline: when to stop waiting (ISO 8601 with a zone)
    :param interval: seconds between two looks
    :param not_before: fires no sooner, whatever it finds (ISO 8601 with a zone)
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
        self.namespace = namespace
        self.name = name
        self.expected = expected
        self.deadline = deadline
        self.interval = interval
        self.kubernetes_conn_id = kubernetes_conn_id
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what a triggerer needs to make this trigger again."""
        names = ("namespace", "name", "expected", "deadline", "interval", "kubernetes_conn_id", "not_before")
        return "airflow_slo_provider.triggers.rollout.RolloutTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook

        from airflow_slo_provider.exceptions import DeploymentError

        hook = AsyncKubernetesHook(conn_id=self.kubernetes_conn_id)
        deadline, told = datetime.fromisoformat(self.deadline), ""
        while True:
            event: dict[str, Any]
            try:
                rollout = await self._look(hook)
                event = {"progress": rollout.progress.value, "message": rollout.message}
                over = rollout.over
            except DeploymentError as error:
                event = {"progress": "unknown", "message": str(error), "reason": error.reason, "transient": error.transient}
                over = not error.transient
            if event["message"] != told:
                self.log.info("%s", event["message"])
                told = event["message"]
            left = (deadline - datetime.now(UTC)).total_seconds()
            if over or left <= 0:
                await wait_until(self.not_before)
                yield TriggerEvent(event)
                return
            await asyncio.sleep(min(self.interval, left))

    async def _look(self, hook: Any) -> Rollout:
        import aiohttp
        from kubernetes_asyncio.client import AppsV1Api

        from airflow_slo_provider.deployment.kubernetes import api
        from airflow_slo_provider.deployment.kubernetes.rollout import rollout_of

        question = api.Question("get", "deployments", self.namespace, self.name)
        try:
            async with hook.get_conn() as connection:
                api.remember_credentials(connection)
                answer = await AppsV1Api(connection).read_namespaced_deployment(
                    self.name, self.namespace, _preload_content=False, _request_timeout=api.ANSWER_SECONDS
                )
                body = await answer.read()
        except aiohttp.ClientPayloadError as error:
            raise api.broken_off(error, question) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise api.unreachable(error, question) from None
        if not 200 <= answer.status <= 299:
            raise api.fault_of_status(answer.status, body, question)
        return rollout_of(api.parse(body, question), self.expected)
