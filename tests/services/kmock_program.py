"""Serve Deployments and ReplicaSets with kmock: ``python kmock_program.py SEEDS`` (in an environment that has kmock).

Prints its URL; answers each line ``NAMESPACE NAME`` with the Deployment as it is now. kmock stores what patches leave and does
nothing else: no controllers, no conflicts.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kmock

DEPLOYMENTS, REPLICA_SETS = kmock.resource("apps/v1/deployments"), kmock.resource("apps/v1/replicasets")


def plain(value: Any) -> Any:
    """kmock's views are neither dicts nor lists."""
    return dict(value) if isinstance(value, Mapping) else list(value)


async def main(seeds: Path) -> None:
    async with kmock.KubernetesEmulator() as cluster, kmock.Server(cluster) as server:
        for resource, kind in ((DEPLOYMENTS, "Deployment"), (REPLICA_SETS, "ReplicaSet")):
            info = {"namespaced": True, "kind": kind, "singular": kind.lower(), "verbs": ["get", "list", "patch"]}
            cluster.resources[resource] = info
        for item in json.loads(seeds.read_text()):
            resource = DEPLOYMENTS if item["kind"] == "Deployment" else REPLICA_SETS
            cluster.objects[resource, item["metadata"]["namespace"], item["metadata"]["name"]] = item
        print(server.url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            namespace, name = line.split()
            print(json.dumps(cluster.objects[DEPLOYMENTS, namespace, name], default=plain), flush=True)


asyncio.run(main(Path(sys.argv[1])))
