"""Choose the playbook and the severity of an incident, with reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_slo_provider.incidents.incident import Incident
from airflow_slo_provider.incidents.playbook import Playbook, Rule, Severity


@dataclass(frozen=True)
class Choice:
    """The best matching playbook.

    :param playbook: the chosen playbook
    :param severity: severity of the incident by the playbook's rules
    :param reasons: reasons of the choice, in sentences
    :param scores: score of each playbook, by incident type
    """

    playbook: Playbook
    severity: Severity
    reasons: tuple[str, ...]
    scores: dict[str, int]


def choose_playbook(incident: Incident, playbooks: Sequence[Playbook]) -> Choice:
    """Choose the playbook whose rules match the incident's evidence best.

    :param incident: the incident with its evidence
    :param playbooks: candidates; of several with the same score (also of 0) the first is chosen
    :raises ValueError: when ``playbooks`` is empty
    """
    if not playbooks:
        raise ValueError("there is no playbook to choose from")
    matching = {
        playbook.name: [(rule, hit) for rule in playbook.matches if (hit := match(rule, incident)) is not None]
        for playbook in playbooks
    }
    points = {playbook.name: sum(rule.weight for rule, _ in matching[playbook.name]) for playbook in playbooks}
    best = max(playbooks, key=lambda playbook: points[playbook.name])
    reasons = [_match_text(rule, hit) for rule, hit in matching[best.name]]
    reasons = reasons or [f"no rule of any playbook matches the evidence; {best.title} is the first of them"]
    others = [playbook for playbook in playbooks if playbook is not best and points[playbook.name]]
    for playbook in sorted(others, key=lambda other: -points[other.name]):
        found = ", ".join(f"{rule.field} contains {hit!r}" for rule, hit in matching[playbook.name])
        reasons.append(f"{playbook.title} fits less ({points[playbook.name]} against {points[best.name]}): {found}")
    severity, why = severity_of(incident, best)
    return Choice(best, severity, (*reasons, why), {playbook.incident_type: points[playbook.name] for playbook in playbooks})


def severity_of(incident: Incident, playbook: Playbook) -> tuple[Severity, str]:
    """Return the severity of an incident by a playbook's rules, and the reason.

    :param incident: the incident with its evidence
    :param playbook: the playbook
    """
    for rule in playbook.severity:
        hits = [(condition, match(condition, incident)) for condition in rule.when]
        if all(hit is not None for _, hit in hits):
            why = " and ".join(_match_text(condition, hit or "") for condition, hit in hits) or "no other rule matches"
            return rule.level, f"severity {rule.level}: {why}"
    last = playbook.severity[-1].level
    return last, f"severity {last}: no other rule matches"


def match(rule: Rule, incident: Incident) -> str | None:
    """Return the text in which a rule's pattern was found; None if it was not found."""
    for text in _texts(incident.value_at(rule.field)):
        if re.search(rule.pattern, text, re.IGNORECASE):
            return text[:120]
    return None


def _texts(value: Any) -> Iterable[str]:
    if value is None:
        return ()
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (str(key), *_texts(item))]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return (str(value),)


def _match_text(rule: Rule, hit: str) -> str:
    found = f"{rule.field} contains {hit!r}"
    return f"{rule.because} ({found})" if rule.because else found
