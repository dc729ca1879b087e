"""Write the names, labels and YAML of a Prometheus rule file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_slo_provider.slo.export.yaml_text import Expression, format_item

#: Labels that these rules set themselves; a document's label of the same name gets the prefix ``label_``.
OWN_LABELS = frozenset(
    ["slo", "slo_service", "slo_objective", "slo_window", "slo_period", "slo_method", "severity", "alert_policy", "alertname"]
)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Rule = dict[str, Any]


@dataclass(frozen=True)
class RuleGroup:
    """A rule group: its rules are evaluated one after the other at the same time.

    :param interval: PromQL duration, or None for the server's own evaluation interval
    :param name: name of the group
    :param rules: its rules
    """

    name: str
    rules: Sequence[Rule]
    interval: str | None = None


@dataclass(frozen=True)
class RuleSection:
    """The rules of one objective.

    :param title: comment above the rules
    :param notes: what was left out, with reasons
    :param groups: the rule groups
    """

    title: str
    notes: Sequence[str]
    groups: Sequence[RuleGroup] = ()


def recording_rule(name: str, expression: str, labels: Mapping[str, str]) -> Rule:
    """Create a recording rule."""
    return {"record": name, "expr": Expression(expression), "labels": dict(labels)}


def alerting_rule(
    name: str, expression: str, *, labels: Mapping[str, str], annotations: Mapping[str, str], wait: str | None = None
) -> Rule:
    """Create an alerting rule.

    :param labels: labels; their text is a template
    :param annotations: annotations; their text is a template
    :param wait: how long the expression must hold before it fires (``for``)
    :param name: name of the alert
    :param expression: PromQL
    """
    rule: Rule = {"alert": name, "expr": Expression(expression)}
    if wait:
        rule["for"] = wait
    return rule | {"labels": dict(labels), "annotations": dict(annotations)}


def camel_case(text: str) -> str:
    """Convert a name to the style of alert names: ``Search-Slo`` -> ``SearchSlo``; capitals inside a word are kept."""
    words = re.findall(r"[^\W_]+", text)
    return "".join(word[0].upper() + word[1:] for word in words) or "SLO"


def escape_template(text: str) -> str:
    """Escape text for Prometheus' templates, on one line."""
    return " ".join(text.split()).replace("{{", '{{ "{{" }}')


def document_labels(labels: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Convert a document's labels to Prometheus labels, sorted by name.

    Characters that Prometheus does not allow become ``_``; several values of one label are joined by commas; names that these
    rules use themselves, and names beginning with ``__``, get the prefix ``label_``.
    """
    out: dict[str, str] = {}
    for key, values in sorted(labels.items()):
        name = re.sub(r"[^a-zA-Z0-9_]", "_", key)
        if name in OWN_LABELS or not _LABEL_NAME.fullmatch(name) or name.startswith("__"):
            name = f"label_{name}"
        while name in out:  # app.name and app/name
            name += "_"
        if any(values):
            out[name] = ",".join(values)
    return out


def checked_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Check labels that the caller adds to every rule, and return them sorted.

    :raises ValueError: for a name that is not a valid label name, or one that these rules set themselves
    """
    for name in labels or {}:
        if not _LABEL_NAME.fullmatch(name) or name.startswith("__"):
            raise ValueError(f"extra label {name!r} is not a Prometheus label name (letters, digits and _, no digit first)")
        if name in OWN_LABELS:
            raise ValueError(f"extra label {name!r} is set by the rules themselves; choose another name")
    return {name: str(value) for name, value in sorted((labels or {}).items())}


def write_file(header: Sequence[str], sections: Sequence[RuleSection]) -> str:
    """Write a rule file; the same input gives the same text."""
    lines = [*_comments(header, indent=""), "", "groups:"]
    for section in sections:
        lines += ["", *_comments([section.title, *section.notes], indent="  ")]
        lines += map(_format_group, section.groups)
    if not any(section.groups for section in sections):
        lines[lines.index("groups:")] = "groups: []"
    return "\n".join(lines) + "\n"


def _comments(texts: Iterable[str], *, indent: str) -> list[str]:
    # One printable line each, so that no text of a document can end the comment.
    return [f"{indent}# {''.join(c if c.isprintable() else ' ' for c in ' '.join(text.split()))}" for text in texts]


def _format_group(group: RuleGroup) -> str:
    body: dict[str, Any] = {"name": group.name}
    if group.interval:
        body["interval"] = group.interval
    return "\n".join(format_item({**body, "rules": list(group.rules)}, "  "))
