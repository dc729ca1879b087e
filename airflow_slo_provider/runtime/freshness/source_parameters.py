"""Find the freshness source that a sensor's parameters name. Imports no Airflow, because it runs while DAG files are parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.exceptions import QueryError


class SourceParameterError(QueryError, ValueError):
    """Invalid combination of parameters: raised when the DAG file is parsed, or by the task if a template rendered to it."""

    default_reason = "bad_question"


#: Default connection by the parameter that names the source. None: no default, or no connection needed.
CONNECTIONS: Mapping[str, str | None] = {
    "asset": None,
    "external_dag_id": "airflow_default",
    "table": None,
    "query": "prometheus_default",
    "path": None,
    "feature_view": "feast_default",
    "model": "model_registry_default",
    "deployment": "kubernetes_default",
}


@dataclass(frozen=True, kw_only=True)
class FreshnessSource:
    """A freshness source and its arguments. Everything except an asset object is JSON-able, as a trigger needs it.

    :param kind: one of :data:`CONNECTIONS`
    :param conn_id: the Airflow connection
    :param arguments: the other arguments, as set on the sensor
    """

    kind: str
    conn_id: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def default_name(self) -> str | None:
        """Return the default name of the check in the ledger, e.g. ``model:churn@champion``; None for a query."""
        value, more = self.arguments[self.kind], self.arguments
        if self.kind == "query":
            return None
        if self.kind == "asset":
            return f"asset:{getattr(value, 'name', None) or getattr(value, 'uri', None) or value}"
        if self.kind == "external_dag_id":
            return f"dag:{value}" + (f".{more['external_task_id']}" if more.get("external_task_id") else "")
        if self.kind == "model":
            return f"model:{value}@{more['alias']}"
        if self.kind == "feature_view":
            return f"feature_view:{','.join(text_list(value))}"
        if self.kind == "deployment":
            return f"deployment:{'/'.join(namespaced(value))}"
        return f"{self.kind}:{value}"


def read_source(parameters: Mapping[str, Any]) -> FreshnessSource:
    """Return the source that the parameters of a sensor name.

    :param parameters: all parameters by name; None if not set
    :raises SourceParameterError: (a ValueError) if no source or more than one is named, or a parameter of another source is set
    """
    kinds = [kind for kind in CONNECTIONS if kind in parameters and parameters[kind] is not None]
    if len(kinds) != 1:
        known = ", ".join(f"{kind}=" for kind in CONNECTIONS if kind in parameters)
        raise SourceParameterError(f"name exactly one source of {known}; {' and '.join(kinds) or 'none'} is set")
    (kind,) = kinds
    _check(kind, parameters)
    arguments = {name: parameters[name] for name in (kind, *BELONGS[kind]) if parameters.get(name) is not None}
    return FreshnessSource(kind=kind, conn_id=parameters.get("conn_id") or CONNECTIONS[kind], arguments=arguments)


#: Further parameters of each source, and whether they are required.
BELONGS: Mapping[str, Mapping[str, bool]] = {
    "asset": {},
    "external_dag_id": {"external_task_id": False},
    "table": {"timestamp_column": True, "group_by": False, "timezone": False},
    "query": {"query_gives": False, "group_by": False, "timezone": False},
    "path": {"which": False, "group_by": False},
    "feature_view": {"project": True},
    "model": {"alias": True, "promotion_tag": False},
    "deployment": {},
}
#: All parameters that :func:`read_source` reads.
PARAMETERS = frozenset({"conn_id", "quantile", *BELONGS, *(name for more in BELONGS.values() for name in more)})


def _check(kind: str, parameters: Mapping[str, Any]) -> None:
    belongs = BELONGS[kind]
    missing = [name for name, needed in belongs.items() if needed and not parameters.get(name)]
    if missing:
        raise SourceParameterError(f"{kind}= needs {' and '.join(f'{name}=' for name in missing)}")
    foreign = {name for others in BELONGS.values() for name in others} - set(belongs)
    invalid = sorted(name for name in foreign if parameters.get(name) is not None)
    if invalid:
        raise SourceParameterError(f"{' and '.join(f'{name}=' for name in invalid)} is not valid with {kind}=")
    if kind == "table" and not parameters.get("conn_id"):
        raise SourceParameterError("table= needs conn_id=: the Airflow connection of its database")
    if parameters.get("conn_id") and kind == "asset":
        raise SourceParameterError("conn_id= is not valid with asset=: Airflow reads its own assets without a connection")
    if parameters.get("query_gives") not in (None, "timestamp", "age"):
        raise SourceParameterError(f"query_gives={parameters['query_gives']!r}: write timestamp or age")
    if kind == "path" and parameters.get("group_by") not in (None, "directory"):
        raise SourceParameterError(f"group_by={parameters['group_by']!r}: files are grouped by directory only")
    if parameters.get("which") not in (None, "newest", "oldest"):
        raise SourceParameterError(f"which={parameters['which']!r}: write newest or oldest")
    if parameters.get("timezone") and "{{" not in str(parameters["timezone"]):
        from airflow_slo_provider.core.timestamps import read_zone

        try:
            read_zone(parameters["timezone"])
        except ValueError as error:
            raise SourceParameterError(str(error)) from None
    if parameters.get("quantile") is None:
        return
    if kind not in ("feature_view", "table", "query", "path"):
        raise SourceParameterError(f"quantile= is not valid with {kind}=: there are no groups")
    if kind != "feature_view" and not parameters.get("group_by"):
        raise SourceParameterError("quantile= is a share of groups: set group_by=")


def namespaced(deployment: str) -> tuple[str, str]:
    """Split ``namespace/name``; the default namespace is ``default``."""
    namespace, slash, name = deployment.rpartition("/")
    return (namespace, name) if slash else ("default", name)
