"""Write a post-mortem as Markdown and HTML: timeline, impact, findings and open actions of an incident.

All values are escaped, so that a model version, a label or an error message cannot inject markup.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_slo_provider.charts.markup import tag
from airflow_slo_provider.charts.report_page import facts, page, section, table
from airflow_slo_provider.core.duration_text import format_duration
from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.core.timestamps import format_utc
from airflow_slo_provider.incidents.incident import Incident
from airflow_slo_provider.incidents.markdown import markdown_text
from airflow_slo_provider.incidents.timeline import Entry, StepRecord, StepState, offset, timeline


@dataclass(frozen=True)
class Impact:
    """The impact of an incident on one SLO.

    :param bad_events: number of bad events during the incident; None if they are not counted
    :param total_events: number of all events of that time
    :param budget_spent: share of the error budget spent by them; None if unknown
    :param budget_minutes: the same, as minutes of complete outage
    :param problem: why no numbers are available
    """

    bad_events: float | None = None
    total_events: float | None = None
    budget_spent: float | None = None
    budget_minutes: float | None = None
    problem: str = ""

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Return the known numbers as pairs of label and text."""
        if self.problem:
            return [("Impact", f"unknown: {self.problem}")]
        found = []
        if self.budget_minutes is not None:
            found.append(("Error budget spent", f"{self.budget_minutes:.1f} minutes of complete outage"))
        if self.budget_spent is not None:
            found.append(("Share of the error budget", percent(self.budget_spent, up=True, padded=True)))
        if self.bad_events is not None and self.total_events is not None:
            found.append(("Requests", f"{self.bad_events:,.0f} of {self.total_events:,.0f} went wrong"))
        return found or [("Impact", "unknown")]


@dataclass(frozen=True, kw_only=True)
class PostMortem:
    """The contents of a post-mortem.

    :param incident: the incident
    :param severity: severity of the incident
    :param playbook: title of the playbook
    :param reasons: reasons for the playbook and the severity
    :param steps: records of the playbook's steps, in order
    :param ended_at: when the budget stopped burning (aware); None while it burns, or if unknown
    :param impact: impact on the SLO
    :param run: DAG and run id
    :param more: further events of the timeline
    :param opened: whether a DAG run has handled the incident
    """

    incident: Incident
    severity: str
    playbook: str
    reasons: Sequence[str] = ()
    steps: Sequence[StepRecord] = ()
    ended_at: datetime | None = None
    impact: Impact = field(default_factory=Impact)
    run: str = ""
    more: Sequence[Entry] = ()
    opened: bool = True

    @property
    def title(self) -> str:
        """The heading."""
        return f"Post-mortem: {self.incident.subject or self.incident.id}"

    @property
    def entries(self) -> list[Entry]:
        """Return the timeline."""
        return timeline(self.incident, self.steps, self.more)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Return start, end, severity and impact as pairs of label and text."""
        ended = format_utc(self.ended_at) if self.ended_at else "not over, or unknown"
        duration = format_duration(self.ended_at - self.incident.started_at) if self.ended_at else "-"
        return [
            ("Incident", self.incident.id),
            ("Start", format_utc(self.incident.started_at)),
            ("End", ended),
            ("Duration", duration),
            ("Severity", self.severity),
            ("Playbook", self.playbook),
            *([("Run", self.run)] if self.run else []),
            *self.impact.facts,
        ]

    @property
    def findings(self) -> list[tuple[str, str, Any]]:
        """Return the result of each diagnosis step: action, message, evidence."""
        return [
            (step.action, step.message or str(step.state), step.evidence)
            for step in self.steps
            if step.phase in ("detection", "diagnosis") and step.state in (StepState.DONE, StepState.FAILED)
        ]

    @property
    def open_actions(self) -> list[str]:
        """Return the actions that are still open."""
        items: list[str] = []
        for step in self.steps:
            if step.state is StepState.REJECTED:
                items.append(f"{step.action} was not approved: decide what is done instead")
            elif (
                step.state in (StepState.FAILED, StepState.NOT_REACHED, StepState.RUNNING, StepState.SKIPPED)
                and step.phase != "detection"
            ):
                items.append(f"{step.action}: {step.state}; do it manually, or write why it is not needed")
            items += [f"{step.action}: {item}" for item in step.checklist]
        return list(dict.fromkeys([*items, "Root cause, in one sentence", "What keeps it from happening again: owner and date"]))

    def markdown(self) -> str:
        """Render the post-mortem as Markdown (CommonMark with tables)."""
        quoted = markdown_text
        lines = [f"# {quoted(self.title)}", "", "| | |", "|---|---|"]
        lines += [f"| {quoted(name)} | {quoted(value)} |" for name, value in self.facts]
        lines += ["", "## Summary", "", quoted(self.incident.message or "-")]
        lines += ["", *(f"- {quoted(reason)}" for reason in self.reasons)]
        lines += ["", "## Timeline", "", "| T+ | UTC | |", "|---|---|---|"]
        started = self.incident.started_at
        lines += [
            f"| {quoted(offset(started, entry.at))} | {quoted(time_of_day(entry.at))} | {quoted(entry.text)} |"
            for entry in self.entries
        ]
        lines += ["", "## Root-cause evidence", ""]
        for action, text, evidence in self.findings:
            lines += [f"- **{quoted(action)}**: {quoted(text)}"]
            if not _is_empty(evidence):
                lines += ["", *(f"      {line}" for line in _code(evidence).splitlines()), ""]
        if not self.findings:
            lines += ["Nothing was found."]
        lines += ["", "## Action items", "", *(f"- [ ] {quoted(item)}" for item in self.open_actions), ""]
        return "\n".join(lines)

    def html(self) -> str:
        """Render the post-mortem as a self-contained HTML file, without scripts or external requests."""
        started = self.incident.started_at
        events = [(offset(started, entry.at), time_of_day(entry.at), entry.text) for entry in self.entries]
        findings = [
            tag("li", tag("strong", action), ": ", text, "" if _is_empty(evidence) else tag("pre", pretty(evidence)))
            for action, text, evidence in self.findings
        ]
        reasons = tag("ul", *(tag("li", reason) for reason in self.reasons))
        items = (tag("li", tag("input", type="checkbox", disabled=""), " ", item) for item in self.open_actions)
        return page(
            self.title,
            facts(dict(self.facts)),
            section("Summary", tag("p", self.incident.message or "-"), reasons),
            section("Timeline", table(("T+", "UTC", ""), events)),
            section("Root-cause evidence", tag("ul", *(findings or [tag("li", "Nothing was found.")]))),
            section("Action items", tag("ul", *items)),
        )


def _is_empty(evidence: Any) -> bool:
    return evidence in (None, {}, [], "")


def pretty(value: Any) -> str:
    """Format a JSON-serialisable value for readers."""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, indent=2, default=str, ensure_ascii=False)
    return str(value)


def _code(value: Any) -> str:
    """Format a value for a code block in Markdown, with HTML characters as JSON escapes."""
    return pretty(value).replace("<", "\\u003c").replace(">", "\\u003e")


def time_of_day(at: datetime) -> str:
    """Format the time of day."""
    return f"{at.astimezone(UTC):%H:%M:%S}"
