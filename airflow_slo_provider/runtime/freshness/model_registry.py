"""Read the age of a model from a registry in a directory; MLflow servers are read over HTTP elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.freshness import Observation


def is_directory(conn_id: str) -> bool:
    """Return whether a connection names a directory of models and not an MLflow server.

    :param conn_id: a model registry connection
    :raises QueryError: reason ``bad_connection``
    """
    from airflow_slo_provider.hooks.model_registry import ModelRegistryHook

    with _query_errors(conn_id):
        return ModelRegistryHook(conn_id).is_directory()


def version_of_alias(conn_id: str, model: str, alias: str, *, promoted: bool = False) -> Observation:
    """Return when the version with an alias was registered or promoted.

    :param conn_id: a model registry connection
    :param model: name of the model
    :param alias: name of the alias
    :param promoted: return the time at which the alias was moved to that version, as recorded by the registry
    :raises QueryError: if the registry cannot be read. A missing alias is not an error: nothing was promoted yet
    """
    from airflow_slo_provider.core.timestamps import read_timestamp
    from airflow_slo_provider.hooks.model_registry import ModelRegistryHook

    what, source = f"model {model}@{alias}", f"model registry, connection {conn_id}"
    with _query_errors(conn_id):
        registry = ModelRegistryHook(conn_id).get_conn()
        version = registry.alias(model, alias)
        if version is None:
            return Observation(what=what, source=source, note=f"there is no alias {alias} of model {model}")
        timestamp, note = registry.get(model, version).created_at, f"version {version} was registered then"
        if promoted:
            moves = [move.at for move in registry.moves(model, alias) if move.after == version]
            timestamp = read_timestamp(moves[-1] if moves else None, zone=None, what="recorded move")
            note = f"version {version} was promoted then" if moves else f"no promotion of version {version} is recorded"
    evidence = {"model": model, "alias": alias}
    return Observation(what=what, source=source, observed_at=timestamp, note=note, model_version=version, evidence=evidence)


@contextmanager
def _query_errors(conn_id: str) -> Iterator[None]:
    from airflow_slo_provider.deployment.registries.history import RegistryError

    try:
        yield
    except RegistryError as error:
        message = f"connection {conn_id}: {error}"
        raise QueryError(message, reason=error.reason, transient=error.transient) from error
