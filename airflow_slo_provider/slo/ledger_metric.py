"""Check the options of an indicator that reads the ledger: validation and measurement use the same rules."""

from __future__ import annotations

from airflow_slo_provider.slo.model import Indicator, RatioMetric, ThresholdMetric


def find_ledger_problem(indicator: Indicator) -> str:
    """Return why an indicator over recorded checks cannot be measured; empty if it can.

    :param indicator: an indicator of type ``Ledger``
    """
    sources = indicator.metric.sources
    name, spec = sources[0].query.strip(), sources[0].spec
    kind, service = spec.get("kind"), spec.get("service")
    unknown, events = spec.get("unknown", "bad"), spec.get("events", False)
    keys = ("kind", "service", "unknown", "events")
    selections = [(source.query.strip(), *(source.spec.get(key) for key in keys)) for source in sources]
    if selections.count(selections[0]) < len(selections):
        return "good and total name different checks; a ledger ratio is the share of one check that passed"
    if not name:
        return "the query is empty; write the name of a check"
    if service is not None and (kind != "slo" or not service):
        return f"metricSource.spec.service {service!r} belongs to kind: slo, and names one"
    if unknown not in ("bad", "ignore"):
        return f"metricSource.spec.unknown {unknown!r} is neither bad nor ignore"
    if not isinstance(events, bool):
        return f"metricSource.spec.events {events!r} is neither true nor false"
    if isinstance(indicator.metric, RatioMetric) and indicator.metric.raw_type == "failure":
        return "a raw ratio of type failure is not defined for checks; use good and total"
    if isinstance(indicator.metric, ThresholdMetric) and events:
        return "metricSource.spec.events belongs to a ratio metric; a threshold metric compares each check's value"
    return ""
