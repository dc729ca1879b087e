"""Import sloth documents: ``version: prometheus/v1``, and the same as a Kubernetes object (``sloth.slok.dev/v1``).

Imported are the objective, queries, labels and description. sloth's SLO period is an option of its command line
(``--default-slo-period``), 30 days by default; it is an option of the reader as well. One thing differs from sloth: its SLI
over that period is a mean of 5-minute ratios, which gives a quiet night the same weight as a busy day; here events are counted
(``budgetingMethod: Occurrences``). Alert names, labels and annotations are not imported; a warning reports them.

Format of the documents: https://sloth.dev/specs/default/ and https://sloth.dev/specs/k8s/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from airflow_slo_provider.documents.durations import Duration, parse_duration
from airflow_slo_provider.documents.fields import Fields
from airflow_slo_provider.slo.documents.indicator_reader import advise_bounds, normalise_window
from airflow_slo_provider.slo.documents.metadata import Metadata, locate, read_annotations, read_labels, read_options
from airflow_slo_provider.slo.documents.slo_reader import read_target_share
from airflow_slo_provider.slo.model import (
    SLO,
    BudgetingMethod,
    Indicator,
    Location,
    MetricSource,
    Objective,
    Options,
    RatioMetric,
    TimeWindow,
)
from airflow_slo_provider.slo.promql.result_labels import common_labels

VERSION = "prometheus/v1"
API_VERSION = "sloth.slok.dev/v1"
KIND = "PrometheusServiceLevel"
#: sloth's own default (``--default-slo-period``).
PERIOD = parse_duration("30d")

_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,126}[a-zA-Z0-9])?")
_TEMPLATE = re.compile(r"\{\{(?!\.window\}\})[^}]*\}\}")
_RANGED = re.compile(r"\b(?:rate|increase)\s*\(")
_Labels = Mapping[str, tuple[str, ...]]


def read_service(
    spec: Fields, metadata: Metadata, *, kubernetes: bool = False, period: Duration = PERIOD
) -> tuple[str | None, list[tuple[str | None, SLO | None, Fields]]]:
    """Read the SLOs of a service.

    :param spec: the document, or the ``spec`` of the Kubernetes object
    :param metadata: metadata of the Kubernetes object; its annotations ``airflow-slo/...`` apply to all of its SLOs
    :param kubernetes: whether field names are in Kubernetes' style: ``errorQuery`` for ``error_query``
    :param period: the time window
    :return: the service, and for each SLO its name, the SLO (None if it has errors), and its fields
    """
    if not kubernetes:
        spec.allow("version")
    service = spec.text("service", required=True)
    labels = read_labels(spec)
    _refuse_plugins(spec)
    window = TimeWindow(period)
    options = read_options(metadata, BudgetingMethod.OCCURRENCES, window)
    slos = [_read_slo(item, service, labels, metadata, options, window) for item in spec.subs("slos", required=True) or ()]
    spec.close()
    return service, slos


def read_kubernetes_metadata(document: Fields) -> Metadata:
    """Read the annotations of a Kubernetes object; ``airflow-slo/...`` have the same meaning as on an OpenSLO SLO."""
    fields = document.sub("metadata", required=True)
    source = fields.sub("annotations") if fields is not None else None
    if source is None:
        return Metadata(None)
    return Metadata(None, annotations=read_annotations(source, options=True), source=source)


def _read_slo(
    fields: Fields, service: str | None, shared: _Labels, metadata: Metadata, options: Options, window: TimeWindow
) -> tuple[str | None, SLO | None, Fields]:
    name = fields.text("name", required=True)
    if name is not None and _NAME.fullmatch(name) is None:
        fields.error("name", f"{name!r} is not a sloth name: letters, digits, '-', '_' and '.', e.g. 'requests-availability'")
        name = None
    description = fields.text("description") or ""
    percent = fields.number("objective", required=True)
    target = read_target_share(fields, "objective", percent, percent=True) if percent is not None else None
    labels = {**shared, **read_labels(fields)}
    _refuse_plugins(fields)
    metric = _read_metric(fields)
    _read_alerting(fields)
    fields.close()
    if name is None or service is None or target is None or metric is None:
        return name, None, fields
    location = Location(fields.scope.file, fields.mapping.line)
    if not options.group_by:  # sloth's rules keep the labels of the queries, so that each group alerts separately
        options = replace(options, group_by=common_labels(metric))
    slo = SLO(
        name, service, Indicator(name, metric), window, BudgetingMethod.OCCURRENCES, (Objective(target),),
        description=description, labels=labels, annotations=metadata.annotations, options=options, location=location,
    )  # fmt: skip
    return name, slo, fields


def _read_metric(fields: Fields) -> RatioMetric | None:
    sli = fields.sub("sli", required=True)
    if sli is None:
        return None
    kinds = [kind for kind in ("events", "raw", "plugin") if kind in sli]
    events, raw = sli.sub("events"), sli.sub("raw")
    sli.allow("plugin")
    sli.close()
    if "plugin" in kinds:
        sli.error("plugin", "an SLI plugin is Go code of sloth and cannot be imported; write its queries as events")
        return None
    if len(kinds) != 1:
        sli.error(kinds[-1] if kinds else "events", f"an sli is either events or raw, not {' and '.join(kinds) or 'empty'}")
        return None
    if events is not None:
        bad, total = _read_query(events, "error_query"), _read_query(events, "total_query")
        events.close()
        if bad is None or total is None:
            return None
        if bad.query == total.query:
            events.error("total_query", "is the same query as error_query: everything would be an error")
            return None
        return RatioMetric(bad=bad, total=total, counter=all(_RANGED.search(source.query) for source in (bad, total)))
    if raw is not None:
        ratio = _read_query(raw, "error_ratio_query")
        raw.close()
        return RatioMetric(raw=ratio, raw_type="failure") if ratio is not None else None
    return None


def _read_query(fields: Fields, key: str) -> MetricSource | None:
    """Read a query under sloth's or Kubernetes' spelling of its name. It must contain the window, as in sloth."""
    camel = _camel(key)
    fields.allow(key, camel)
    name = camel if camel in fields and key not in fields else key
    text = fields.text(name, required=True)
    if text is None:
        return None
    query = normalise_window(text)
    other = _TEMPLATE.search(query)
    if other is not None:
        fields.error(name, f"holds {other[0]}; only {{{{.window}}}} can be filled in here")
    elif "{{.window}}" not in query:
        fields.error(name, "must have {{.window}} as its range, e.g. sum(rate(requests_total[{{.window}}]))")
    else:
        advise_bounds(fields, name, query)
        return MetricSource("Prometheus", None, query, {"query": query}, locate(fields, name))
    return None


def _read_alerting(fields: Fields) -> None:
    alerting = fields.sub("alerting")
    if alerting is None:
        return
    alerting.text("name")
    left_out = [key for key in ("labels", "annotations") if key in alerting]
    alerting.allow("labels", "annotations")
    for key in ("page_alert", "ticket_alert"):
        name = _camel(key) if _camel(key) in alerting and key not in alerting else key
        alerting.allow(key, _camel(key))
        alert = alerting.sub(name)
        if alert is None:
            continue
        if alert.boolean("disable"):
            left_out.append(f"{name}.disable")
        left_out.extend(f"{name}.{part}" for part in ("labels", "annotations") if part in alert)
        alert.allow("labels", "annotations")
        alert.close()
    alerting.close()
    if left_out:
        fields.warn("alerting", f"{', '.join(left_out)}: not imported; rules written from here carry their own alerts")


def _refuse_plugins(fields: Fields) -> None:
    for key in ("slo_plugins", "sloPlugins", "plugins"):
        if key in fields:
            fields.allow(key)
            fields.warn(key, "not imported: plugins are code of sloth")


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(word.title() for word in rest)
