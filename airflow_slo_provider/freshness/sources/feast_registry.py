"""Query the last materialisation of feature views from a Feast registry server (``feast serve_registry --rest-api``).

This measures how far the materialisation is behind, not the age of the features' own data. ``feast apply`` may drop the
materialisations of a view that changed: the age is then unknown, which is neither fresh nor stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from airflow_slo_provider.core.timestamps import read_timestamp
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.freshness.sources.http_steps import Call, Reply, Steps, quote_segment, read_object, shape_error


def last_materialisation(project: str, feature_views: Sequence[str]) -> Steps:
    """Query the end of the last materialisation of each feature view.

    :param project: the Feast project
    :param feature_views: names of feature views; with several, each is a group
    :return: steps for :func:`~airflow_slo_provider.freshness.sources.http_steps.run`
    :raises QueryError: (reason ``not_found``) for a view or project that does not exist
    """
    ends: dict[str, datetime | None] = {}
    where = ""
    for name in feature_views:
        call = Call(f"/api/v1/feature_views/{quote_segment(name)}", {"project": project, "allow_cache": "false"})
        reply = yield call
        where = reply.where
        answer = read_object(reply, call, missing=f"there is no feature view {name} in project {project}")
        ends[name] = _last_end(answer, name, call, reply)
    source = f"materialisations in the Feast registry {where}".rstrip()
    evidence = {"project": project, "feature_views": list(feature_views), "measures": "materialisation"}
    if len(ends) == 1:
        ((name, end),) = ends.items()
        note = "materialised up to then" if end else "the registry has no materialisation of it"
        return Observation(what=f"feature view {name}", source=source, observed_at=end, note=note, evidence=evidence)
    return Observation(what=f"feature views of {project}", source=source, groups=ends, evidence=evidence)


def _last_end(answer: Mapping[str, object], name: str, call: Call, reply: Reply) -> datetime | None:
    if "spec" not in answer:
        raise shape_error(f"the answer to {call.path} is not a feature view: {reply.text[:200]}", reply)
    meta = answer.get("meta")
    intervals = meta.get("materializationIntervals") if isinstance(meta, Mapping) else None
    ends = [
        read_timestamp(interval.get("endTime"), zone=None, what=f"feature view {name}: endTime")
        for interval in intervals or ()
        if isinstance(interval, Mapping)
    ]
    return max((end for end in ends if end is not None), default=None)
