"""Read OpenSLO AlertCondition and AlertPolicy documents."""

from __future__ import annotations

from airflow_slo_provider.documents.durations import Duration
from airflow_slo_provider.documents.fields import Fields, did_you_mean
from airflow_slo_provider.slo.documents.indicator_reader import Library, look_up
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
    after = _alert_after(condition)
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
    conditions = [_condition(item, library) for item in spec.subs("conditions", required=True) or ()]
    targets = [_target(item, library) for item in spec.subs("notificationTargets") or ()]
    spec.close()
    if metadata.name is None:
        return None
    return AlertPolicy(
        metadata.name,
        tuple(condition for condition in conditions if condition is not None),
        breaching,
        resolved,
        no_data,
        tuple(target for target in targets if target is not None),
    )


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
    found = []
    for item in spec.subs("alertPolicies") or ():
        if "alertPolicyRef" in item:
            policy = look_up(item, "alertPolicyRef", library.alert_policies, "AlertPolicy")
        else:
            policy = read_alert_policy(item, _inline(item, "AlertPolicy", "alertPolicyRef"), library)
        item.close()
        if policy is not None:
            found.append(policy)
    return tuple(found)


def _condition(item: Fields, library: Library) -> AlertCondition | None:
    if "conditionRef" in item:
        condition = look_up(item, "conditionRef", library.conditions, "AlertCondition")
    else:
        condition = read_condition(item, _inline(item, "AlertCondition", "conditionRef"))
    item.close()
    return condition


def _target(item: Fields, library: Library) -> str | None:
    name: str | None
    if "targetRef" in item:
        name = item.text("targetRef", required=True)
        if name is not None and name not in library.targets:
            # A warning, no error: this provider does not notify targets.
            known = did_you_mean(name, library.targets)
            item.warn("targetRef", f"there is no AlertNotificationTarget document {name!r} here{known}")
    else:
        name = _inline(item, "AlertNotificationTarget", "targetRef").name
        read_target(item)
    item.close()
    return name


def _inline(item: Fields, kind: str, ref: str) -> Metadata:
    item.allow("apiVersion", ref)
    item.choice("kind", (kind,))
    return read_metadata(item)


def _alert_after(condition: Fields) -> Duration | None:
    """Read ``alertAfter``; the specification's default is ``0m``, although other durations must not be 0."""
    text = condition.text("alertAfter")
    if text is None or (text[:-1].strip("0") == "" and text[:1] == "0" and text[-1:] in "smhdw0"):
        return None
    return condition.duration("alertAfter", fixed=True)
