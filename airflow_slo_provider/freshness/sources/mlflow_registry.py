"""Query when the model version behind an alias was created, from the REST API of an MLflow model registry.

MLflow does not store when an alias was last moved. To measure the age of a promotion, the promotion must write a tag with its
time to the version, and the name of that tag must be given.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from airflow_slo_provider.core.timestamps import read_seconds, read_timestamp
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.freshness.sources.http_steps import Call, Reply, Steps, read_object, require_object, shape_error

_BASE = "/api/2.0/mlflow"


def version_of_alias(model: str, alias: str, *, promotion_tag: str | None = None) -> Steps:
    """Query the model version behind an alias.

    :param model: name of the registered model
    :param alias: name of the alias
    :param promotion_tag: tag of the version that holds the timestamp to use (ISO 8601 or seconds since 1970); by default the
        creation time of the version is used
    :return: steps for :func:`~airflow_slo_provider.freshness.sources.http_steps.run`
    :raises QueryError: (reason ``not_found``) for a model that does not exist. A missing alias is not an error: nothing was
        promoted yet, and the age is unknown
    """
    call = Call(f"{_BASE}/registered-models/alias", {"name": model, "alias": alias})
    reply = yield call
    what, source = f"model {model}@{alias}", f"MLflow registry {reply.where}".rstrip()
    code = reply.body.get("error_code") if isinstance(reply.body, Mapping) else None
    # MLflow answers 400 INVALID_PARAMETER_VALUE for an unknown alias, and 404 for an unknown model.
    if reply.status == 400 and code == "INVALID_PARAMETER_VALUE" and "not found" in reply.text:
        return Observation(what=what, source=source, note=f"there is no alias {alias} of model {model}")
    answer = read_object(reply, call, missing=f"there is no model {model}")
    version = require_object(answer.get("model_version"), call, reply)
    number = str(version.get("version"))
    note, observed_at = f"version {number} was created then", None
    if version.get("status", "READY") != "READY":  # PENDING_REGISTRATION, FAILED_REGISTRATION: its files may be missing
        note = f"version {number} is not ready: {version['status']}"
    elif promotion_tag is None:
        observed_at = read_seconds(Fraction(_read_milliseconds(version, call, reply), 1000), what="creation_timestamp")
    else:
        text = _read_tag(version, promotion_tag)
        note = f"version {number} was promoted then" if text else f"version {number} has no tag {promotion_tag}"
        observed_at = read_timestamp(text, zone=None, what=f"tag {promotion_tag}")
    return Observation(
        what=what,
        source=source,
        observed_at=observed_at,
        note=note,
        model_version=number,
        evidence={"model": model, "alias": alias},
    )


def _read_milliseconds(version: Mapping[str, Any], call: Call, reply: Reply) -> int:
    try:
        return int(version["creation_timestamp"])
    except (KeyError, OverflowError, TypeError, ValueError):
        raise shape_error(f"the answer to {call.path} has no creation_timestamp: {reply.text[:200]}", reply) from None


def _read_tag(version: Mapping[str, Any], name: str) -> str | None:
    tags = version.get("tags") or ()
    return next((str(tag["value"]) for tag in tags if tag.get("key") == name and tag.get("value")), None)
