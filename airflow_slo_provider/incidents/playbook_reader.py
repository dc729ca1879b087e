"""Read incident playbooks from YAML; report every error with file, line and how to fix it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from airflow_slo_provider.documents.fields import DocumentScope, Fields, Findings, did_you_mean
from airflow_slo_provider.documents.nodes import MappingNode, Node, compose, plain_value
from airflow_slo_provider.exceptions import DocumentError, Fault
from airflow_slo_provider.incidents.playbook import (
    CHECKS,
    Kind,
    Parameter,
    Phase,
    Playbook,
    PlaybookStep,
    Rule,
    Severity,
    SeverityRule,
    used_parameters,
)

API_VERSION, KIND = "airflow-slo/v1", "IncidentPlaybook"
#: Parameter for the prefix of the task group's task ids: ``${group}culprit`` is the task of step ``culprit``.
GROUP = "group"
#: Maximum size of a playbook in bytes, as a file or as text.
MAX_BYTES = 1_000_000
_PHASES = tuple(Phase)
_PHASE_NAMES = tuple(phase.value for phase in Phase)
_SEVERITIES = tuple(severity.value for severity in Severity)
_ID = re.compile(r"[a-z][a-z0-9_]{0,99}")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def load_playbooks(path_or_text: str | os.PathLike[str]) -> list[Playbook]:
    """Read playbooks from a file, from every ``*.yaml`` and ``*.yml`` of a directory, or from text; at most 1 MB each.

    :param path_or_text: a path, or the YAML text; anything with a line break is text
    :raises DocumentError: with every error of every document, each with file and line
    :raises OSError: when a file cannot be read
    """
    findings = Findings()
    if isinstance(path_or_text, str) and "\n" in path_or_text:
        return _read([("<text>", _decode(path_or_text.encode(errors="surrogatepass"), "<text>", findings))], findings)
    path = Path(path_or_text)
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    return _read([(str(file), _read_text(file, findings)) for file in files], findings)


def _read_text(file: Path, findings: Findings) -> str:
    with file.open("rb") as opened:
        return _decode(opened.read(MAX_BYTES + 1), str(file), findings)


def _decode(data: bytes, file: str, findings: Findings) -> str:
    if len(data) > MAX_BYTES:
        findings.errors.append(Fault("is larger than 1 MB; a playbook is small: is this the right file?", file=file))
        return ""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        findings.errors.append(Fault(f"is not UTF-8: byte {data[error.start]:#04x}; save it as UTF-8", file=file, line=line))
        return ""


def _read(texts: Sequence[tuple[str, str]], findings: Findings) -> list[Playbook]:
    found = []
    for file, text in texts:
        documents, faults = compose(text, file=file)
        findings.errors += faults
        found += [playbook for playbook in (_read_playbook(node, file, findings) for node in documents) if playbook is not None]
    names = [playbook.name for playbook in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        files = ", ".join(playbook.file for playbook in found if playbook.name == name)
        findings.errors.append(Fault(f"two playbooks have the name {name!r}: {files}", document=f"{KIND}/{name}", file=files))
    if not findings.errors and not found:
        findings.errors.append(Fault(f"contains no {KIND}", file=", ".join(file for file, _ in texts) or "<nothing>"))
    if findings.errors:
        raise DocumentError(findings.errors)
    return found


def _read_playbook(node: Node, file: str, findings: Findings) -> Playbook | None:
    before = len(findings.errors)
    if not isinstance(node, MappingNode):
        findings.errors.append(Fault(f"a document must be a mapping, not {node.kind}", file=file, line=node.line))
        return None
    root = Fields(node, DocumentScope(KIND, file, findings))
    root.choice("apiVersion", (API_VERSION,), required=True)
    root.choice("kind", (KIND,), required=True)
    metadata = root.sub("metadata", required=True)
    name = metadata.text("name", required=True) if metadata else None
    spec = root.sub("spec", required=True)
    root.close()
    if spec is None or name is None or metadata is None:
        return None
    metadata.close()
    spec.scope = DocumentScope(f"{KIND}/{name}", file, findings)
    incident_type = spec.text("incidentType", required=True) or ""
    if incident_type and not _ID.fullmatch(incident_type):
        spec.error("incidentType", f"{incident_type!r} is not a valid name: use lower-case letters, digits and _")
    title, description = spec.text("title") or name, spec.text("description") or ""
    parameters = _read_parameters(spec)
    # The arguments are evaluated in the order of the reported errors.
    playbook = Playbook(
        name=name,
        incident_type=incident_type,
        title=title,
        description=description,
        parameters=parameters,
        severity=_read_severities(spec),
        matches=_read_rules(spec, "matches"),
        steps=_read_steps(spec, parameters),
        file=file,
    )
    spec.close()
    return playbook if len(findings.errors) == before else None


def _read_parameters(spec: Fields) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    fields = spec.sub("parameters")
    if fields is None:
        return found
    names = fields.keys()
    for name in names:
        parameter = fields.sub(name, required=True)
        if parameter is None:
            continue
        text, default = parameter.text("description", required=True), parameter.node("default")
        parameter.close()
        if name == GROUP:
            fields.error(name, f"{GROUP!r} is reserved for the prefix of the task ids")
        found[name] = Parameter(text or "", None if default is None else plain_value(default))
    return found


def _read_severities(spec: Fields) -> tuple[SeverityRule, ...]:
    entries = spec.subs("severity", required=True) or []
    found = []
    for number, entry in enumerate(entries):
        level = entry.choice("level", _SEVERITIES, required=True)
        when = _read_rules(entry, "when")
        if number + 1 == len(entries) and when:
            entry.error("when", "the last severity must always apply: remove its when, or add one without")
        if number + 1 < len(entries) and not when:
            entry.error("level", "needs a when: without one it always applies, and those after it never do")
        entry.close()
        if level is not None:
            found.append(SeverityRule(Severity(level), when))
    return tuple(found)


def _read_rules(fields: Fields, key: str) -> tuple[Rule, ...]:
    found = []
    for entry in fields.subs(key) or ():
        name, pattern = entry.text("field", required=True), entry.text("pattern", required=True)
        because, weight = entry.text("because") or "", entry.number("weight")
        if pattern is not None:
            try:
                re.compile(pattern)
            except (re.error, OverflowError, RecursionError) as error:  # a{9999999999}; thousands of brackets
                entry.error("pattern", f"{pattern!r} is not a regular expression: {error}")
        if weight is not None and (weight.denominator != 1 or not 1 <= weight <= 100):
            entry.error("weight", "must be a whole number from 1 to 100")
        entry.close()
        if name and pattern:
            found.append(Rule(name, pattern, because, int(weight or 1)))
    return tuple(found)


def _read_steps(spec: Fields, parameters: dict[str, Parameter]) -> tuple[PlaybookStep, ...]:
    found: list[PlaybookStep] = []
    lines: dict[str, Fields] = {}
    for entry in spec.subs("steps", required=True) or ():
        step = _read_step(entry, parameters)
        if step is None:
            continue
        if step.id in lines:
            entry.error("id", f"step {step.id!r} occurs twice; the first is on line {lines[step.id].line_of('id')}")
        lines.setdefault(step.id, entry)
        found.append(step)
    missing = [phase for phase in _PHASES if phase not in {step.phase for step in found}]
    if found and missing:
        spec.error("steps", f"no step of phase {', '.join(missing)}; write at least a checklist for each phase")
    _check_order(found, lines)
    # Sorted by phase; within one phase in the order of the document.
    return tuple(sorted(found, key=lambda step: _PHASES.index(Phase(step.phase))))


def _check_order(steps: Sequence[PlaybookStep], entries: dict[str, Fields]) -> None:
    known = {step.id: step for step in steps}
    for step in steps:
        for other in step.after:
            if other not in known:
                entries[step.id].error("after", f"there is no step {other!r}{did_you_mean(other, known)}")
            elif _PHASES.index(Phase(known[other].phase)) > _PHASES.index(Phase(step.phase)):
                later = f"a cycle: {other!r} is of phase {known[other].phase}, which begins after {step.phase}"
                entries[step.id].error("after", later)
    graph = {step.id: {other for other in step.after if other in known} for step in steps}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        ring = error.args[1]
        entries[ring[0]].error("after", f"a cycle: {' after '.join(reversed(ring))}")


def _read_step(entry: Fields, parameters: dict[str, Parameter]) -> PlaybookStep | None:
    step_id = entry.text("id", required=True)
    phase, action = entry.choice("phase", _PHASE_NAMES, required=True), entry.text("action", required=True)
    commands, checklist, after = entry.texts("commands"), entry.texts("checklist"), entry.texts("after")
    check, operator, link = entry.choice("check", CHECKS), entry.text("operator"), entry.text("link")
    approval, node = entry.sub("approval"), entry.node("with")
    timeout, by_default = None, "reject"
    if approval is not None:
        timeout = approval.duration("timeout", required=True, fixed=True)
        by_default = approval.choice("default", ("reject", "approve"), required=True) or "reject"
        approval.close()
    entry.close()
    kinds = [kind for kind in (Kind.CHECK, Kind.OPERATOR, Kind.LINK, Kind.APPROVAL) if kind.value in entry]
    if len(kinds) > 1:
        entry.error(kinds[1], f"a step is one of {' and '.join(kinds)}, not both; write two steps")
    if not kinds and not checklist:
        entry.error("action", "the step does nothing: write a check, an operator, a link, an approval or a checklist")
    if node is not None and not (check or operator):
        entry.error("with", "only a check or an operator accepts arguments")
    if node is not None and not isinstance(node, MappingNode):
        entry.error("with", f"must be a mapping, not {node.kind}")
    if step_id is not None and not _ID.fullmatch(step_id):
        entry.error("id", f"{step_id!r} is not a valid task name: use lower-case letters, digits and _")
    if operator is not None and not _DOTTED.fullmatch(operator):
        entry.error(
            "operator", f"{operator!r} is not the dotted name of a class, e.g. airflow_slo_provider.operators.drift.DriftOperator"
        )
    if link is not None and not re.match(r"(https?://|\$\{)", link):
        entry.error("link", f"{link!r} is not an http(s) address")
    arguments: Any = plain_value(node) if isinstance(node, MappingNode) else {}
    for name in used_parameters([arguments, link or "", action or ""]):
        if name not in parameters and name != GROUP:
            where = "with" if node is not None else "link" if link else "action"
            entry.error(where, f"${{{name}}} is not a parameter of this playbook{did_you_mean(name, parameters)}")
    if step_id is None or phase is None or action is None:
        return None
    more = {"timeout": timeout.timedelta} if timeout is not None else {}
    return PlaybookStep(
        phase=Phase(phase),
        action=action,
        commands=commands,
        checklist=checklist,
        id=step_id,
        kind=kinds[0] if kinds else Kind.CHECKLIST,
        target=check or operator or link or "",
        arguments=arguments,
        after=after,
        approve_by_default=by_default == "approve",
        line=entry.mapping.line,
        **more,
    )
