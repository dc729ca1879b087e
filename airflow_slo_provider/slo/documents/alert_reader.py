"""Read OpenSLO AlertCondition and AlertPolicy documents."""

from __future__ import annotations

from airflow_slo_provider.documents.durations import Duration
from airflow_slo_provider.documents.fields import Fields, did_you_mean
from airflow_slo_provider.slo.documents.indicator_reader import Library, resolve_reference, valid
from airflow_slo_provider.slo.documents.metadata import Metadata, read_metadata
from airflow_slo_provider.slo.model import AlertCondition, AlertPolicy

_OPS = ("lt", "lte", "gt", "gte")


def read_condition(document: Fields, metadata: Metadata) -> AlertCondition | None:
    """Read the ``spec`` of an AlertCondition."""
    spec = document.sub("spec", required=True)
    if spec is None:
        return None
    description = spec.text("description") or ""
    severity = spec.text("severity", required=True)
    condition = spec.sub("condition", required=True)
    spec.close()
    if condition is None:
        return None
    condition.choice("kind", ("burnrate",))
    # ``op`` is in the specification's examples but not in its text; the workbook's alerts compare strictly.
    op = condition.choice("op", _OPS) or "gt"
    threshold = condition.number("threshold", required=True)
    lookback = condition.duration("lookbackWindow", required=True, fixed=True)
    after = _read_alert_after(condition)
    condition.close()
    if metadata.name is None or severity is None or threshold is None or lookback is None:
        return None
    return AlertCondition(metadata.name, severity, op, threshold, lookback, after, description)


def read_alert_policy(document: Fields, metadata: Metadata, library: Library) -> AlertPolicy | None:
    """Read the ``spec`` of an AlertPolicy with its inline or referenced conditions."""
    spec = document.sub("spec", required=True)
    if spec is None:
        return None
    spec.text("description")
    breaching, resolved, no_data = (
        spec.boolean(key) or False for key in ("alertWhenBreaching", "alertWhenResolved", "alertWhenNoData")
    )
    conditions = [_read_condition(item, library) for item in spec.subs("conditions", required=True) or ()]
    targets = [_read_target(item, library) for item in spec.subs("notificationTargets") or ()]
    spec.close()
    if metadata.name is None:
        return None
    return AlertPolicy(metadata.name, valid(conditions), breaching, resolved, no_data, valid(targets))


def read_target(document: Fields) -> str | None:
    """Read the ``spec`` of an AlertNotificationTarget and return its kind. Only its name is used."""
    spec = document.sub("spec", required=True)
    if spec is None:
        return None
    target = spec.text("target", required=True)
    spec.text("description")
    spec.close()
    return target


def read_alert_policies(spec: Fields, library: Library) -> tuple[AlertPolicy, ...]:
    """Read ``alertPolicies`` of an SLO: references and inline policies."""
    policies = []
    for item in spec.subs("alertPolicies") or ():
        if "alertPolicyRef" in item:
            policy = resolve_reference(item, "alertPolicyRef", library.alert_policies, "AlertPolicy")
        else:
            policy = read_alert_policy(item, _read_inline(item, "AlertPolicy", "alertPolicyRef"), library)
        item.close()
        policies.append(policy)
    return valid(policies)


def _read_condition(item: Fields, library: Library) -> AlertCondition | None:
    if "conditionRef" in item:
        condition = resolve_reference(item, "conditionRef", library.conditions, "AlertCondition")
    else:
        condition = read_condition(item, _read_inline(item, "AlertCondition", "conditionRef"))
    item.close()
    return condition


def _read_target(item: Fields, library: Library) -> str | None:
    name: str | None
    if "targetRef" in item:
        name = item.text("targetRef", required=True)
        if name is not None and name not in library.targets:
            # A warning, no error: this provider does not notify targets.
            known = did_you_mean(name, library.targets)
            item.warn("targetRef", f"there is no AlertNotificationTarget document {name!r} here{known}")
    else:
        name = _read_inline(item, "AlertNotificationTarget", "targetRef").name
        read_target(item)
    item.close()
    return name


def _read_inline(item: Fields, kind: str, ref: str) -> Metadata:
    item.allow("apiVersion", ref)
    item.choice("kind", (kind,))
    return read_metadata(item)


def _read_alert_after(condition: Fields) -> Duration | None:
    """Read ``alertAfter``; the specification's default is ``0m``, although other durations must not be 0."""
    text = condition.text("alertAfter")
    if text is None or (text[:-1].strip("0") == "" and text[:1] == "0" and text[-1:] in "smhdw0"):
        return None
    return condition.duration("alertAfter", fixed=True)
