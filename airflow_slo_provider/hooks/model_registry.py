"""Airflow hook for a model registry: an MLflow server or a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_slo_provider.hooks.connection_forms.model_registry import connection_type, registry_settings

if TYPE_CHECKING:
    from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
    from airflow_slo_provider.deployment.registries.registry import ModelRegistry

__all__ = ["ModelRegistryHook", "connection_type", "default_directory", "directory_registry"]


class ModelRegistryHook(BaseHook):
    """Open a model registry.

    Host is the URL of an MLflow server, or a path (local, or e.g. ``s3://bucket/models``). Login and password are sent as basic
    authentication. The other settings are in the extra: ``kind`` (mlflow, directory), ``token``, ``verify``, ``ca_file``,
    ``connect_timeout``, ``read_timeout``, ``headers``, ``storage_conn_id``. If the connection ``model_registry_default`` does
    not exist, the registry is the directory ``slo_models`` in ``AIRFLOW_HOME``.

    :param model_registry_conn_id: the Airflow connection
    """

    conn_name_attr = "model_registry_conn_id"
    default_conn_name = "model_registry_default"
    conn_type = "model_registry"
    hook_name = "Model registry"

    def __init__(self, model_registry_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_registry_conn_id = model_registry_conn_id
        self._registry: ModelRegistry | None = None

    def get_conn(self) -> ModelRegistry:
        """Return the registry; the connection is read once.

        :raises RegistryError: reason ``bad_connection`` for a wrong connection; ``not_shared`` if there is no connection and
            tasks may run on several machines
        """
        if self._registry is None:
            from airflow_slo_provider.deployment.registries.mlflow import MlflowRegistry
            from airflow_slo_provider.runtime.secret_masks import mask

            connection = self._connection()
            if connection is None:
                _require_one_machine()
                self._registry = directory_registry(default_directory())
                return self._registry
            settings = registry_settings(connection)
            if settings.pop("kind") == "directory":
                self._registry = directory_registry(settings["path"], settings["storage_conn_id"])
            else:
                self._registry = MlflowRegistry(**settings)
                mask({*self._registry.secrets, *settings["headers"].values(), *(settings["basic"] or ())[1:]})
        return self._registry

    def _connection(self) -> Any:
        """Return the connection, or None if the default connection does not exist, because it is optional."""
        from airflow.sdk.exceptions import AirflowNotFoundException

        try:
            return self.get_connection(self.model_registry_conn_id)
        except AirflowNotFoundException:
            if self.model_registry_conn_id != self.default_conn_name:
                raise
            self.log.info("there is no connection %s: the registry is %s", self.default_conn_name, default_directory())
            return None

    def is_directory(self) -> bool:
        """Return whether the connection names a directory of models and not an MLflow server.

        :raises RegistryError: reason ``bad_connection``
        """
        connection = self._connection()
        if connection is None:
            return True
        return bool(connection.conn_type == self.conn_type and registry_settings(connection)["kind"] == "directory")

    def alias(self, model: str, alias: str = "champion") -> str | None:
        """Return the version that an alias points to, or None if there is no such alias.

        :param model: name of the model
        :param alias: name of the alias
        :raises RegistryError: if the registry cannot be read
        """
        return self.get_conn().alias(model, alias)

    def test_connection(self) -> tuple[bool, str]:
        """Test the connection by requesting a model that does not exist; a working registry answers "not found"."""
        from airflow_slo_provider.deployment.registries.history import RegistryError

        try:
            self.get_conn().get("airflow-slo-connection-test", "1")
        except Exception as error:  # every error is shown in the UI
            if not (isinstance(error, RegistryError) and error.reason == "not_found"):
                return False, str(error)
        return True, "The registry answers"


def _require_one_machine() -> None:
    """Reject the default directory if tasks may run on several machines, each with its own directory and champion.

    :raises RegistryError: reason ``not_shared``
    """
    from airflow_slo_provider.deployment.registries.history import RegistryError
    from airflow_slo_provider.runtime.executors import other_machines

    if reason := other_machines():
        raise RegistryError(
            f"the model registry is the directory {default_directory()} of this machine, and tasks may run on other machines "
            f"({reason}), each with a champion of its own. Define the connection {ModelRegistryHook.default_conn_name}, or give "
            "registry_path a directory that all workers share",
            reason="not_shared",
        )


def default_directory() -> str:
    """Return the directory that is the registry if there is no connection: ``slo_models`` in ``AIRFLOW_HOME``."""
    import os

    return os.path.join(os.path.expanduser(os.environ.get("AIRFLOW_HOME") or "~/airflow"), "slo_models")


def directory_registry(path: str, storage_conn_id: str | None = None) -> DirectoryRegistry:
    """Open a registry in a directory.

    :param path: a local path (a file lock makes compare-and-set exact), or a URI of object storage
    :param storage_conn_id: Airflow connection of the object storage; by default the one in the URI
    """
    from pathlib import Path

    from airflow_slo_provider.deployment.registries.directory import DirectoryRegistry
    from airflow_slo_provider.runtime.files.object_storage import is_local, object_path

    if is_local(path):
        return DirectoryRegistry(Path(path.partition("://")[2] or path))
    return DirectoryRegistry(object_path(path, storage_conn_id))
