from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_slo_provider.incidents import Incident, incident_id
from airflow_slo_provider.incidents.incident_state import (
    BurnState,
    IncidentDurations,
    PollResult,
    WatchState,
    blind_incident,
    next_watch_state,
    severity_rank,
)

T0 = datetime(2026, 11, 24, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LIMITS = IncidentDurations(cool_down=10 * MINUTE, blind_after=5 * MINUTE)
STATES = {"b": BurnState.BURNING, "c": BurnState.CALM, "-": BurnState.BETWEEN, "?": BurnState.UNKNOWN}


def run_polls(minutes: str, state: WatchState | None = None, *, severity: str = "page") -> tuple[WatchState, list[int]]:
    """Look once a minute; return the memory and the minutes in which an incident began."""
    state, started = state or WatchState(), []
    for number, word in enumerate(minutes):
        state, incident = next_watch_state(state, PollResult("slo", STATES[word], severity), T0 + number * MINUTE, LIMITS)
        if incident is not None:
            started.append(number)
    return state, started


@pytest.mark.parametrize(
    ("minutes", "started"),
    [
        ("cccc", []),
        ("ccbbbb", [2]),
        ("bcbcbcbcbcbcbcbcbcbcbcbcbc", [0]),  # flapping
        ("b" + "c" * 10 + "b", [0]),  # calm for nine minutes and a bit
        ("b" + "c" * 11 + "b", [0, 12]),  # calm for ten
        ("b" + "-" * 30 + "b", [0]),  # below the factor is not yet calm
        ("b" + "?" * 30 + "b", [0]),  # nor is nothing known
        ("b" + "c" * 6 + "?" + "c" * 6 + "b", [0]),  # and it breaks the calm
        ("b" + "c" * 6 + "-" + "c" * 6 + "b", [0]),
        ("????b", [4]),
        ("--b", [2]),
    ],
)
def test_incident_starts_at_the_first_burning_poll(minutes: str, started: list[int]):
    assert run_polls(minutes)[1] == started


@given(st.text(alphabet="bc-?", max_size=60), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_restart_at_any_poll_starts_the_same_incidents(minutes: str, at: int):
    whole, started = run_polls(minutes)
    state, first = run_polls(minutes[:at])
    kept = WatchState.from_dict(json.loads(json.dumps(state.to_dict())))
    second = []
    for number, word in enumerate(minutes[at:], start=min(at, len(minutes))):
        kept, incident = next_watch_state(kept, PollResult("slo", STATES[word], "page"), T0 + number * MINUTE, LIMITS)
        second += [number] if incident else []
    assert ([*first, *second], kept) == (started, whole)


@given(st.text(alphabet="bc-?", max_size=80))
@settings(max_examples=200, deadline=None)
def test_second_incident_starts_only_after_a_calm_cool_down(minutes: str):
    started = run_polls(minutes)[1]
    for first, second in itertools.pairwise(started):
        assert "c" * 11 in minutes[first:second]


def test_higher_severity_starts_a_new_incident_and_lower_does_not():
    state, _ = run_polls("b", severity="ticket")
    state, worse = next_watch_state(state, PollResult("slo", BurnState.BURNING, "page"), T0 + MINUTE, LIMITS)
    assert worse is not None and worse.severity == "page"
    _, milder = next_watch_state(state, PollResult("slo", BurnState.BURNING, "ticket"), T0 + 2 * MINUTE, LIMITS)
    assert milder is None
    assert severity_rank("ticket") < severity_rank("page") <= severity_rank("critical") and severity_rank(
        "sev-1"
    ) == severity_rank("page")


def test_incident_id_contains_subject_and_start():
    _, incident = next_watch_state(WatchState(), PollResult("a b/<c>", BurnState.BURNING, "page", since=T0 - MINUTE), T0, LIMITS)
    assert incident is not None
    assert (incident.id, incident.started_at) == ("a-b-c-page-41656c32-20261124T045900Z", T0 - MINUTE)
    assert Incident.from_dict(json.loads(json.dumps(incident.to_dict()))) == incident


def test_two_subjects_with_similar_names_get_different_ids():
    """Burning since the same moment, and told apart by what a name of an id cannot hold."""
    subjects = ["HighErrors/поиск", "HighErrors/реклама", "eu/west", "eu-west", "eu west", "a..b", "a.b", "a" * 160, "a" * 161]
    assert len({incident_id(subject, T0) for subject in subjects}) == len(subjects)
    assert incident_id("eu-west", T0) == "eu-west-20261124T050000Z"
    assert all(Incident(id=incident_id(subject, T0)) for subject in subjects)


class TestBlind:
    def states(self, *subjects: str, minutes: str) -> dict[str, WatchState]:
        return {subject: run_polls(minutes)[0] for subject in subjects}

    def test_blind_incident_is_sent_once_for_all_subjects(self):
        states = self.states("a", "b", minutes="c??????")
        assert blind_incident(states, T0 + 5 * MINUTE, LIMITS, watch="w") == ({}, None)
        changed, event = blind_incident(states, T0 + 6 * MINUTE, LIMITS, watch="w")
        assert event is not None
        assert (event.kind, event.evidence["subjects"], event.started_at) == ("blind", ["a", "b"], T0 + MINUTE)
        assert blind_incident(changed, T0 + 60 * MINUTE, LIMITS, watch="w") == ({}, None)

    def test_blind_incident_without_named_subject_names_the_watch(self):
        _, event = blind_incident(self.states("", minutes="c??????"), T0 + 6 * MINUTE, LIMITS, watch="latency of checkout")
        assert event is not None
        assert event.message.startswith("latency of checkout could not be measured for 5 min")

    def test_blind_incident_is_sent_again_after_a_measurement(self):
        state, _ = run_polls("c??????")
        ((_, state),) = blind_incident({"a": state}, T0 + 6 * MINUTE, LIMITS, watch="w")[0].items()
        for number, word in enumerate("c??????", start=7):
            state, _ = next_watch_state(state, PollResult("a", STATES[word]), T0 + number * MINUTE, LIMITS)
        _, event = blind_incident({"a": state}, T0 + 14 * MINUTE, LIMITS, watch="w")
        assert event is not None and event.started_at == T0 + 8 * MINUTE

    def test_unknown_polls_do_not_end_an_incident(self):
        state, started = run_polls("b" + "?" * 60 + "b")
        assert state.incident is not None and started == [0]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"incident": 1},
        {"incident": {"id": ""}, "told": 1, "calm_since": None, "unknown_since": None, "blind_told": 0, "reason": ""},
    ],
)
def test_invalid_watch_state_is_rejected(data: dict):
    with pytest.raises((ValueError, AttributeError)):
        WatchState.from_dict(data)


@pytest.mark.parametrize("data", [{"subject": "x"}, {"id": ""}, {"id": 3}, {"id": "x", "schema_version": 2}])
def test_invalid_incident_is_rejected(data: dict):
    with pytest.raises(ValueError):
        Incident.from_dict(data)


@pytest.mark.parametrize("name", ["../../dags/evil", "a/b", "a\\b", "a..b", "..", "a b", "a\n", "поиск", "", "a" * 201])
def test_incident_id_with_path_characters_is_rejected(name: str):
    """It names the files of the post-mortem, and a run's conf may hold any text."""
    with pytest.raises(ValueError, match="id"):
        Incident.from_dict({"id": name})
    with pytest.raises(ValueError, match="id"):
        Incident(id=name)
    assert Incident(id="checkout:page+1_a.b-2026").id == "checkout:page+1_a.b-2026"


def test_incident_with_naive_start_is_rejected():
    with pytest.raises(ValueError, match="no time zone"):
        Incident(id="x", started_at=datetime(2026, 1, 1))
