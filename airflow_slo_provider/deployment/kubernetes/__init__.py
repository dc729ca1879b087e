"""Change and roll back Kubernetes Deployments: each change at most once per key, never overwriting concurrent changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.deployment.kubernetes.api import Cluster
    from airflow_slo_provider.deployment.kubernetes.images import SetImageResult, set_image
    from airflow_slo_provider.deployment.kubernetes.undo import LAST_KNOWN_GOOD, PREVIOUS, RollbackResult, rollback

__all__ = ["LAST_KNOWN_GOOD", "PREVIOUS", "Cluster", "RollbackResult", "SetImageResult", "rollback", "set_image"]

#: Imported on first use: an operator in a DAG file needs no client.
__getattr__ = offer(
    __name__,
    {
        "deployment.kubernetes.api": "Cluster",
        "deployment.kubernetes.images": "SetImageResult set_image",
        "deployment.kubernetes.undo": "LAST_KNOWN_GOOD PREVIOUS RollbackResult rollback",
    },
)
