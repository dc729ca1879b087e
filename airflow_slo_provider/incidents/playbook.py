"""What a playbook is: which incident it is for, how bad that is, and what is done about it, phase by phase."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any


class IncidentType(StrEnum):
    """The incidents that playbooks ship for."""

    MODEL_SERVING_DEGRADATION = "model_serving_degradation"
    FEATURE_PIPELINE_FAILURE = "feature_pipeline_failure"
    ACCURACY_DROP = "accuracy_drop"
    DATA_DRIFT_ALERT = "data_drift_alert"
    TRAFFIC_SPIKE = "traffic_spike"


class Phase(StrEnum):
    """The phases of an incident, in their order."""

    DETECTION = "detection"
    DIAGNOSIS = "diagnosis"
    MITIGATION = "mitigation"
    RESOLUTION = "resolution"
    POST_MORTEM = "post_mortem"


class Severity(StrEnum):
    """How bad an incident is, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Kind(StrEnum):
    """What a step does."""

    CHECK = "check"
    OPERATOR = "operator"
    LINK = "link"
    APPROVAL = "approval"
    CHECKLIST = "checklist"


#: The checks that need no operator of their own; see ``operators.incident.checks``.
CHECKS = ("burning", "culprit", "recovered")


@dataclass(frozen=True)
class PlaybookStep:
    """One step.

    :param phase: when: ``detection``, ``diagnosis``, ``mitigation``, ``resolution`` or ``post_mortem``
    :param action: what is done, in a sentence
    :param commands: what a person may type to do it by hand. Shown, never run.
    :param checklist: what a person must look at or do
    :param id: its name within the playbook
    :param kind: what it is: a check, an operator, a link, an approval or a checklist
    :param target: the check's name, the operator's dotted name or the link
    :param arguments: of the check or operator; ``${name}`` is a parameter of the playbook
    :param after: steps that must have succeeded before this one
    :param timeout: how long an approval waits
    :param approve_by_default: what nobody's answer means
    :param line: where it stands in its file
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
        """Names of the playbook's parameters that its arguments use, in their order."""
        return tuple(dict.fromkeys(used_parameters([self.arguments, self.target, self.action])))


@dataclass(frozen=True)
class Rule:
    """A regular expression that a field of the evidence holds, and what it speaks for.

    :param field: field of the evidence, with dots for what lies inside; a list matches when one of its items does
    :param pattern: searched in it, whatever the case
    :param because: why that matters, in words
    :param weight: how much it counts
    """

    field: str
    pattern: str
    because: str = ""
    weight: int = 1


@dataclass(frozen=True)
class SeverityRule:
    """An incident is of this severity when every rule holds; the first such severity counts."""

    level: Severity
    when: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """What a playbook must be told about the place it runs in.

    :param description: what it is
    :param default: its value where none is given; None for none
    """

    description: str
    default: Any = None


@dataclass(frozen=True)
class Playbook:
    """What to do about one type of incident.

    :param name: its name
    :param incident_type: what it is for; one of :class:`IncidentType`, or a type of your own
    :param title: what a person calls it
    :param matches: what in the evidence speaks for this playbook
    :param severity: how bad such an incident is; the last one holds always
    :param file: where it was read from
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
        """Return a step by its name.

        :raises KeyError: when there is none
        """
        return next(step for step in self.steps if step.id == step_id) if step_id in self.step_ids else _no_step(self, step_id)

    @property
    def step_ids(self) -> tuple[str, ...]:
        """Names of all steps."""
        return tuple(step.id for step in self.steps)

    def of_phase(self, phase: str) -> tuple[PlaybookStep, ...]:
        """The steps of a phase."""
        return tuple(step for step in self.steps if step.phase == phase)


def _no_step(playbook: Playbook, step_id: str) -> PlaybookStep:
    raise KeyError(f"playbook {playbook.name} has no step {step_id!r}, only {', '.join(playbook.step_ids)}")


_USED = re.compile(r"\$\{(\w+)\}")


def used_parameters(value: Any) -> list[str]:
    """Return the names of every ``${name}`` in a value."""
    if isinstance(value, str):
        return _USED.findall(value)
    if isinstance(value, Mapping):
        return [name for one in value.values() for name in used_parameters(one)]
    if isinstance(value, list | tuple):
        return [name for one in value for name in used_parameters(one)]
    return []


def filled_in(value: Any, given: Mapping[str, Any]) -> Any:
    """Put parameters in place of ``${name}``. A text that is nothing but one takes the parameter as it is, of any type.

    :raises KeyError: for a parameter that is not given
    """
    if isinstance(value, str):
        whole = _USED.fullmatch(value)
        return given[whole[1]] if whole else _USED.sub(lambda match: str(given[match[1]]), value)
    if isinstance(value, Mapping):
        return {key: filled_in(one, given) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [filled_in(one, given) for one in value]
    return value
