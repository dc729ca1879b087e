"""Import slo-generator documents: ``apiVersion: sre.google.com/v2``, ``kind: ServiceLevelObjective``.

Only its Prometheus backend is supported; the others are refused by name. The documents have no time window: it is in the steps
of a shared configuration, whose longest step is 28 days in everything published with the tool. 28 days are therefore used here,
with a warning. Each method becomes the same query that slo-generator runs:

- ``good_bad_ratio``: ``sum(increase(FILTER[window]))``, or other ``operators``; with ``filter_bad`` instead of
  ``filter_valid``, all events are the good and the bad ones
- ``query_sli``: the share of good events, as ``expression`` returns it
- ``distribution_cut``: the bucket ``le="threshold_bucket"`` of a histogram divided by its count

Bounds of buckets match every spelling: Prometheus 3 writes ``le="1.0"`` where Prometheus 2 stores ``le="1"``.

Format of the documents: https://github.com/google/slo-generator, ``docs/providers/prometheus.md``.
"""

from __future__ import annotations

import re

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.documents.fields import Fields
from airflow_slo_provider.documents.nodes import ScalarNode
from airflow_slo_provider.slo.documents.metadata import Metadata, locate, read_options
from airflow_slo_provider.slo.documents.slo_reader import read_target_share
from airflow_slo_provider.slo.model import (
    SLO,
    BudgetingMethod,
    Indicator,
    Location,
    MetricSource,
    Objective,
    RatioMetric,
    TimeWindow,
)
from airflow_slo_provider.slo.promql.bucket_bounds import bound_matcher, with_all_spellings

API_VERSION = "sre.google.com/v2"
KIND = "ServiceLevelObjective"
#: The longest step of slo-generator's published error budget policies.
PERIOD = "28d"

_OPERATOR = re.compile(r"[a-z_]+(?:\s*(?:by|without)\s*\([^()]*\))?")
_PLACE = "[window"
_VARIABLE = re.compile(r"\$\{[^}]*\}")
_HISTOGRAM = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)_bucket\s*(?:\{(.*)\})?", re.DOTALL)


def read_slo(document: Fields, metadata: Metadata) -> SLO | None:
    """Read one document; None if it has too many errors to build an SLO."""
    service = service_of(metadata)
    if service is None and metadata.name is not None:
        document.scope.error("is required: the service of the SLO", "metadata.labels.service_name", document.line_of("metadata"))
    spec = document.sub("spec", required=True)
    if spec is None:
        return None
    description = spec.text("description") or ""
    goal = spec.number("goal", required=True)
    target = read_target_share(spec, "goal", goal) if goal is not None else None
    backend = spec.text("backend", required=True)
    method = spec.text("method", required=True)
    sli = spec.sub("service_level_indicator", required=True)
    metric = None
    if backend is not None and backend.partition("/")[0].lower() != "prometheus":
        spec.error("backend", f"{backend!r} cannot be imported, only prometheus; write the SLO as OpenSLO v1")
    elif method is not None and method not in _METHODS:
        spec.error("method", f"{method!r} cannot be imported; of the prometheus backend: {', '.join(_METHODS)}")
    elif sli is not None and method is not None and backend is not None:
        metric = _METHODS[method](sli)
        sli.close()
    for key, reason in _NOT_IMPORTED.items():
        spec.allow(key)
        if key in spec:
            spec.warn(key, f"not imported: {reason}")
    spec.close()
    window = TimeWindow(parse_duration(PERIOD))
    options = read_options(metadata, BudgetingMethod.OCCURRENCES, window)
    document.warn(
        "spec", f"these documents have no time window; {PERIOD}, the longest step published with slo-generator, is used"
    )
    if metadata.name is None or service is None or target is None or metric is None:
        return None
    return SLO(
        metadata.name, service, Indicator(metadata.name, metric), window, BudgetingMethod.OCCURRENCES, (Objective(target),),
        metadata.display_name, description, labels=metadata.labels, annotations=metadata.annotations, options=options,
        location=Location(document.scope.file, document.mapping.line),
    )  # fmt: skip


def service_of(metadata: Metadata) -> str | None:
    """Return the service that the labels name, if they do."""
    named = ((metadata.labels.get(key) or ("",))[0] for key in ("service_name", "service"))
    return next((name for name in named if name.strip()), None)


_NOT_IMPORTED = {
    "exporters": "results go to the ledger",
    "error_budget_policy": "its steps are in another file; write an ErrorBudgetPolicy and name it in an annotation",
    "frequency": "the DAG's schedule is used",
}


