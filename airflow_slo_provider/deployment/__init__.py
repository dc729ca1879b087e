"""Promote and roll back deployments: model registry aliases and Kubernetes Deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
    from airflow_slo_provider.deployment.registries.mlflow import MlflowRegistry
    from airflow_slo_provider.deployment.registries.registry import ModelRegistry, ModelVersion, Moved

__all__ = ["DirectoryRegistry", "MlflowRegistry", "ModelRegistry", "ModelVersion", "Moved"]

#: Imported on first use: an operator in a DAG file needs no registry.
__getattr__ = offer(
    __name__,
    {
        "deployment.registries.directory": "DirectoryRegistry",
        "deployment.registries.mlflow": "MlflowRegistry",
        "deployment.registries.registry": "ModelRegistry ModelVersion Moved",
    },
)
