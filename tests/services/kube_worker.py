"""Roll back in processes that can be killed: ``python kube_worker.py KUBECONFIG`` reads one order a line, and answers one line.

Each order runs in a fork of its own, so that the client is imported once. ``die`` names the step at which it kills itself, the
way an out-of-memory killer would: ``before_patch``, ``after_patch`` or ``waiting``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any


def main(kubeconfig: str) -> None:
    from kubernetes import client, config

    from airflow_slo_provider.deployment.kubernetes import rollback
    from airflow_slo_provider.deployment.kubernetes import rollout as kubernetes_rollout
    from airflow_slo_provider.deployment.kubernetes.api import Cluster

    def work(order: dict[str, Any], pipe: int) -> None:
        configuration = client.Configuration()
        config.load_kube_config(kubeconfig, client_configuration=configuration)
        api = client.ApiClient(configuration)
        die = order.get("die")
        patch, look = Cluster.patch, Cluster.deployment

        def kill(*arguments: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        def patch_and_die(*arguments: Any, **options: Any) -> Any:
            if die == "after_patch":
                patch(*arguments, **options)
            return kill()

        if die in ("before_patch", "after_patch"):
            Cluster.patch = patch_and_die  # type: ignore[method-assign]
        result = rollback(api, order["namespace"], order["name"], order["to"], order["key"], known_good=order.get("known_good"))
        if die == "waiting":

            def look_and_die(*arguments: Any) -> Any:
                look(*arguments)
                return kill()

            Cluster.deployment = look_and_die  # type: ignore[method-assign]
        place = (order["namespace"], order["name"])
        rollout = kubernetes_rollout.wait_for_rollout(
            api, *place, expected=result.digest, timeout=order.get("wait", 0), interval=0.01
        )
        answer = {"changed": result.changed, "message": result.message, "from": result.from_revision, "to": result.to_revision}
        os.write(pipe, json.dumps(answer | {"progress": rollout.progress}).encode())

    for line in sys.stdin:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                work(json.loads(line), writer)
            except BaseException as error:
                os.write(writer, json.dumps({"error": repr(error)}).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(answer.decode() or json.dumps({"killed": killed}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
