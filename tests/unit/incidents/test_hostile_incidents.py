"""Arbitrary data from an Alertmanager or a run's conf: it becomes an incident, or an error of this provider."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_slo_provider.incidents.culprit import find_outlier
from airflow_slo_provider.incidents.incident import Incident, incident_id
from airflow_slo_provider.incidents.playbook_choice import choose_playbook
from airflow_slo_provider.incidents.playbook_library import shipped_playbooks
from airflow_slo_provider.indicators.alertmanager import _read_alert

values: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("2026-11-01T00:00:00Z")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
alerts = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("fingerprint", "labels", "annotations", "startsAt", "generatorURL"), values)
)
_FIELDS = ("kind", "subject", "severity", "started_at", "message", "evidence", "schema_version", "more")
incidents = st.fixed_dictionaries({"id": st.text(min_size=1, max_size=20)}, optional=dict.fromkeys(_FIELDS, values))


@settings(deadline=None)
@given(data=st.one_of(alerts, values))
def test_alert_with_arbitrary_data_is_parsed_or_rejected(data: Any) -> None:
    try:
        alert = _read_alert(data)
    except (ValueError, KeyError, TypeError, AttributeError):  # what the client turns into a QueryError
        return
    json.dumps([alert.labels, alert.annotations, alert.fingerprint, alert.generator_url]).encode()
    assert alert.starts_at.tzinfo is not None


@settings(deadline=None)
@given(data=st.one_of(incidents, values))
@example(data={"id": "x", "started_at": 5})
@example(data={"id": "x", "evidence": "text"})
@example(data={"id": "x", "message": "a\x00b\ud800"})
def test_incident_with_arbitrary_data_is_parsed_or_rejected(data: Any) -> None:
    try:
        incident = Incident.from_dict(data)
    except ValueError:
        return
    assert Incident.from_dict(json.loads(json.dumps(incident.to_dict()))).id == incident.id
    (incident.id + incident.message + incident.subject).encode()
    choose_playbook(incident, shipped_playbooks())


@given(subject=st.text(max_size=300), at=st.datetimes(timezones=st.just(UTC)))
def test_incident_id_of_any_subject_is_valid_in_urls_and_file_names(subject: str, at: datetime) -> None:
    name = incident_id(subject, at)
    assert re.fullmatch(r"[A-Za-z0-9_.+:-]{1,200}", name)
    assert Incident(id=name).id == name


@pytest.mark.parametrize("text", ["a" * 200_000, "latency " * 20_000, "-" * 100_000 + "x", "\n" * 100_000])
def test_shipped_patterns_on_arbitrary_text_finish_quickly(text: str) -> None:
    """Labels are anybody's, and the patterns of a playbook are searched in them."""
    began = datetime.now(UTC)
    incident = Incident(id="x", subject=text, message=text, evidence={"labels": {"a": text}, "slo": text, "query": text})
    choose_playbook(incident, shipped_playbooks())
    assert (datetime.now(UTC) - began).total_seconds() < 5


def test_outlier_name_with_invalid_characters_is_made_writable() -> None:
    from fractions import Fraction

    found = find_outlier({"v\x00\ud800": Fraction(9), "b": Fraction(1)}, at_least=Fraction(0), times=Fraction(2))
    assert found.name == "v\ufffd\\ud800"
    json.dumps(dict(found.values)).encode()
