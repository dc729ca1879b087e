"""Import pyrra's documents: ``apiVersion: pyrra.dev/v1alpha1``, ``kind: ServiceLevelObjective``.

Each indicator becomes the query that pyrra records for the window:

- ``ratio``: ``sum(increase(ERRORS[window]))`` and ``sum(increase(TOTAL[window]))``
- ``latency``: the bucket of ``success`` and ``total``, in the same way; a bound such as ``le="1"`` matches every spelling
- ``latencyNative``: the share of a native histogram below ``latency``
- ``bool_gauge``: the sum of the samples, each 0 or 1, and their number

``grouping`` sums by these labels: each of their values has an error budget of its own. pyrra identifies an SLO by namespace and
name. The service is the label ``pyrra.dev/service`` or ``service``, else the namespace, else the name. Labels with the prefix
``pyrra.dev/`` are imported without it, as pyrra writes them into its rules. Settings of pyrra's own rules and alerts are not
imported; a warning reports them.

Format of the documents: https://github.com/pyrra-dev/pyrra
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from airflow_slo_provider.documents.durations import Duration, format_seconds
from airflow_slo_provider.documents.fields import Fields
from airflow_slo_provider.slo.documents.metadata import Metadata, read_annotations, read_labels, read_options
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
from airflow_slo_provider.slo.promql.bucket_bounds import bound_spellings, with_all_spellings
from airflow_slo_provider.slo.promql.syntax_tree import PromQLSyntaxError, Series, parse
from airflow_slo_provider.slo.promql.text import number

API_VERSION = "pyrra.dev/v1alpha1"
#: Kind of the documents here; slo-generator's have the same kind.
KIND = "pyrra's ServiceLevelObjective"
WRITTEN_KIND = "ServiceLevelObjective"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_PREFIX = "pyrra.dev/"
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{0,30})?")
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_MILLISECONDS = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1000, 1)
_SEVERITIES = ("absent", "fastBurn", "mediumBurn", "slowBurn", "longTermBurn")
_LONGEST = 36_525 * 86_400


def read_metadata(document: Fields) -> tuple[Metadata, str | None]:
    """Read the metadata of a Kubernetes object, and the service; annotations ``airflow-slo/...`` are options of the SLO."""
    fields = document.sub("metadata", required=True)
    if fields is None:
        return Metadata(None), None
    name = fields.text("name", required=True)
    if name is not None and _NAME.fullmatch(name) is None:
        fields.error("name", f"{name!r} is not a Kubernetes name: lower case letters, digits, '-' and '.', e.g. 'api-errors'")
        name = None
    namespace, written, source = fields.text("namespace"), read_labels(fields), fields.sub("annotations")
    annotations = read_annotations(source, options=True)
    named = ((written.get(key) or ("",))[0].strip() for key in (f"{_PREFIX}service", "service"))
    service = next(filter(None, (*named, namespace, name)), None)
    labels = {key.removeprefix(_PREFIX): values for key, values in written.items() if key.startswith(_PREFIX)}
    return Metadata(name, labels=labels, annotations=annotations, source=source), service


def read_slo(document: Fields, metadata: Metadata, service: str | None) -> SLO | None:
    """Read one document; None if it has too many errors to build an SLO."""
    document.allow("status")
    spec = document.sub("spec", required=True)
    if spec is None:
        return None
    description = spec.text("description") or ""
    target, window = _read_target(spec), _read_window(spec)
    indicator = spec.sub("indicator", required=True)
    metric, grouping = _read_indicator(indicator) if indicator is not None else (None, ())
    _read_rule_settings(spec)
    spec.close()
    options = with_groups(read_options(metadata, BudgetingMethod.OCCURRENCES, window), grouping)
    if metadata.name is None or service is None or target is None or window is None or metric is None:
        return None
    return SLO(
        metadata.name, service, Indicator(metadata.name, metric), window, BudgetingMethod.OCCURRENCES, (Objective(target),),
        description=description, labels=metadata.labels, annotations=metadata.annotations, options=options,
        location=Location(document.scope.file, document.mapping.line),
    )  # fmt: skip


def with_groups(options: Options, grouping: tuple[str, ...]) -> Options:
    """Return the options of an SLO that has an error budget for each value of the labels, unless an annotation names labels."""
    return replace(options, group_by=grouping) if grouping and not options.group_by else options


def _read_target(spec: Fields) -> Fraction | None:
    """Read the target, a percentage that is written as text."""
    text = spec.text("target", required=True)
    if text is None:
        return None
    if _NUMBER.fullmatch(text.strip()) is None:
        spec.error("target", f'{text!r} is not a percentage, e.g. "99.9"')
        return None
    return read_target_share(spec, "target", Fraction(text.strip()), percent=True)


def _read_window(spec: Fields) -> TimeWindow | None:
    text = spec.text("window", required=True)
    milliseconds = _read_milliseconds(spec, "window", text)
    if milliseconds is None or text is None:
        return None
    seconds, rest = divmod(milliseconds, 1000)
    if rest or seconds > _LONGEST:
        spec.error("window", f"{text} must be a whole number of seconds, and not longer than a hundred years")
        return None
    return TimeWindow(Duration(format_seconds(seconds), seconds=seconds))


def _read_milliseconds(fields: Fields, key: str, text: str | None) -> int | None:
    """Read a duration of Prometheus, which may have several units: ``1w``, ``1h30m``, ``200ms``."""
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip())
    counts = [int(count or 0) for count in match.groups()] if match and len(text) < 100 else []
    total = sum(count * unit for count, unit in zip(counts, _MILLISECONDS, strict=False))
    if not total:
        fields.error(key, f"{text!r} is not a duration above 0 as in Prometheus, e.g. 4w or 1h30m")
    return total or None


def _read_indicator(fields: Fields) -> tuple[RatioMetric | None, tuple[str, ...]]:
    found = [kind for kind in _INDICATORS if kind in fields]
    indicators = [(kind, fields.sub(kind)) for kind in _INDICATORS]
    fields.close()
    if len(found) != 1:
        message = f"an indicator is one of {', '.join(_INDICATORS)}, not {' and '.join(found) or 'empty'}"
        fields.error(found[-1] if found else "ratio", message)
        return None, ()
    kind, indicator = next((kind, inner) for kind, inner in indicators if kind == found[0])
    if indicator is None:
        return None, ()
    grouping = indicator.texts("grouping")
    for label in grouping:
        if _LABEL.fullmatch(label) is None:
            indicator.error("grouping", f"{label!r} is not the name of a label")
            return None, ()
    metric = _INDICATORS[kind](indicator, f" by ({', '.join(grouping)}) " if grouping else "")
    indicator.close()
    return metric, grouping


def _read_ratio(fields: Fields, by: str) -> RatioMetric | None:
    errors, total = _read_metric(fields, "errors"), _read_metric(fields, "total")
    if errors is None or total is None:
        return None
    if errors == total:
        fields.error("total", "is the same metric as errors: everything would be an error")
        return None
    return RatioMetric(bad=_increase(errors, by), total=_increase(total, by), counter=True)


def _read_latency(fields: Fields, by: str) -> RatioMetric | None:
    success, total = _read_metric(fields, "success"), _read_metric(fields, "total")
    if success is None or total is None:
        return None
    tree = parse(success)
    bounds = [value for label, _, value in tree.matchers if label == "le"] if isinstance(tree, Series) else []
    if not any(map(_is_bound, bounds)):
        fields.error("success", 'must name a bucket of the histogram, e.g. latency_seconds_bucket{le="0.25"}')
        return None
    if success == total:
        fields.error("total", "is the same metric as success: the ratio would always be 1")
        return None
    return RatioMetric(good=_increase(with_all_spellings(success), by), total=_increase(total, by), counter=True)


def _is_bound(text: str) -> bool:
    try:
        return bool(bound_spellings(text))
    except ValueError:
        return False


def _read_native_latency(fields: Fields, by: str) -> RatioMetric | None:
    total = _read_metric(fields, "total")
    milliseconds = _read_milliseconds(fields, "latency", fields.text("latency", required=True))
    if total is None or milliseconds is None:
        return None
    histogram = f"sum{by}(increase({total}[{{{{.window}}}}]))"
    bound = number(Fraction(milliseconds, 1000))
    good = f"histogram_fraction(0, {bound}, {histogram}) * histogram_count({histogram})"
    return RatioMetric(good=_source(good), total=_source(f"histogram_count({histogram})"), counter=True)


def _read_bool_gauge(fields: Fields, by: str) -> RatioMetric | None:
    metric = _read_selector(fields, "metric")
    if metric is None:
        return None
    good, total = (f"sum{by}({function}({metric}[{{{{.window}}}}]))" for function in ("sum_over_time", "count_over_time"))
    return RatioMetric(good=_source(good), total=_source(total))


_INDICATORS: Mapping[str, Callable[[Fields, str], RatioMetric | None]] = {
    "ratio": _read_ratio,
    "latency": _read_latency,
    "latencyNative": _read_native_latency,
    "bool_gauge": _read_bool_gauge,
}


def _read_metric(fields: Fields, key: str) -> str | None:
    inner = fields.sub(key, required=True)
    if inner is None:
        return None
    selector = _read_selector(inner, "metric")
    inner.close()
    return selector


def _read_selector(fields: Fields, key: str) -> str | None:
    """Read a selector of series; pyrra accepts no other expression."""
    text = fields.text(key, required=True)
    if text is None:
        return None
    try:
        tree = parse(text)
    except PromQLSyntaxError as error:
        fields.error(key, f"is not PromQL: {error}")
        return None
    if not isinstance(tree, Series) or tree.range is not None or tree.offset or tree.at or "#" in text:
        fields.error(key, 'must be a metric with matchers and nothing else, e.g. requests_total{code=~"5.."}')
        return None
    return text.strip()


def _increase(selector: str, by: str) -> MetricSource:
    return _source(f"sum{by}(increase({selector}[{{{{.window}}}}]))")


def _source(query: str) -> MetricSource:
    return MetricSource("Prometheus", None, query, {"query": query})


def _read_rule_settings(spec: Fields) -> None:
    """Read the settings of pyrra's own rules and alerts, and report those that would change something."""
    left_out = []
    alerting = spec.sub("alerting")
    if alerting is not None:
        for key, usual in (("disabled", False), ("burnrates", True), ("absent", True)):
            if alerting.boolean(key) is (not usual):
                left_out.append(f"alerting.{key}")
        left_out += [f"alerting.{key}" for key in ("name", "absentName") if alerting.text(key) is not None]
        severities = alerting.sub("severities")
        if severities is not None:
            left_out += [f"alerting.severities.{key}" for key in _SEVERITIES if severities.text(key) is not None]
            severities.close()
        alerting.close()
    if spec.choice("partial_response_strategy", ("abort", "warn")) == "warn":
        left_out.append("partial_response_strategy")
    if spec.boolean("performanceOverAccuracy"):
        left_out.append("performanceOverAccuracy")
    spec.allow("ruleOutput")
    if left_out:
        spec.warn(left_out[0].partition(".")[0], f"{', '.join(left_out)}: not imported; rules written from here are their own")
