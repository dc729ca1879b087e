"""Data model of incident playbooks: incident type, matching rules, severity rules, and steps by phase."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any


class IncidentType(StrEnum):
    """The incident types with a shipped playbook."""

    MODEL_SERVING_DEGRADATION = "model_serving_degradation"
    FEATURE_PIPELINE_FAILURE = "feature_pipeline_failure"
    ACCURACY_DROP = "accuracy_drop"
    DATA_DRIFT_ALERT = "data_drift_alert"
    TRAFFIC_SPIKE = "traffic_spike"


class Phase(StrEnum):
    """The phases of an incident, in order."""

    DETECTION = "detection"
    DIAGNOSIS = "diagnosis"
    MITIGATION = "mitigation"
    RESOLUTION = "resolution"
    POST_MORTEM = "post_mortem"


class Severity(StrEnum):
    """Severities of an incident, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Kind(StrEnum):
    """The kinds of playbook step."""

    CHECK = "check"
    OPERATOR = "operator"
    LINK = "link"
    APPROVAL = "approval"
    CHECKLIST = "checklist"


#: The built-in checks, which need no operator; see ``operators.incident.checks``.
CHECKS = ("burning", "culprit", "recovered")


@dataclass(frozen=True)
class PlaybookStep:
    """One step of a playbook.

    :param phase: ``detection``, ``diagnosis``, ``mitigation``, ``resolution`` or ``post_mortem``
    :param action: description of the action, one sentence
    :param commands: commands for doing it manually; shown, never run
    :param checklist: items for the on-call engineer to check or do
    :param id: id of the step within the playbook
    :param kind: a check, an operator, a link, an approval or a checklist
    :param target: the check's name, the operator's dotted name or the link
    :param arguments: arguments of the check or operator; ``${name}`` refers to a parameter of the playbook
    :param after: ids of steps that must have succeeded before this one
    :param timeout: how long an approval waits
    :param approve_by_default: whether an unanswered approval counts as an approval
    :param line: line number in the playbook's file
    """

    phase: str
    action: str
    commands: tuple[str, ...] = ()
    checklist: tuple[str, ...] = ()
    id: str = ""
    kind: Kind = Kind.CHECKLIST
    target: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    timeout: timedelta = timedelta(minutes=15)
    approve_by_default: bool = False
    line: int = field(default=0, compare=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of playbook parameters used in its arguments, in order."""
        return tuple(dict.fromkeys(used_parameters([self.arguments, self.target, self.action])))


@dataclass(frozen=True)
class Rule:
    """A regular expression to search in a field of the evidence.

    :param field: dotted path of a field of the evidence; a list matches if one of its items does
    :param pattern: regular expression, searched case-insensitively
    :param because: what a match means, as text
    :param weight: weight of a match in the choice of the playbook
    """

    field: str
    pattern: str
    because: str = ""
    weight: int = 1


@dataclass(frozen=True)
class SeverityRule:
    """A severity with its conditions: it applies if every rule matches; the first such severity is used."""

    level: Severity
    when: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """A parameter of a playbook, specific to the environment that it runs in.

    :param description: description of the parameter
    :param default: default value; None if a value is required
    """

    description: str
    default: Any = None


@dataclass(frozen=True)
class Playbook:
    """A playbook for one type of incident.

    :param name: name of the playbook
    :param incident_type: the type of incident; one of :class:`IncidentType`, or a custom type
    :param title: title to show
    :param matches: rules on the evidence that select this playbook
    :param severity: severity rules; the last one always applies
    :param file: the file that it was read from
    """

    name: str
    incident_type: str
    title: str
    steps: tuple[PlaybookStep, ...]
    matches: tuple[Rule, ...] = ()
    severity: tuple[SeverityRule, ...] = (SeverityRule(Severity.HIGH),)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    description: str = ""
    file: str = field(default="<text>", compare=False)

    def step(self, step_id: str) -> PlaybookStep:
        """Return a step by its id.

        :param step_id: id of the step
        :raises KeyError: when there is none
        """
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(f"playbook {self.name} has no step {step_id!r}, only {', '.join(self.step_ids)}")

    @property
    def step_ids(self) -> tuple[str, ...]:
        """Return the ids of all steps."""
        return tuple(step.id for step in self.steps)

    def of_phase(self, phase: str) -> tuple[PlaybookStep, ...]:
        """Return the steps of a phase.

        :param phase: name of the phase
        """
        return tuple(step for step in self.steps if step.phase == phase)


_REFERENCE = re.compile(r"\$\{(\w+)\}")


def used_parameters(value: Any) -> list[str]:
    """Return the name of every ``${name}`` in a value, nested ones included."""
    if isinstance(value, str):
        return _REFERENCE.findall(value)
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [name for item in items for name in used_parameters(item)]


def fill_parameters(value: Any, values: Mapping[str, Any]) -> Any:
    """Replace ``${name}`` by parameter values. A text that consists of one reference becomes the parameter itself, of any type.

    :raises KeyError: for a parameter without a value
    """
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value)
        return values[whole[1]] if whole else _REFERENCE.sub(lambda match: str(values[match[1]]), value)
    if isinstance(value, Mapping):
        return {key: fill_parameters(item, values) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill_parameters(item, values) for item in value]
    return value
