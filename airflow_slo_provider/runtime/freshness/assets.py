"""Read the last asset event of an asset; works only on a worker, and needs no credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_slo_provider.exceptions import QueryError

if TYPE_CHECKING:
    from airflow_slo_provider.freshness import Observation


def asset_object(asset: Any) -> Any:
    """Return the asset object or reference for an asset given as object, name or URI.

    :param asset: an Asset, an AssetAlias, a reference, a name or a URI
    :raises ValueError: for any other value
    """
    if isinstance(asset, str):
        if not asset.strip():
            raise ValueError("asset= is empty; set an Asset, its name or its URI")
        return Asset.ref(uri=asset) if "://" in asset else Asset.ref(name=asset)
    if isinstance(asset, Asset | AssetAlias | type(Asset.ref(name="a")) | type(Asset.ref(uri="a://a"))):
        return asset
    raise ValueError(f"asset={asset!r} is not an asset; set an Asset, an AssetAlias, a name or a URI")


def inlets_of(asset: Any) -> list[Any]:
    """Return the inlets for an asset, so that Airflow shows the dependency of the task.

    A name or URI is not returned: Airflow would look it up before the task begins and fail the task without a clear message.

    :param asset: an Asset, an AssetAlias, a reference, a name, a URI or None
    :raises ValueError: for any other value
    """
    inlet = None if asset is None else asset_object(asset)
    return [inlet] if isinstance(inlet, Asset | AssetAlias) else []


def last_event(asset: Any, context: Mapping[str, Any]) -> Observation:
    """Return the last event of an asset, created by a successful task or through Airflow's API.

    :param asset: an Asset, an AssetAlias, a reference, a name or a URI
    :param context: Airflow's task context
    :raises QueryError: (reason ``unknown_asset``) if Airflow has no active asset of that name or URI
    """
    from airflow_slo_provider.freshness import Observation

    reference = asset_object(asset)
    what = f"asset {getattr(reference, 'name', None) or getattr(reference, 'uri', reference)}"
    newest = list(_events(reference, what, context).ascending(False).limit(1))
    if not newest:
        return Observation(what=what, source="Airflow's asset events", note="it has no event yet")
    event = newest[0]
    by = f"task {event.source_task_id} of DAG {event.source_dag_id}" if event.source_dag_id else "the API"
    return Observation(
        what=what,
        source="Airflow's asset events",
        observed_at=event.timestamp,
        note=f"event of {by}" + (f", run {event.source_run_id}" if event.source_run_id else ""),
        evidence={"dag_id": event.source_dag_id, "task_id": event.source_task_id, "run_id": event.source_run_id},
    )


def _events(reference: Any, what: str, context: Mapping[str, Any]) -> Any:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

    if isinstance(reference, Asset | AssetAlias):
        return context["inlet_events"][reference]
    from airflow.sdk.execution_time.context import InletEventsAccessors

    try:
        return InletEventsAccessors([reference])[reference]
    except AirflowRuntimeError as error:
        if error.error.error is not ErrorType.ASSET_NOT_FOUND:
            raise
        raise QueryError(f"{what}: Airflow has no active asset of that name or URI", reason="unknown_asset") from None