def _read_good_bad(sli: Fields) -> RatioMetric | None:
    # An empty list leaves the filters as they are written.
    operators = sli.texts("operators") if "operators" in sli else ("increase", "sum")
    for operator in operators:
        if _OPERATOR.fullmatch(operator) is None:
            sli.error("operators", f"{operator!r} is not a PromQL function or aggregation")
            return None
    good, bad, valid = (_read_filter(sli, key, operators) for key in ("filter_good", "filter_bad", "filter_valid"))
    if "filter_good" not in sli:
        sli.error("filter_good", "is required")
    if "filter_bad" not in sli and "filter_valid" not in sli:
        sli.error("filter_valid", "is required, or filter_bad")
    counter = bool({"increase", "rate"} & set(operators)) or not operators
    if "filter_bad" in sli:
        # As in slo-generator, filter_bad takes precedence over filter_valid.
        if "filter_valid" in sli:
            sli.warn("filter_valid", "is not used: filter_bad takes precedence")
        if good is None or bad is None:
            return None
        if operators and operators[-1] != "sum":
            sli.error("filter_bad", "needs sum as the last of the operators, so that good and bad add up; or write filter_valid")
            return None
        # A series without events may not exist; a reading of the queries requires that the metrics exist, with any labels.
        total = f"(({good}) or vector(0)) + (({bad}) or vector(0))"
        return RatioMetric(bad=_source(sli, "filter_bad", bad), total=_source(sli, "filter_bad", total), counter=counter)
    if good is None or valid is None:
        return None
    if good == valid:
        sli.error("filter_valid", "is the same query as filter_good: the ratio would always be 1")
        return None
    return RatioMetric(good=_source(sli, "filter_good", good), total=_source(sli, "filter_valid", valid), counter=counter)


def _read_filter(sli: Fields, key: str, operators: tuple[str, ...]) -> str | None:
    text = _read_text(sli, key)
    if text is None:
        return None
    if not operators and _PLACE not in text:
        sli.error(key, "must have [window] as its range, because operators is empty")
        return None
    query = text.replace(_PLACE, "[{{.window}}") if _PLACE in text else f"{text}[{{{{.window}}}}]"
    for operator in operators:
        query = f"{operator}({query})"
    return query


def _read_expression(sli: Fields) -> RatioMetric | None:
    text = _read_text(sli, "expression", required=True)
    if text is None:
        return None
    if _PLACE not in text:
        sli.error("expression", "must have [window] as its range")
        return None
    raw = _source(sli, "expression", text.replace(_PLACE, "[{{.window}}"))
    return RatioMetric(raw=raw, raw_type="success")


def _read_distribution(sli: Fields) -> RatioMetric | None:
    text, bucket = _read_text(sli, "expression", required=True), sli.node("threshold_bucket", required=True)
    if text is None or bucket is None:
        return None
    histogram = _HISTOGRAM.fullmatch(text)
    if histogram is None:
        sli.error("expression", 'must be the buckets of a histogram, e.g. latency_seconds_bucket{code="200"}')
        return None
    try:
        bound = bound_matcher(bucket.text if isinstance(bucket, ScalarNode) else "")
    except ValueError:
        sli.error("threshold_bucket", "must be the upper bound of a bucket as in the label le, e.g. 0.25")
        return None
    name, matchers = histogram[1], (histogram[2] or "").strip().rstrip(",")
    cut = f"{matchers},{bound}" if matchers else bound
    whole = f"{{{matchers}}}" if matchers else ""
    good = _source(sli, "expression", f"sum(increase({name}_bucket{{{cut}}}[{{{{.window}}}}]))")
    total = _source(sli, "expression", f"sum(increase({name}_count{whole}[{{{{.window}}}}]))")
    return RatioMetric(good=good, total=total, counter=True)


def _read_text(sli: Fields, key: str, *, required: bool = False) -> str | None:
    text = sli.text(key, required=required)
    if text is None:
        return None
    variable = _VARIABLE.search(text)
    if variable is not None:
        sli.error(key, f"holds the environment variable {variable[0]}, which is not replaced here; write its value")
        return None
    return with_all_spellings(text.strip())


def _source(sli: Fields, key: str, query: str) -> MetricSource:
    return MetricSource("Prometheus", None, query, {"query": query}, locate(sli, key))


_METHODS = {"good_bad_ratio": _read_good_bad, "query_sli": _read_expression, "distribution_cut": _read_distribution}
