"""Form fields and settings of a trace-store connection. Imports no Airflow."""

from __future__ import annotations

from typing import Any

from airflow_slo_provider.hooks.connection_forms.fields import (
    ConnectionFields,
    bad_connection,
    form_field,
    read_boolean,
    read_number,
    read_object,
)
from airflow_slo_provider.hooks.connection_forms.http import HTTP_FIELDS, connection_form, headers_field, http_arguments
from airflow_slo_provider.tracing.stores.kinds import KINDS


def trace_store_connection_type() -> dict[str, Any]:
    """Return the connection form as ``get_provider_info`` declares it (``airflow/provider.yaml.schema.json``)."""
    fields = {
        "kind": form_field("Kind", "string", "Which store it is.", enum=[*KINDS, None]),
        "path": form_field("Path", "string", "For otlp_json: a file, a directory or a glob on the worker."),
        **HTTP_FIELDS,
        "headers": headers_field('{"X-Scope-OrgID": "team-a"}'),
        "experiments": form_field("Experiments (MLflow)", "string", "Ids, separated by commas; 0 by default."),
        "project": form_field("Project (Phoenix)", "string", "Name or id; default by default."),
        "api": form_field(
            "API (Jaeger)", "string", "The newest that is served by default.", enum=["auto", "v3", "classic", None]
        ),
        "page": form_field("Traces per search", "integer", "For Tempo and Jaeger.", default=1000, minimum=1),
        "spans_per_trace": form_field(
            "Spans per trace (Tempo)", "integer", "At most the server's max_spans_per_span_set.", default=100, minimum=1
        ),
        "whole_traces": form_field(
            "Whole traces (Tempo)", "boolean", "Fetch each trace by its id, with the spans of other services.", default=False
        ),
        "blind_seconds": form_field(
            "Blind seconds (Tempo)", "number", "What searches leave out at the end: query_end_cutoff.", default=30, minimum=0
        ),
    }
    return connection_form(
        "trace_store",
        "trace_store.TraceStoreHook",
        "Trace store",
        example="https://tempo.example/prefix; for VictoriaTraces with /select/jaeger",
        fields=fields,
    )


def store_settings(connection: ConnectionFields) -> dict[str, Any]:
    """Read a connection as arguments of :func:`airflow_slo_provider.tracing.stores.open_store`.

    :param connection: the connection
    :raises QueryError: reason ``bad_connection``, if its fields contradict each other or have the wrong type
    """
    extra = read_object(connection, connection.extra, "extra")
    kind = str(extra.get("kind") or "").strip().lower()
    if kind not in KINDS:
        raise bad_connection(connection, f"kind is {extra.get('kind')!r}; write one of {', '.join(KINDS)}")
    if kind == "otlp_json":
        path = str(extra.get("path") or connection.host or "").strip()
        if not path:
            raise bad_connection(connection, "an otlp_json store needs a path")
        return {"kind": kind, "path": path}
    from airflow_slo_provider.http.settings import HttpSettings

    settings: dict[str, Any] = {"kind": kind, "http": HttpSettings(**http_arguments(connection))}
    if kind in ("tempo", "jaeger"):
        settings["page"] = int(read_number(connection, extra, "page", 1000, least=1))
    if kind == "tempo":
        from datetime import timedelta

        settings["spans_per_trace"] = int(read_number(connection, extra, "spans_per_trace", 100, least=1))
        settings["whole_traces"] = read_boolean(connection, extra, "whole_traces", False)
        settings["blind"] = timedelta(seconds=read_number(connection, extra, "blind_seconds", 30.0, least=0))
    if kind == "jaeger":
        settings["api"] = str(extra.get("api") or "auto")
        if settings["api"] not in ("auto", "v3", "classic"):
            raise bad_connection(connection, f"api is {extra['api']!r}; write auto, v3 or classic")
    if kind == "mlflow":
        ids = tuple(filter(None, map(str.strip, str(extra.get("experiments") or "0").split(","))))
        settings["experiments"] = ids or ("0",)
    if kind == "phoenix":
        settings["project"] = str(extra.get("project") or "default")
    return settings
