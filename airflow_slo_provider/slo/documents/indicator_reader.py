"""Read OpenSLO indicators: the metric, its queries and their data source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from airflow_slo_provider.documents.fields import Fields, did_you_mean
from airflow_slo_provider.documents.nodes import plain_value
from airflow_slo_provider.slo.documents.data_source_reader import KNOWN_TYPES, known_type, refuse_secrets, warn_unknown_type
from airflow_slo_provider.slo.documents.metadata import Metadata, locate, read_metadata
from airflow_slo_provider.slo.model import (
    AlertCondition,
    AlertPolicy,
    DataSource,
    Indicator,
    MetricSource,
    RatioMetric,
    ThresholdMetric,
)
from airflow_slo_provider.slo.promql.bucket_bounds import narrow_bounds
from airflow_slo_provider.slo.promql.text import has_window, with_window

T = TypeVar("T")


@dataclass
class Library:
    """Documents that can be referred to by name. None marks a document with errors."""

    data_sources: dict[str, DataSource | None] = field(default_factory=dict)
    indicators: dict[str, Indicator | None] = field(default_factory=dict)
    conditions: dict[str, AlertCondition | None] = field(default_factory=dict)
    alert_policies: dict[str, AlertPolicy | None] = field(default_factory=dict)
    targets: dict[str, str | None] = field(default_factory=dict)


def valid(items: Iterable[T | None]) -> tuple[T, ...]:
    """Return the items without those that have errors (None)."""
    return tuple(item for item in items if item is not None)


def resolve_reference(fields: Fields, key: str, documents: Mapping[str, T | None], kind: str) -> T | None:
    """Resolve a reference. A missing document is an error; a document with errors is not a second error."""
    name = fields.text(key, required=True)
    if name is not None and name not in documents:
        known = did_you_mean(name, documents) or (f"; known: {', '.join(sorted(documents)[:10])}" if documents else "")
        fields.error(key, f"there is no {kind} named {name!r} among these documents{known}")
    return documents.get(name or "")


def normalise_window(query: str) -> str:
    """Normalise the placeholder of the window to ``{{.window}}``."""
    return with_window(query, "{{.window}}")


def advise_bounds(fields: Fields, key: str, query: str) -> None:
    """Warn about buckets that another version of Prometheus does not find: it writes ``le="1"`` as ``le="1.0"``."""
    for written, complete in narrow_bounds(query):
        fields.warn(key, f"{written} misses buckets that Prometheus 3, or 2, writes differently; write {complete}")


def read_sli(document: Fields, metadata: Metadata, library: Library) -> Indicator | None:
    """Read the ``spec`` of an SLI document or of an inline indicator."""
    spec = document.sub("spec", required=True)
    if spec is None:
        return None
    description = spec.text("description") or ""
    ratio, threshold = spec.sub("ratioMetric"), spec.sub("thresholdMetric")
    metric: RatioMetric | ThresholdMetric | None = None
    if "ratioMetric" in spec and "thresholdMetric" in spec:
        spec.error("thresholdMetric", "an indicator has either a ratioMetric or a thresholdMetric, not both")
    elif ratio is not None:
        metric = _read_ratio(ratio, library)
    elif threshold is not None:
        source = _read_source(threshold, library)
        threshold.close()
        metric = ThresholdMetric(source) if source is not None else None
    elif "ratioMetric" not in spec and "thresholdMetric" not in spec:
        spec.error("ratioMetric", "is required, or a thresholdMetric")
    spec.close()
    if metadata.name is None or metric is None:
        return None
    return Indicator(metadata.name, metric, metadata.display_name, description)


def read_indicator(owner: Fields, library: Library, *, default_name: str) -> Indicator | None:
    """Read ``indicator`` or ``indicatorRef`` of an SLO or of an objective.

    :param default_name: name of an inline indicator without metadata
    :param owner: the SLO or the objective
    :param library: the documents that can be referred to
    """
    inline = owner.sub("indicator")
    if "sli" in owner:
        owner.warn("sli", "OpenSLO v1 calls this field 'indicator'")
        inline = inline or owner.sub("sli")
    if "indicatorRef" in owner:
        owner.allow("indicator")
        if inline is not None:
            owner.error("indicatorRef", "either indicator or indicatorRef, not both")
        return resolve_reference(owner, "indicatorRef", library.indicators, "SLI")
    owner.allow("indicatorRef")
    if inline is None:
        return None
    inline.allow("apiVersion")
    inline.choice("kind", ("SLI",))
    metadata = read_metadata(inline) if "metadata" in inline else Metadata(default_name)
    inline.allow("metadata")
    indicator = read_sli(inline, metadata, library)
    inline.close()
    return indicator


def _read_ratio(fields: Fields, library: Library) -> RatioMetric | None:
    declared = fields.boolean("counter")
    counter = declared or False
    raw_type = fields.choice("rawType", ("success", "failure"))
    names = [name for name in ("good", "bad", "total", "raw", "metricSource") if name in fields]
    fields.allow("good", "bad", "total", "raw", "metricSource")
    if sorted(names) not in (["good", "total"], ["bad", "total"], ["raw"], ["metricSource"]):
        fields.error(
            names[-1] if names else "good",
            f"a ratioMetric is good and total, bad and total, or raw with rawType, not {' and '.join(names) or 'empty'}",
        )
    if "raw" in names and "rawType" not in fields:
        fields.error("rawType", "is required with raw: success or failure")
    if "rawType" in fields and "raw" not in names:
        fields.error("rawType", "belongs to raw only")
    found: dict[str, MetricSource] = {}
    for name in names:
        holder = fields if name == "metricSource" else fields.sub(name)
        source = _read_source(holder, library) if holder is not None else None
        if source is not None:
            found[name] = source
        if holder is not None and holder is not fields:
            holder.close()
    fields.close()
    _check_sources(fields, found)
    if len(found) < len(names) or not names or ("raw" in names and raw_type is None):
        return None
    single = found.pop("metricSource", None)
    if single is not None:
        if single.type not in ("SQL", "Ledger"):
            fields.error("metricSource", f"one {single.type} query gives one number; write good and total")
        return RatioMetric(good=single, total=single, counter=counter)
    if declared is None and any(source.type == "Prometheus" and not has_window(source.query) for source in found.values()):
        fields.warn(
            "counter",
            "is not written, so that each sample is added up as a count; write counter: true for monotonic counters, else "
            "counter: false",
        )
    return RatioMetric(
        found.get("good"), found.get("bad"), found.get("total"), found.get("raw"), raw_type=raw_type, counter=counter
    )


def _check_sources(fields: Fields, found: Mapping[str, MetricSource]) -> None:
    """Refuse a ratio of two data sources, or of a Prometheus query with itself."""
    if not found:
        return
    (first_name, first), *others = found.items()
    for name, other in others:
        if first.type != other.type:
            fields.error(name, f"is of type {other.type!r}, {first_name} of {first.type!r}: an indicator reads one data source")
        elif first.ref != other.ref:
            fields.error(name, f"has metricSourceRef {other.ref!r}, {first_name} has {first.ref!r}: use one data source")
        elif first.type == "Prometheus" and first.query == other.query:
            fields.error(name, f"is the same query as {first_name}: the ratio would always be 1")


def _read_source(holder: Fields, library: Library) -> MetricSource | None:
    """Read ``metricSource``; its type may come from the DataSource it refers to."""
    fields = holder.sub("metricSource", required=True)
    if fields is None:
        return None
    ref = fields.text("metricSourceRef")
    kind = known_type(fields.text("type"))
    usable = True
    if ref is not None and library.data_sources:
        known = resolve_reference(fields, "metricSourceRef", library.data_sources, "DataSource")
        usable = known is not None
        if known is not None and kind is not None and kind != known.type:
            fields.error("type", f"is {kind!r}, and the DataSource {ref!r} is of type {known.type!r}")
        kind = kind or (known.type if known is not None else None)
    elif ref is not None:
        fields.warn("metricSourceRef", f"there is no DataSource document {ref!r} here; the default connection is used")
    if kind is None:
        if usable:
            fields.error("type", "is required where metricSourceRef names no DataSource document")
        fields.allow("spec")
        fields.close()
        return None
    warn_unknown_type(fields, "type" if "type" in fields else "metricSourceRef", kind)
    if ref is None and sum(source is not None and source.type == kind for source in library.data_sources.values()) > 1:
        fields.error("metricSourceRef", f"is required: several DataSources are of type {kind!r}")
    if ref is None and kind == "SQL" and not any(source and source.type == kind for source in library.data_sources.values()):
        fields.warn("type", "no DataSource of type SQL names the database: write one with connectionDetails.airflowConnId")
    source = _read_query(fields, kind, ref)
    fields.close()
    return source if usable else None


def _read_query(fields: Fields, kind: str, ref: str | None) -> MetricSource | None:
    spec = fields.sub("spec", required=True)
    if spec is None:
        return None
    refuse_secrets(spec.mapping, spec.scope, spec.path, spec.mapping.line)
    values = plain_value(spec.mapping)
    if kind not in KNOWN_TYPES:
        return MetricSource(kind, ref, spec.text("query") or "" if "query" in values else "", values)
    key = "check" if kind == "Ledger" else "query"
    query = spec.text(key, required=True)
    if kind == "Ledger":
        spec.text("kind")
        spec.text("service")
        options = {"unknown": spec.choice("unknown", ("bad", "ignore")), "events": spec.boolean("events")}
        if any(key in spec and value is None for key, value in options.items()):
            query = None  # reported already
    elif kind == "SQL":
        spec.choice("timeFormat", ("timestamp", "iso", "epoch"))
        spec.time_zone("timeZone")
    spec.close()
    if query is None:
        return None
    if kind == "Prometheus":
        advise_bounds(spec, key, query)
        query = normalise_window(query)
    return MetricSource(kind, ref, query, values, locate(spec, key))
